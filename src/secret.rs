//! A secret that the configuration names and never holds: from the environment or from a file. It never reaches a log.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a secret is read from: one of the two, or neither where none is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secret {
    /// The name of an environment variable that holds it.
    pub secret_env: Option<String>,
    /// A file that holds it; a line end at its end is not part of it.
    pub secret_file: Option<PathBuf>,
}

/// Longer ones would not fit comfortably into a header.
pub const MAX_BYTES: usize = 4_096;

/// A secret with where it came from, for sentences about it.
pub struct Found {
    pub source: String,
    /// [`MAX_BYTES`] at most, and one more where there were more.
    pub secret: Vec<u8>,
}

impl Secret {
    /// Whether one is named at all.
    pub fn is_named(&self) -> bool {
        self.secret_env.is_some() || self.secret_file.is_some()
    }

    /// Reads it. No reason that this gives holds a part of it.
    pub fn read(&self) -> Result<Found, String> {
        match (&self.secret_env, &self.secret_file) {
            (Some(name), None) => {
                let source = format!("secret_env {name}");
                match std::env::var_os(name) {
                    Some(secret) => Ok(Found {
                        source,
                        secret: secret.into_encoded_bytes(),
                    }),
                    None => Err(format!("{source}: is not set")),
                }
            }
            (None, Some(file)) => {
                let source = format!("secret_file {}", file.display());
                match read_line(file) {
                    Ok(secret) => Ok(Found { source, secret }),
                    Err(error) => Err(format!("{source}: {error}")),
                }
            }
            _ => Err("needs exactly one of `secret_env` and `secret_file`".into()),
        }
    }

    /// The secret as text, for a password; `None` when none is named.
    pub fn password(&self) -> Result<Option<String>, String> {
        if !self.is_named() {
            return Ok(None);
        }
        let Found { source, secret } = self.read()?;
        match String::from_utf8(secret) {
            Ok(password) if password.is_empty() => Err(format!("{source}: is empty")),
            Ok(password) => Ok(Some(password)),
            Err(_) => Err(format!("{source}: is not UTF-8")),
        }
    }
}

/// A file's bytes without the line end; no more than shows that it is too long.
fn read_line(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_BYTES as u64 + 3).read_to_end(&mut bytes)?;
    let end = bytes
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    bytes.truncate(end);
    Ok(bytes)
}
