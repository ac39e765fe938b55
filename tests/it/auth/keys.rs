//! Keys and signatures, made without the product's own minting.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(super) fn hs(secret: &str, kid: Option<&str>, claims: &Value) -> String {
    signed(
        Algorithm::HS256,
        &EncodingKey::from_secret(secret.as_bytes()),
        kid,
        claims,
    )
}

pub(super) fn signed(algorithm: Algorithm, key: &EncodingKey, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

pub(super) fn b64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

pub(super) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// A directory that goes with the test.
pub(super) struct Dir(TempDir);

impl Dir {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

pub(super) struct Keys {
    pub(super) rsa: KeyPair,
    pub(super) other_rsa: KeyPair,
    pub(super) weak_rsa: KeyPair,
    pub(super) ec: KeyPair,
    pub(super) ed: KeyPair,
    pub(super) certificate: String,
}

pub(super) struct KeyPair {
    pub(super) algorithm: Algorithm,
    pub(super) private: String,
    pub(super) public: String,
}

/// Made once for all tests: an RSA key takes its time.
pub(super) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let rsa = |bits: u32| {
            KeyPair::new(
                Algorithm::RS256,
                &["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")],
            )
        };
        let dir = Dir::new();
        let one = rsa(2048);
        let key = dir.write("key.pem", &one.private);
        let certificate = openssl(&[
            "req",
            "-x509",
            "-new",
            "-subj",
            "/CN=x",
            "-days",
            "1",
            "-key",
            key.to_str().unwrap(),
        ]);
        Keys {
            rsa: one,
            other_rsa: rsa(2048),
            weak_rsa: rsa(1024),
            ec: KeyPair::new(
                Algorithm::ES256,
                &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            ),
            ed: KeyPair::new(Algorithm::EdDSA, &["-algorithm", "ED25519"]),
            certificate,
        }
    })
}

impl KeyPair {
    fn new(algorithm: Algorithm, how: &[&str]) -> Self {
        let dir = Dir::new();
        let private = openssl(&[&["genpkey"], how].concat());
        let file = dir.write("key.pem", &private);
        let public = openssl(&["pkey", "-pubout", "-in", file.to_str().unwrap()]);
        Self {
            algorithm,
            private,
            public,
        }
    }

    pub(super) fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        signed(self.algorithm, &self.encoding(), kid, claims)
    }

    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding(), self.algorithm).unwrap();
        jwk.common.key_id = Some(kid.into());
        serde_json::to_value(jwk).unwrap()
    }

    fn encoding(&self) -> EncodingKey {
        let pem = self.private.as_bytes();
        match self.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            _ => EncodingKey::from_ed_pem(pem),
        }
        .unwrap()
    }
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .output()
        .expect("openssl is installed");
    assert!(
        output.status.success(),
        "openssl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
