//! The ingest queue: what was accepted and is not yet in the record. A port.
//!
//! The contract of every adapter:
//! - [`Queue::publish`] returns after the entries are as durable as [`Queue::durability`] says, one answer an entry; an array is never atomic.
//! - A lane is worked on by one node at a time: [`Queue::hold`] waits for it. Within a lane, entries come in the order of their sequences, and
//!   come again after a crash until they are settled: it may repeat, never lose or reorder. That a node holds a lane saves work; it is no
//!   fence, for a node that froze may go on with what it had: the record is the fence.
//! - An id that is still queued, or was settled a moment ago, is not queued twice: the answer is the first entry's. With another body it is a
//!   conflict: told at once, or found by the record and kept as a dead letter.
//! - [`Queue::next`] waits; one consumer a lane. While a batch is in hand, however long, nothing behind it in its lane goes to anybody else.
//! - [`Queue::settle`] may be forgotten in a crash.
//! - A dead letter stays until it is replayed: [`Queue::dead`] lists them, [`Queue::replay`] tries one again.

mod dead;
pub mod embedded;
pub mod jetstream;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use dead::{Dead, DeadLetter};

use crate::domain::notification::{Audience, BodyHash, Notification};
use crate::domain::time::EpochMs;
use crate::nats::Nats;

/// Which adapter, and each one's settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub adapter: Adapter,
    pub embedded: embedded::Config,
    pub jetstream: jetstream::Config,
}

/// The adapters there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    #[default]
    Embedded,
    Jetstream,
}

impl Config {
    /// Whether the adapter talks to NATS.
    pub fn needs_nats(&self) -> bool {
        match self.adapter {
            Adapter::Embedded => false,
            Adapter::Jetstream => true,
        }
    }

    /// Every mistake in this table, as (path below `queue`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        match self.adapter {
            Adapter::Embedded => self.embedded.problems(),
            Adapter::Jetstream => self.jetstream.problems(),
        }
    }
}

/// Builds the configured adapter.
pub async fn build(config: &Config, data: &Path, nats: Option<&Nats>) -> Result<Arc<dyn Queue>, QueueError> {
    match (config.adapter, nats) {
        (Adapter::Jetstream, Some(nats)) => Ok(jetstream::Jetstream::open(&config.jetstream, nats).await?),
        (Adapter::Jetstream, None) => Err(QueueError::Refused("needs a connection to NATS".into())),
        (Adapter::Embedded, _) => Ok(embedded::Embedded::open(&config.embedded, data).await?),
    }
}

/// Brings what the adapter keeps elsewhere to what the configuration says; tells what was changed, a line each.
pub async fn migrate(config: &Config, nats: Option<&Nats>) -> Result<Vec<String>, QueueError> {
    match (config.adapter, nats) {
        (Adapter::Jetstream, Some(nats)) => jetstream::migrate(&config.jetstream, nats).await,
        _ => Ok(Vec::new()),
    }
}

#[async_trait]
pub trait Queue: Send + Sync {
    /// Name of the adapter, for people.
    fn name(&self) -> &'static str;

    /// How many lanes there are, numbered from 0. A receiver's notifications are all in one.
    fn lanes(&self) -> u32;

    /// Whether other nodes may work on the lanes, too.
    fn is_shared(&self) -> bool;

    /// What a receipt may promise.
    fn durability(&self) -> Durability;

    /// Queues `entries` and returns when they are durable: one answer an entry, in their order.
    async fn publish(&self, entries: Vec<NewEntry>) -> Vec<Result<Published, QueueError>>;

    /// Waits for entries of `lane` behind those that were handed out; empty only when the queue is closing.
    async fn next(&self, lane: u32, most: Most) -> Result<Vec<Entry>, QueueError>;

    /// Gives up what it had of `lane`, waits until this node is the one that works on it, and begins at its first unsettled entry.
    async fn hold(&self, lane: u32) -> Result<(), QueueError>;

    /// Lets another node have `lane`, and begins at its first unsettled entry there: this node has to [`Queue::hold`] it again before it gets more.
    async fn give_back(&self, lane: u32) -> Result<(), QueueError>;

    /// Forgets all entries of `lane` up to `through`; `dead` are those that can never pass, kept with their reason.
    async fn settle(&self, lane: u32, through: u64, dead: Vec<DeadLetter>) -> Result<(), QueueError>;

    /// Up to `limit` dead letters behind the number `after`, oldest first. A page of large ones is shorter; an empty one is the end.
    async fn dead(&self, after: u64, limit: u32) -> Result<Vec<Dead>, QueueError>;

    /// Queues a dead letter anew, as it came, then removes it. `false`: there is none with this number. What made it die makes it die again,
    /// under a new number, unless that has changed in between. A crash between the two may leave the letter although it was queued.
    async fn replay(&self, number: u64) -> Result<bool, QueueError>;

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
    /// Says which lane it goes to.
    pub to: Audience,
    /// The accepted notification, as JSON.
    pub payload: Bytes,
}

impl NewEntry {
    pub fn of(notification: &Notification) -> Self {
        Self {
            id: notification.id.clone(),
            hash: notification.hash,
            to: notification.to.clone(),
            payload: Bytes::from(serde_json::to_vec(notification).expect("strings and raw JSON are JSON")),
        }
    }
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
    pub source: Source,
}

/// Where an entry came from, and so what its payload is.
#[derive(Debug, Clone)]
pub enum Source {
    /// A door: the accepted notification, as JSON.
    Door,
    /// A producer, past the doors: a draft that nobody has checked.
    Direct(Direct),
}

/// What is known of a draft that came past the doors.
#[derive(Debug, Clone)]
pub struct Direct {
    /// For whom its subject says that it is; `None` when the subject can't be read. The draft has to agree.
    pub to: Option<Audience>,
    /// The id that it gets when it names none; the same at every redelivery.
    pub fallback_id: String,
    /// When the queue took it.
    pub created: EpochMs,
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
    /// Another node works on the lane now.
    #[error("another node works on this lane now")]
    Moved,
    /// The disk or the server behind it fails; worth another try.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// It never works as it is: the queue can't be opened, or an entry is larger than it takes.
    #[error("{0}")]
    Refused(String),
}

impl QueueError {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Unavailable(_))
    }
}
