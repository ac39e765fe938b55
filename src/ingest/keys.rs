//! API keys of producers. A key itself never stands in the configuration, and never reaches a log.

use std::collections::BTreeMap;
use std::path::PathBuf;

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

impl Keys {
    /// Reads every key, or says everything that is wrong as (path below `ingest`, reason).
    pub fn read(config: &BTreeMap<String, KeyConfig>) -> Result<Self, Vec<(String, String)>> {
        let mut keys = Vec::new();
        let mut problems = Vec::new();
        for (name, key) in config {
            match key.secret() {
                Ok(secret) if secret.len() < MIN_KEY_BYTES => {
                    problems.push((format!("keys.{name}"), format!("needs {MIN_KEY_BYTES} bytes or more")));
                }
                Ok(secret) => keys.push((name.clone(), digest(secret.as_bytes()))),
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
    fn secret(&self) -> Result<String, String> {
        match (&self.secret_env, &self.secret_file) {
            (Some(name), None) => std::env::var(name).map_err(|error| format!("secret_env {name}: {error}")),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("secret_file {}: {error}", file.display())),
            _ => Err("needs exactly one of `secret_env` and `secret_file`".into()),
        }
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
