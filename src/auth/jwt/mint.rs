//! Makes tokens for `quick-notify token`: for a trial, a test, or a producer without an identity provider.
//!
//! Enters: a grant and the time. Leaves: a token that the server with the same configuration takes. A server never
//! mints; nothing here is on the way of a notification.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, crypto};
use serde::Serialize;

use super::claims::MAX_SECONDS;
use super::keys::{Algorithm, Key, read};
use super::{BuildError, Config};
use crate::domain::identity::{BadUser, Pattern, parse_user};

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct Grant {
    pub user: String,
    /// From a second on; parts of a second are dropped.
    pub ttl: Duration,
    /// `None` leaves it to the server's defaults, as does `None` in `write`.
    pub read: Option<Vec<Pattern>>,
    pub write: Option<Vec<Pattern>>,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    #[error("{0}")]
    Key(#[from] BuildError),
    #[error("the subject can't be a user id: {0}")]
    User(#[from] BadUser),
    #[error("a token lives for a second at least, and ends before the year 10000")]
    Ttl,
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    #[error("signing failed: {0}")]
    Signing(#[from] jsonwebtoken::errors::Error),
}

/// A key that signs, and what the server wants to read in every token.
pub(in crate::auth) struct Signer {
    key: EncodingKey,
    header: Header,
    issuer: Option<String>,
    audience: Option<String>,
}

/// With the configured key: `signing_key_file`, else the first secret.
pub(in crate::auth) fn signer(config: &Config) -> Result<Signer, BuildError> {
    let (keys, _) = config
        .load()
        .map_err(|problems| problems.into_iter().next().expect("load fails with a problem"))?;
    let mut signer = signing_key(config, &keys)?;
    signer.issuer = config.issuers.first().cloned();
    signer.audience = config.audiences.first().cloned();
    Ok(signer)
}

/// The private key is tried on each public one, so a token is never signed with a key that no server would take, and
/// its algorithm and `kid` need not be configured twice.
pub(super) fn signing_key(config: &Config, keys: &[Key]) -> Result<Signer, BuildError> {
    const PATH: &str = "jwt.signing_key_file";
    let Some(path) = &config.signing_key_file else {
        return keys.iter().find_map(Signer::from_secret).ok_or_else(|| {
            BuildError::new(
                PATH,
                "only public keys are known, and they can't sign: name the private key here, or use your identity provider's tokens",
            )
        });
    };
    let pem = read(path).map_err(|reason| BuildError::new(PATH, reason))?;
    keys.iter().find_map(|key| Signer::from_pem(&pem, key)).ok_or_else(|| {
        let reason = "not a private key in PEM (PKCS#8) that belongs to one of auth.jwt.keys";
        BuildError::new(PATH, format!("{}: {reason}", path.display()))
    })
}

impl Signer {
    /// `None` for a public key.
    pub(in crate::auth) fn from_secret(key: &Key) -> Option<Self> {
        match key.algorithm {
            Algorithm::HS256 => {
                let secret = key.verifying.try_get_as_bytes().ok()?;
                Some(Self::new(EncodingKey::from_secret(secret), key))
            }
            _ => None,
        }
    }

    /// `None` unless `pem` is the private half of `key`: what it signs, `key` verifies.
    fn from_pem(pem: &[u8], key: &Key) -> Option<Self> {
        const PROBE: &[u8] = b"does this private key belong to that public one?";
        let private = match key.algorithm {
            Algorithm::HS256 => return None,
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem),
            Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(pem),
        }
        .ok()?;
        let signature = crypto::sign(PROBE, &private, key.algorithm.into()).ok()?;
        crypto::verify(&signature, PROBE, &key.verifying, key.algorithm.into())
            .unwrap_or(false)
            .then(|| Self::new(private, key))
    }

    fn new(private: EncodingKey, key: &Key) -> Self {
        let mut header = Header::new(key.algorithm.into());
        header.kid = key.kid.clone();
        Self {
            key: private,
            header,
            issuer: None,
            audience: None,
        }
    }

    pub(in crate::auth) fn sign(&self, grant: &Grant, now_ms: i64) -> Result<String, MintError> {
        let user = parse_user(&grant.user)?;
        let now = now_ms.div_euclid(1000);
        let ttl = i64::try_from(grant.ttl.as_secs()).map_err(|_| MintError::Ttl)?;
        let exp = now.checked_add(ttl).filter(|exp| *exp <= MAX_SECONDS && ttl > 0);
        // Revoking one token needs its name, so every token gets one.
        let mut jti = [0; 16];
        getrandom::fill(&mut jti)?;
        let claims = Claims {
            sub: &user,
            iat: now,
            exp: exp.ok_or(MintError::Ttl)?,
            jti: URL_SAFE_NO_PAD.encode(jti),
            iss: self.issuer.as_deref(),
            aud: self.audience.as_deref(),
            topics: grant.topics(),
        };
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.key)?)
    }
}

impl Grant {
    fn topics(&self) -> Option<TopicsClaim<'_>> {
        let (read, write) = (texts(&self.read), texts(&self.write));
        (read.is_some() || write.is_some()).then_some(TopicsClaim { read, write })
    }
}

fn texts(list: &Option<Vec<Pattern>>) -> Option<Vec<&str>> {
    Some(list.as_ref()?.iter().map(Pattern::as_str).collect())
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topics: Option<TopicsClaim<'a>>,
}

#[derive(Serialize)]
struct TopicsClaim<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write: Option<Vec<&'a str>>,
}
