//! The product's words, and nothing else: what a notification is, how it is told, how it ends, and which types exist.
//! Pure: no I/O, no clock (time is an argument), no logging.

pub mod envelope;
pub mod facts;
pub mod id;
pub mod identity;
pub mod kind;
pub mod notification;
pub mod outcome;
pub mod revocation;
pub mod time;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a notification may be: its size, and the types beside the built-in ones.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest `data` of one notification, in bytes of JSON text. At most 1 MiB.
    pub max_data: usize,
    /// Types that this installation registers, by name, each with the JSON Schema that its `data` must fit.
    pub types: BTreeMap<String, kind::TypeConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_data: 65_536,
            types: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `domain`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=1_048_576).contains(&self.max_data) {
            problems.push(("max_data".into(), "must lie between 1 and 1048576 bytes".into()));
        }
        if let Err(found) = kind::Kinds::compile(self) {
            problems.extend(found);
        }
        problems
    }
}
