//! Keys from files and the environment, each bound to the one algorithm that it verifies.
//!
//! Enters: a `[[auth.jwt.keys]]` table. Leaves: keys that are known to work, or the field to mend and why. Reads files;
//! logs nothing. What is too weak for its algorithm (RFC 7518, 3.2 and 3.3) is refused here, at start, and so is a
//! private key where a public one would do.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{DecodingKey, crypto};
use serde::{Deserialize, Serialize};

const MAX_FILE_BYTES: u64 = 1024 * 1024;
const MIN_SECRET_BYTES: usize = 32;
/// RFC 7518 asks for 2048 bits at least; the verifier takes 4096 at most.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// `[[auth.jwt.keys]]`: one of `file`, `jwks`, `secret_file` and `secret_env`. Paths are relative to the working
/// directory. A secret itself never stands in the configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyConfig {
    /// The only algorithm that this key verifies. Needed with `file`; with `jwks` it leaves out keys of others.
    pub algorithm: Option<Algorithm>,
    /// The key's id. A token that names another is not checked with it. A JWKS brings its own.
    pub kid: Option<String>,
    /// A public key in PEM, as `openssl pkey -pubout` writes it.
    pub file: Option<PathBuf>,
    /// A JSON Web Key Set (RFC 7517) with public keys.
    pub jwks: Option<PathBuf>,
    /// A file with the secret for HS256, 32 bytes or more; a line end at its end is not part of it.
    pub secret_file: Option<PathBuf>,
    /// The name of an environment variable with the secret for HS256.
    pub secret_env: Option<String>,
}

/// The algorithms of tokens that are taken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    HS256,
    RS256,
    ES256,
    EdDSA,
}

impl Algorithm {
    /// As in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::HS256 => Self::HS256,
            Algorithm::RS256 => Self::RS256,
            Algorithm::ES256 => Self::ES256,
            Algorithm::EdDSA => Self::EdDSA,
        }
    }
}

/// A key that verifies one algorithm.
pub(in crate::auth) struct Key {
    pub algorithm: Algorithm,
    pub kid: Option<String>,
    pub verifying: DecodingKey,
}

/// What is wrong with a key's table: the field (`.file`, or nothing for the table as a whole) and why.
pub(super) struct Mistake {
    pub field: &'static str,
    pub reason: String,
}

impl KeyConfig {
    pub(super) fn load(&self) -> Result<Vec<Key>, Mistake> {
        match (&self.file, &self.jwks, &self.secret_file, &self.secret_env) {
            (Some(path), None, None, None) => self.load_pem(path),
            (None, Some(path), None, None) => self.load_jwks(path),
            (None, None, Some(path), None) => {
                let secret = read(path).map_err(|reason| mistake(".secret_file", reason))?;
                self.secret(trim_line_end(&secret), ".secret_file")
            }
            (None, None, None, Some(name)) => {
                // The error of `env::var` would show a secret that is not UTF-8.
                let secret = std::env::var_os(name)
                    .ok_or_else(|| mistake(".secret_env", format!("{name}: environment variable not found")))?;
                self.secret(secret.as_encoded_bytes(), ".secret_env")
            }
            _ => Err(mistake(
                "",
                "a key has exactly one of file, jwks, secret_file and secret_env",
            )),
        }
    }

    fn load_pem(&self, path: &Path) -> Result<Vec<Key>, Mistake> {
        let pem = read(path).map_err(|reason| mistake(".file", reason))?;
        let key = match self.algorithm {
            Some(Algorithm::RS256) => from_pem(&pem, DecodingKey::from_rsa_pem),
            Some(Algorithm::ES256) => from_pem(&pem, DecodingKey::from_ec_pem),
            Some(Algorithm::EdDSA) => from_pem(&pem, DecodingKey::from_ed_pem),
            Some(Algorithm::HS256) => {
                let reason = "HS256 has no public key: name its secret with secret_file or secret_env";
                return Err(mistake(".algorithm", reason));
            }
            None => {
                let reason = "a key in a file needs its algorithm: RS256, ES256 or EdDSA";
                return Err(mistake(".algorithm", reason));
            }
        };
        let at_fault = |reason| mistake(".file", format!("{}: {reason}", path.display()));
        let verifying = key.map_err(at_fault)?;
        let key = Key::new(self.algorithm.expect("matched above"), self.kid.clone(), verifying);
        Ok(vec![key.map_err(at_fault)?])
    }

