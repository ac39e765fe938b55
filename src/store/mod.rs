//! The record: what was accepted, its place in its receiver's inbox, and how it ended. A port.
//!
//! The contract of every adapter:
//! - Every verb is one transaction; it returns after the commit is as durable as the engine is configured for. Running one twice does no harm.
//! - [`Store::insert`] numbers a receiver's notifications 1, 2, 3 … without gaps, in the order of the batch, and never stores an id twice. A
//!   visible `seq` N means that all below it are visible.
//! - The first outcome written for a row stands. Tallies change in the transaction that changes the rows.
//! - Every verb that a user causes takes the user, and touches no row of anyone else's.
//! - Errors that [`StoreError::is_retryable`] may go away; nothing was changed by a verb that failed.

pub mod mysql;
pub mod postgres;
pub mod sqlite;
mod unreached;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::unreached::{Looked, Stretch, Unended};
use crate::domain::envelope::Message;
use crate::domain::notification::{BodyHash, Notification};
use crate::domain::outcome::Outcome;
use crate::domain::revocation::Revocation;
use crate::domain::time::EpochMs;

/// Which adapter, and each one's settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub adapter: Adapter,
    pub sqlite: sqlite::Config,
    pub mysql: mysql::Config,
    pub postgres: postgres::Config,
}

/// The adapters there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    #[default]
    Sqlite,
    /// MySQL or MariaDB.
    Mysql,
    Postgres,
}

impl Config {
    /// Every mistake in this table, as (path below `store`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        match self.adapter {
            Adapter::Sqlite => self.sqlite.problems(),
            Adapter::Mysql => self.mysql.problems(),
            Adapter::Postgres => self.postgres.problems(),
        }
    }
}

/// Builds the configured adapter and brings its schema up to date.
pub async fn build(config: &Config, data: &Path) -> Result<Arc<dyn Store>, StoreError> {
    match config.adapter {
        Adapter::Sqlite => Ok(Arc::new(sqlite::Sqlite::open(&config.sqlite, data).await?)),
        Adapter::Mysql => Ok(Arc::new(mysql::Mysql::open(&config.mysql).await?)),
        Adapter::Postgres => Ok(Arc::new(postgres::Postgres::open(&config.postgres).await?)),
    }
}

#[async_trait]
pub trait Store: Send + Sync {
    /// Name of the adapter, for people.
    fn name(&self) -> &'static str;

    /// Takes over `lane`: raises its epoch, so that whoever held it before changes nothing any more.
    async fn claim(&self, lane: u32) -> Result<u64, StoreError>;

    /// Stores a batch of one lane and notes how far the lane has come.
    async fn insert(&self, batch: &Batch) -> Result<Vec<Placed>, StoreError>;

    /// What the record has under `ids`, in their order.
    async fn lookup(&self, ids: &[&str]) -> Result<Vec<Option<Kept>>, StoreError>;

    /// One page of a user's inbox, read at one moment.
    async fn page(&self, query: &PageQuery) -> Result<Page, StoreError>;

    /// Confirms notifications, each for its own user; says of each what was found.
    async fn confirm(&self, confirmations: &[Confirmation], now: EpochMs) -> Result<Vec<Confirmed>, StoreError>;

    /// A user's notifications created before `before`, newest first.
    async fn history(&self, user: &str, before: EpochMs, skip: u64, limit: u32) -> Result<Vec<Message>, StoreError>;

    /// How many of a user's notifications are not viewed, and through which `seq` that was counted.
    async fn unread(&self, user: &str) -> Result<Unread, StoreError>;

