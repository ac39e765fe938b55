//! The ingest queue: what was accepted and is not yet in the record. A port.
//!
//! The contract of every adapter:
//! - [`Queue::publish`] returns after the entries are as durable as [`Queue::durability`] says, one answer an entry; an array is never atomic.
//! - Within a lane, entries come in the order of their sequences, and come again after a crash until they are settled: it may repeat, never
//!   lose or reorder.
//! - An id that is still queued, or was settled a moment ago, is not queued twice: the answer is the first entry's, or a conflict when the
//!   bodies differ.
//! - [`Queue::next`] waits; one consumer a lane. [`Queue::settle`] may be forgotten in a crash: the record is the fence.

pub mod embedded;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::domain::notification::BodyHash;

/// Which adapter, and each one's settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub adapter: Adapter,
    pub embedded: embedded::Config,
}

/// The adapters there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    #[default]
    Embedded,
}

impl Config {
    /// Every mistake in this table, as (path below `queue`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        match self.adapter {
            Adapter::Embedded => self.embedded.problems(),
        }
    }
}

/// Builds the configured adapter.
pub async fn build(config: &Config, data: &Path) -> Result<Arc<dyn Queue>, QueueError> {
    match config.adapter {
        Adapter::Embedded => Ok(embedded::Embedded::open(&config.embedded, data).await?),
    }
}

#[async_trait]
pub trait Queue: Send + Sync {
    /// Name of the adapter, for people.
    fn name(&self) -> &'static str;

    /// What a receipt may promise.
    fn durability(&self) -> Durability;

    /// Queues `entries` and returns when they are durable: one answer an entry, in their order.
    async fn publish(&self, entries: Vec<NewEntry>) -> Vec<Result<Published, QueueError>>;

    /// Waits for entries of `lane` behind those that were handed out; empty only when the queue is closing.
    async fn next(&self, lane: u32, most: Most) -> Result<Vec<Entry>, QueueError>;

    /// Hands out `lane` again from its first unsettled entry: who takes over a lane begins here.
    async fn rewind(&self, lane: u32) -> Result<(), QueueError>;

    /// Forgets all entries of `lane` up to `through`; `dead` are those that can never pass, kept with their reason.
    async fn settle(&self, lane: u32, through: u64, dead: Vec<DeadLetter>) -> Result<(), QueueError>;

    /// How much is queued.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// Whether something could be queued now.
    async fn ping(&self) -> Result<(), QueueError>;

    /// Flushes what is pending and closes.
    async fn close(&self);
}

/// What an accepted notification has been given when the producer gets its receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Synced to this machine's disk.
    Fsynced,
    /// Acknowledged by a majority of servers.
    Replicated,
    /// In memory: lost with the power, not with the process.
    Memory,
    /// Not persisted by its own wish: told once to who is there.
    Transient,
}

/// An entry as it is handed in.
#[derive(Debug, Clone)]
pub struct NewEntry {
    pub id: String,
    pub hash: BodyHash,
    /// The accepted notification, as JSON.
    pub payload: Bytes,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    pub sequence: u64,
    /// The id was queued already, with the same body.
    pub duplicate: bool,
}

/// How much to hand out at once: a batch ends with whichever comes first, and holds one entry at least.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    pub entries: usize,
    /// Octets of payload.
    pub bytes: usize,
}

/// An entry as it is handed out.
#[derive(Debug, Clone)]
pub struct Entry {
    pub sequence: u64,
    pub payload: Bytes,
}

/// An entry that can never pass.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    pub sequence: u64,
    pub id: String,
    /// A closed set: `conflict`, `unreadable`.
    pub reason: &'static str,
    pub payload: Bytes,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    /// The highest sequence ever given.
    pub last_sequence: u64,
    /// Entries that are not settled.
    pub pending: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The bound is reached; worth another try after the given time.
    #[error("the queue is full; try again in {0:?}")]
    Full(Duration),
    /// The same id is queued with another body.
    #[error("this id is queued with another body")]
    Conflict,
    /// The disk or the server behind it fails; worth another try.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// It can't be opened at all; only an operator can help.
    #[error("{0}")]
    Refused(String),
}

impl QueueError {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unavailable(_))
    }
}
