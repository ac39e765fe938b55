//! API keys of producers. A key itself never stands in the configuration, and never reaches a log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Where a producer's key is read from: exactly one of the two.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyConfig {
    /// The name of an environment variable that holds the key.
    pub secret_env: Option<String>,
    /// A file that holds the key; a line end at its end is not part of it.
    pub secret_file: Option<PathBuf>,
}

/// All keys, hashed: comparing digests takes the same time wherever two keys differ.
pub struct Keys(Vec<(String, [u8; 32])>);

/// Shorter keys can be guessed.
const MIN_KEY_BYTES: usize = 16;
/// Longer ones would not fit comfortably into a header.
const MAX_KEY_BYTES: usize = 4_096;

impl Keys {
    /// Reads every key, or says everything that is wrong as (path below `ingest`, reason).
    pub fn read(config: &BTreeMap<String, KeyConfig>) -> Result<Self, Vec<(String, String)>> {
        let mut keys: Vec<(String, [u8; 32])> = Vec::new();
        let mut problems = Vec::new();
        for (name, key) in config {
            match key.load() {
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

impl KeyConfig {
    /// The key's digest. No reason that this gives holds a part of the key.
    fn load(&self) -> Result<[u8; 32], String> {
        let (source, secret) = match (&self.secret_env, &self.secret_file) {
            (Some(name), None) => {
                let source = format!("secret_env {name}");
                match std::env::var_os(name) {
                    Some(secret) => (source, secret.into_encoded_bytes()),
                    None => return Err(format!("{source}: is not set")),
                }
            }
            (None, Some(file)) => {
                let source = format!("secret_file {}", file.display());
                match read_line(file) {
                    Ok(secret) => (source, secret),
                    Err(error) => return Err(format!("{source}: {error}")),
                }
            }
            _ => return Err("needs exactly one of `secret_env` and `secret_file`".into()),
        };
        if (MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&secret.len()) {
            return Ok(digest(&secret));
        }
        Err(format!("{source}: a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes"))
    }
}

/// A file's bytes without the line end; no more than shows that it is too long.
fn read_line(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(MAX_KEY_BYTES as u64 + 3)
        .read_to_end(&mut bytes)?;
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(bytes)
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