    /// Marks as read, which confirms; answers with the ids that changed.
    async fn mark_viewed(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError>;

    /// Deletes; answers with the ids that changed. The ids stay taken until retention.
    async fn delete(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError>;

    /// How far each lane has come; asked every second by every node.
    async fn marks(&self) -> Result<Vec<Mark>, StoreError>;

    /// Notes that rows of `lane` up to its last position may not have been rung.
    async fn doubt(&self, lane: u32) -> Result<(), StoreError>;

    /// For whom rows of `lane` behind the position `after` are, up to the position `through`, in order, `limit` at most.
    async fn rung(&self, lane: u32, after: u64, through: u64, limit: u32) -> Result<Vec<Rung>, StoreError>;

    /// Keeps a revocation until it ends. The same one twice does no harm.
    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError>;

    /// The revocations that were written at `since` or later and have not ended at `now`. Pass 0 for all.
    async fn revocations(&self, since: EpochMs, now: EpochMs) -> Result<Vec<Revocation>, StoreError>;

    /// How far each lane was looked through for what nobody was there to get.
    async fn looked(&self) -> Result<Vec<Looked>, StoreError>;

    /// The open rows of a part of a lane, with their data.
    async fn unended(&self, query: &Unended) -> Result<Stretch, StoreError>;

    /// Takes the turn to look at what is behind `through` in `lane`, until then. `false` when it is somebody's at `now`, or it was looked further.
    async fn begin_turn(&self, lane: u32, through: u64, now: EpochMs, until: EpochMs) -> Result<bool, StoreError>;

    /// Ends the turn that was taken until `until`: the lane was looked at `through`. `false` when it is somebody else's meanwhile.
    async fn end_turn(&self, lane: u32, until: EpochMs, through: u64) -> Result<bool, StoreError>;

    /// Ends and removes up to `limit` rows that were created before `cutoff`.
    async fn sweep(&self, cutoff: EpochMs, limit: u32) -> Result<Swept, StoreError>;

    /// The lanes with their tallies.
    async fn lanes(&self) -> Result<Vec<Lane>, StoreError>;

    /// Whether the record can be read and written now.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Closes every connection.
    async fn close(&self);
}

/// A row that the record has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub hash: BodyHash,
    pub seq: u64,
}

/// What a dispatcher took from the queue.
#[derive(Debug)]
pub struct Batch {
    pub lane: u32,
    /// The epoch that [`Store::claim`] gave.
    pub epoch: u64,
    pub items: Vec<Item>,
}

#[derive(Debug)]
pub struct Item {
    /// The queue's sequence.
    pub sequence: u64,
    /// `None` for an entry that can't be read: it is only counted.
    pub notification: Option<Notification>,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placed {
    /// It is in the inbox, at this place.
    Stored { seq: u64 },
    /// The record had it, with the same body: nothing to do but to ring again, which is harmless.
    Duplicate { seq: u64 },
    /// The id is another notification's.
    Conflict,
    /// Not persisted by its own wish; `repeated` when the lane had dealt with it before a crash.
    Transient { repeated: bool },
    /// It could not be read.
    Unreadable,
}

/// Which part of an inbox to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageQuery {
    pub user: String,
    /// Rows with a `seq` above this.
    pub after: u64,
    /// Above this `seq`, all that is kept; up to it only what is unconfirmed. `None`: only what is unconfirmed.
    pub all_after: Option<u64>,
    pub limit: u32,
}

/// A part of an inbox.
#[derive(Debug, Clone)]
pub struct Page {
    pub rows: Vec<Message>,
    /// Whether `rows` holds everything that was asked for, as of this read.
    pub complete: bool,
    /// The user's last `seq`, as of this read.
    pub last_seq: u64,
    /// The highest `seq` that retention has removed.
    pub removed_through: u64,
}

/// How far a lane has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    pub lane: u32,
    /// The position of its last row.
    pub position: u64,
    /// Rows up to here may not have been rung; 0 when all were.
    pub doubted: u64,
}

/// For whom a row is, and its place in that inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    pub position: u64,
    pub receiver: String,
    pub seq: u64,
}

/// A count of what is unread. Notifications beyond `last_seq` came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unread {
    pub unread: u64,
    pub last_seq: u64,
}

/// A confirmation that some session of `user` sent.
#[derive(Debug, Clone)]
pub struct Confirmation {
    pub user: Arc<str>,
    pub id: String,
    /// Only look what is there; write nothing.
    pub look_only: bool,
}

/// What a confirmation found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It wrote the outcome. `created` is the notification's, for the latency.
    First { seq: u64, created: EpochMs },
    /// The row had its outcome.
    Again { seq: u64 },
    /// This user has no such notification.
    Unknown,
}

impl Confirmed {
    /// The place of the notification, if the user has it.
    pub fn seq(self) -> Option<u64> {
        match self {
            Self::First { seq, .. } | Self::Again { seq } => Some(seq),
            Self::Unknown => None,
        }
    }
}

/// What one sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Those that had no outcome.
    pub expired: Vec<Expired>,
    pub removed: u64,
}

/// A row that ended unconfirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    pub id: String,
    pub receiver: String,
    pub seq: u64,
    pub created: EpochMs,
}

/// A partition's row; see DESIGN P2 for the identity that the tallies keep.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    pub lane: u32,
    pub epoch: u64,
    pub settled: u64,
    pub position: u64,
    pub stored: u64,
    pub duplicates: u64,
    pub transient: u64,
    pub refused: u64,
    pub ended: Vec<(Outcome, u64)>,
    /// Rows without an outcome, counted now.
    pub open: u64,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk or the server behind it fails; worth another try.
    #[error("the record is unavailable: {0}")]
    Unavailable(String),
    /// No answer within the deadline; worth another try.
    #[error("the record did not answer within {0:?}")]
    TimedOut(Duration),
    /// Another dispatcher has taken over the lane; whoever holds this error stops.
    #[error("the lane has been taken over by another dispatcher")]
    Fenced,
    /// It can't be opened at all; only an operator can help.
    #[error("{0}")]
    Refused(String),
}

impl StoreError {
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TimedOut(_))
    }
}