    fn load_jwks(&self, path: &Path) -> Result<Vec<Key>, Mistake> {
        if self.kid.is_some() {
            return Err(mistake(".kid", "the keys of a JWKS bring their own ids"));
        }
        let text = read(path).map_err(|reason| mistake(".jwks", reason))?;
        let at_fault = |reason| mistake(".jwks", format!("{}: {reason}", path.display()));
        let set: JwkSet =
            serde_json::from_slice(&text).map_err(|e| at_fault(format!("not a JSON Web Key Set: {e}")))?;
        let mut keys = Vec::new();
        for (i, jwk) in set.keys.iter().enumerate() {
            let key = from_jwk(jwk).map_err(|e| at_fault(format!("keys[{i}]: {e}")))?;
            keys.extend(key.filter(|key| self.algorithm.is_none_or(|only| only == key.algorithm)));
        }
        if keys.is_empty() {
            return Err(at_fault("no RS256, ES256 or EdDSA key for signatures in it".into()));
        }
        Ok(keys)
    }

    fn secret(&self, secret: &[u8], field: &'static str) -> Result<Vec<Key>, Mistake> {
        if self.algorithm.is_some_and(|a| a != Algorithm::HS256) {
            return Err(mistake(".algorithm", "a secret is for HS256 only"));
        }
        let key = Key::secret(secret, self.kid.clone()).map_err(|e| mistake(field, e))?;
        Ok(vec![key])
    }
}

impl Key {
    /// A shared secret, which signs as well as it verifies.
    pub(in crate::auth) fn secret(secret: &[u8], kid: Option<String>) -> Result<Self, String> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(format!(
                "a secret of {} bytes; HS256 needs {MIN_SECRET_BYTES} or more",
                secret.len()
            ));
        }
        Self::new(Algorithm::HS256, kid, DecodingKey::from_secret(secret))
    }

    /// Proves that the key can verify, so that a broken one stops the start and not each CONNECT.
    fn new(algorithm: Algorithm, kid: Option<String>, verifying: DecodingKey) -> Result<Self, String> {
        match algorithm {
            Algorithm::RS256 => {
                let bits = rsa_bits(&verifying).ok_or("not an RSA public key")?;
                if !RSA_BITS.contains(&bits) {
                    return Err(format!(
                        "an RSA key of {bits} bits; {} to {} are taken",
                        RSA_BITS.start(),
                        RSA_BITS.end()
                    ));
                }
            }
            // jsonwebtoken 11.1 slices these bytes unchecked, and would panic at the first token.
            Algorithm::EdDSA if verifying.try_get_as_bytes().map_or(0, <[u8]>::len) != 32 => {
                return Err("not an Ed25519 public key".into());
            }
            _ => {}
        }
        crypto::verify("", b"", &verifying, algorithm.into())
            .map_err(|_| format!("not a public key for {}", algorithm.name()))?;
        Ok(Self {
            algorithm,
            kid,
            verifying,
        })
    }
}

fn from_pem(pem: &[u8], parse: fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>) -> Result<DecodingKey, String> {
    let text = String::from_utf8_lossy(pem);
    if text.contains("PRIVATE KEY-----") {
        return Err("a private key; verifying needs the public one only (openssl pkey -in FILE -pubout)".into());
    }
    if text.contains("BEGIN CERTIFICATE") {
        return Err("a certificate; take its key out (openssl x509 -in FILE -pubkey -noout)".into());
    }
    parse(pem).map_err(|_| "not a public key in PEM of this algorithm".into())
}

/// `None` for a key that is not meant for this: for encryption, or of an algorithm that is not taken here.
fn from_jwk(jwk: &Jwk) -> Result<Option<Key>, String> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(p) if p.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        AlgorithmParameters::OctetKey(_) => {
            return Err("a shared secret among public keys: name it with secret_file or secret_env".into());
        }
        _ => return Ok(None),
    };
    let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let ours = jsonwebtoken::Algorithm::from(algorithm).into();
    if !for_signatures || jwk.common.key_algorithm.is_some_and(|theirs| theirs != ours) {
        return Ok(None);
    }
    let verifying = DecodingKey::from_jwk(jwk).map_err(|e| e.to_string())?;
    Key::new(algorithm, jwk.common.key_id.clone(), verifying).map(Some)
}

fn rsa_bits(key: &DecodingKey) -> Option<usize> {
    let jwk = Jwk::from_decoding_key(key, Some(jsonwebtoken::Algorithm::RS256)).ok()?;
    let AlgorithmParameters::RSA(parameters) = jwk.algorithm else {
        return None;
    };
    let modulus = URL_SAFE_NO_PAD.decode(parameters.n).ok()?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let first = modulus.get(zeros)?;
    Some((modulus.len() - zeros) * 8 - first.leading_zeros() as usize)
}

/// A whole file, or why not, with its name.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("{}: larger than 1 MiB", path.display()));
    }
    Ok(bytes)
}

fn trim_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn mistake(field: &'static str, reason: impl Into<String>) -> Mistake {
    Mistake {
        field,
        reason: reason.into(),
    }
}
