//! The door: drafts in, receipts out. What it answers "accepted" to is in the durable queue; everything else gets a refusal that names the
//! field and the reason.

mod answer;
mod demo;
pub mod door;
mod request;
mod routes;
pub mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use door::{Door, Receipt, Refusal};
pub use routes::routes;

use crate::keys::Keys;
use crate::secret::Secret;

/// How notifications are taken: over HTTP, and over NATS where it is turned on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Largest request body, in bytes; at most 32 MiB.
    pub max_body: usize,
    /// Notifications that one request may hold.
    pub max_array: usize,
    /// Longest time that a request body may take to arrive, in milliseconds.
    pub read_timeout_ms: u64,
    /// Longest time until a receipt, in milliseconds; beyond it the producer gets 503 and may retry under the same key.
    pub accept_timeout_ms: u64,
    /// How long the answer to `wait=stored` waits for the record's word where the request doesn't say, and at most, in milliseconds; then it is that
    /// of one that didn't wait.
    pub wait_ms: u64,
    pub wait_most_ms: u64,
    /// Notifications whose producers wait; for further ones nobody does.
    pub max_waiting: usize,
    /// Who may use the demo endpoints outside dev mode.
    pub demo: Demo,
    /// Whether this node answers requests over NATS, too; see [`service`].
    pub nats: bool,
    /// Requests over NATS that are in hand at once; further ones get 503.
    pub nats_in_flight: usize,
    /// Producers by name, each with the key that it sends as `X-API-Key`.
    pub keys: BTreeMap<String, Secret>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Demo {
    /// Who has an API key.
    Key,
    /// Anybody. Said at start.
    Open,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body: 8_388_608,
            max_array: 1_000,
            read_timeout_ms: 15_000,
            accept_timeout_ms: 10_000,
            wait_ms: 5_000,
            wait_most_ms: 30_000,
            max_waiting: 10_000,
            demo: Demo::Key,
            nats: false,
            nats_in_flight: 1_024,
            keys: BTreeMap::new(),
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `ingest`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1_024..=33_554_431).contains(&self.max_body) {
            problems.push(("max_body".into(), "must lie between 1024 and 33554431 bytes".into()));
        }
        if !(1..=10_000).contains(&self.max_array) {
            problems.push(("max_array".into(), "must lie between 1 and 10000".into()));
        }
        if !(1..=65_536).contains(&self.nats_in_flight) {
            problems.push(("nats_in_flight".into(), "must lie between 1 and 65536".into()));
        }
        if !(1..=1_000_000).contains(&self.max_waiting) {
            problems.push(("max_waiting".into(), "must lie between 1 and 1000000".into()));
        }
        if self.wait_ms > self.wait_most_ms {
            problems.push(("wait_ms".into(), "must be at most ingest.wait_most_ms".into()));
        }
        for (path, value) in [
            ("read_timeout_ms", self.read_timeout_ms),
            ("accept_timeout_ms", self.accept_timeout_ms),
            ("wait_ms", self.wait_ms),
            ("wait_most_ms", self.wait_most_ms),
        ] {
            if !(1..=600_000).contains(&value) {
                problems.push((path.into(), "must lie between 1 and 600000".into()));
            }
        }
        if let Err(found) = Keys::read(&self.keys) {
            problems.extend(found);
        }
        problems
    }
}

/// Everything that the door's routes need.
pub struct Ingest {
    pub config: Config,
    pub door: Door,
    pub keys: Arc<Keys>,
    /// In dev mode everybody may publish.
    pub open: bool,
}
