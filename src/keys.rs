//! API keys of producers (`ingest.keys`), for every door that asks for one. A key itself never stands in the configuration, and never reaches a log.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::secret::{Found, MAX_BYTES, Secret};

/// All keys, hashed: comparing digests takes the same time wherever two keys differ.
pub struct Keys(Vec<(String, [u8; 32])>);

/// Why somebody may not do what he asks.
pub struct NoKey(pub String);

/// What a 401 for the lack of a key says in `WWW-Authenticate` (RFC 9110, section 11.6.1). No scheme is registered for a key in a header.
pub const CHALLENGE: &str = r#"ApiKey header="X-API-Key""#;

/// Shorter keys can be guessed.
const MIN_KEY_BYTES: usize = 16;

impl Keys {
    /// Reads every key, or says everything that is wrong as (path below `ingest`, reason).
    pub fn read(config: &BTreeMap<String, Secret>) -> Result<Self, Vec<(String, String)>> {
        let mut keys: Vec<(String, [u8; 32])> = Vec::new();
        let mut problems = Vec::new();
        for (name, key) in config {
            match load(key) {
                Ok(key) => match keys.iter().find(|(_, known)| *known == key) {
                    // Under one key, the producers' idempotency keys would be one another's.
                    Some((other, _)) => {
                        problems.push((format!("keys.{name}"), format!("is the same key as {other}'s")))
                    }
                    None => keys.push((name.clone(), key)),
                },
                Err(reason) => problems.push((format!("keys.{name}"), reason)),
            }
        }
        if problems.is_empty() {
            Ok(Self(keys))
        } else {
            Err(problems)
        }
    }

    /// Who asks: the producer whose key was sent as `X-API-Key`. With `open`, as in dev mode, a key is not asked for. `doing` begins the sentence
    /// that refuses.
    pub fn caller(&self, headers: &HeaderMap, open: bool, doing: &str) -> Result<&str, NoKey> {
        match headers.get("x-api-key") {
            Some(key) => match self.producer(key.as_bytes()) {
                Some(producer) => Ok(producer),
                None if open => Ok("anonymous"),
                None => Err(NoKey("this key is not known".into())),
            },
            None if open => Ok("anonymous"),
            None => Err(NoKey(format!("{doing} needs a key"))),
        }
    }

    /// The producer whose key this is.
    pub fn producer(&self, key: &[u8]) -> Option<&str> {
        let given = digest(key);
        self.0
            .iter()
            .find(|(_, known)| *known == given)
            .map(|(name, _)| &**name)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A key's digest. No reason that this gives holds a part of the key.
fn load(key: &Secret) -> Result<[u8; 32], String> {
    let Found { source, secret } = key.read()?;
    if (MIN_KEY_BYTES..=MAX_BYTES).contains(&secret.len()) {
        return Ok(digest(&secret));
    }
    Err(format!("{source}: a key has {MIN_KEY_BYTES} to {MAX_BYTES} bytes"))
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
