//! What the adapters on SQLite share: how they sync, and errors in words that an operator can act on.

use std::fmt::Display;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteSynchronous;

/// Whether a commit returns after its sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    Full,
    Off,
}

impl From<Synchronous> for SqliteSynchronous {
    fn from(synchronous: Synchronous) -> Self {
        match synchronous {
            Synchronous::Full => Self::Full,
            Synchronous::Off => Self::Off,
        }
    }
}

/// SQLite's words about the file at `path`, with what can be done about the common ones.
pub fn explain(path: &Path, error: &dyn Display) -> String {
    let text = error.to_string();
    let help = HELP
        .iter()
        .find(|(word, _)| text.contains(word))
        .map_or("", |(_, help)| help);
    format!("{}: {text}{help}", path.display())
}

const HELP: &[(&str, &str)] = &[
    ("locked", ": another quick-notify uses this data directory"),
    ("disk is full", ": free some space on its disk"),
    ("readonly", ": it can't be written to; check its permissions and mount"),
    (
        "unable to open",
        ": check that its directory exists and may be written to",
    ),
    (
        "disk I/O error",
        ": its disk fails, is full or went read-only; check its mount and the kernel's log",
    ),
];
