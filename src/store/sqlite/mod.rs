//! The record in a SQLite file: for a node that is alone. One connection writes, several read.
//!
//! WAL with `synchronous=FULL`: a commit returns after its sync. Readers never wait for the writer.

mod cluster;
mod inbox;
mod insert;
mod outcomes;
mod unreached;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow};
use sqlx::{ConnectOptions, FromRow, Row};

use super::{
    Batch, Confirmation, Confirmed, Kept, Lane, Looked, Mark, Page, PageQuery, Placed, Rung, Store, StoreError,
    Stretch, Swept, Unended, Unread,
};
use crate::domain::envelope::Message;
use crate::domain::outcome::Outcome;
use crate::domain::revocation::Revocation;
use crate::domain::time::EpochMs;
use crate::sqlite::{Synchronous, explain};

/// Settings of the SQLite record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Connections that read at once.
    pub readers: u32,
    /// Longest wait for a connection and its answer, in milliseconds.
    pub timeout_ms: u64,
    /// `full`: a commit returns after its sync. `off`: it may be lost with the power.
    pub synchronous: Synchronous,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            readers: 4,
            timeout_ms: 10_000,
            synchronous: Synchronous::Full,
        }
    }
}

impl Config {
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=64).contains(&self.readers) {
            problems.push(("sqlite.readers".into(), "must lie between 1 and 64".into()));
        }
        if !(100..=600_000).contains(&self.timeout_ms) {
            problems.push(("sqlite.timeout_ms".into(), "must lie between 100 and 600000".into()));
        }
        problems
    }
}

pub struct Sqlite {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    timeout: Duration,
    /// Whether a verb failed since the writer's connection was opened. Such a connection is of no more use: after a full disk SQLite has ended
    /// the transaction by itself, and sqlx, which doesn't learn of it, would take every later one for a nested one; and a file that was
    /// opened while it could not be written to stays so.
    failed: Arc<AtomicBool>,
}

const FILE: &str = "record.db";

/// The columns that [`message`] reads.
const MESSAGE: &str = "id, type, receiver, data, viewed, created, seq";

impl Sqlite {
    /// Opens (or creates) `record.db` in `data` and brings its schema up to date.
    pub async fn open(config: &Config, data: &Path) -> Result<Self, StoreError> {
        let path = data.join(FILE);
        let timeout = Duration::from_millis(config.timeout_ms);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(config.synchronous.into())
            .pragma("wal_autocheckpoint", "4000")
            .busy_timeout(timeout)
            .disable_statement_logging();
        let failed = Arc::new(AtomicBool::new(false));
        let refused = |error: sqlx::Error| StoreError::Refused(explain(&path, &error));
        // KiB of pages at hand: a batch touches pages of every index, and finds them here. Its statement journal stays off the disk.
        let writing = options
            .clone()
            .pragma("cache_size", "-65536")
            .pragma("temp_store", "memory");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(timeout)
            .before_acquire({
                let failed = Arc::clone(&failed);
                move |_, _| {
                    let failed = failed.swap(false, Ordering::AcqRel);
                    Box::pin(async move { Ok(!failed) })
                }
            })
            .connect_with(writing)
            .await
            .map_err(refused)?;
        sqlx::migrate!("migrations/sqlite")
            .run(&writer)
            .await
            .map_err(|error| StoreError::Refused(explain(&path, &error)))?;
        let readers = SqlitePoolOptions::new()
            .max_connections(config.readers)
            .acquire_timeout(timeout)
            // Thousands who come back at once wait here for their pages: a line in the log for each of them would help nobody.
            .acquire_slow_threshold(timeout)
            .connect_with(options.pragma("query_only", "on"))
            .await
            .map_err(refused)?;
        Ok(Self {
            path,
            writer,
            readers,
            timeout,
            failed,
        })
    }

    /// Runs one verb within the deadline and puts its error into words.
    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T, StoreError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(StoreError::TimedOut(self.timeout)),
            Ok(Err(error)) => Err(StoreError::Unavailable(explain(&self.path, &error))),
        }
    }

    /// The same for a verb that writes: after a failure the writer's connection is opened anew.
    async fn writing<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T, StoreError> {
        let result = self.within(work).await;
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }
}

#[async_trait]
impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    async fn claim(&self, lane: u32) -> Result<u64, StoreError> {
        self.writing(async {
            let epoch: i64 = sqlx::query_scalar(
                "insert into lane (lane, epoch) values (?, 1) on conflict (lane) do update set epoch = epoch + 1 returning epoch",
            )
            .bind(lane)
            .fetch_one(&self.writer)
            .await?;
            Ok(epoch as u64)
        })
        .await
    }

    async fn insert(&self, batch: &Batch) -> Result<Vec<Placed>, StoreError> {
        self.writing(insert::insert(&self.writer, batch))
            .await?
            .ok_or(StoreError::Fenced)
    }

    async fn lookup(&self, ids: &[&str]) -> Result<Vec<Option<Kept>>, StoreError> {
        self.within(insert::lookup(&self.readers, ids)).await
    }

    async fn page(&self, query: &PageQuery) -> Result<Page, StoreError> {
        self.within(inbox::page(&self.readers, query)).await
    }

    async fn confirm(&self, confirmations: &[Confirmation], now: EpochMs) -> Result<Vec<Confirmed>, StoreError> {
        self.writing(outcomes::confirm(&self.writer, confirmations, now)).await
    }

    async fn history(&self, user: &str, before: EpochMs, skip: u64, limit: u32) -> Result<Vec<Message>, StoreError> {
        self.within(inbox::history(&self.readers, user, before, skip, limit))
            .await
    }

    async fn unread(&self, user: &str) -> Result<Unread, StoreError> {
        self.within(inbox::unread(&self.readers, user)).await
    }

    async fn mark_viewed(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError> {
        self.writing(outcomes::mark_viewed(&self.writer, user, ids, now)).await
    }

    async fn delete(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError> {
        self.writing(outcomes::delete(&self.writer, user, ids, now)).await
    }

    async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        self.within(cluster::marks(&self.readers)).await
    }

    async fn doubt(&self, lane: u32) -> Result<(), StoreError> {
        self.writing(cluster::doubt(&self.writer, lane)).await
    }

    async fn rung(&self, lane: u32, after: u64, through: u64, limit: u32) -> Result<Vec<Rung>, StoreError> {
        self.within(cluster::rung(&self.readers, lane, after, through, limit))
            .await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        self.writing(cluster::revoke(&self.writer, revocation)).await
    }

    async fn revocations(&self, since: EpochMs, now: EpochMs) -> Result<Vec<Revocation>, StoreError> {
        self.within(cluster::revocations(&self.readers, since, now)).await
    }

    async fn looked(&self) -> Result<Vec<Looked>, StoreError> {
        self.within(unreached::looked(&self.readers)).await
    }

    async fn unended(&self, query: &Unended) -> Result<Stretch, StoreError> {
        self.within(unreached::unended(&self.readers, query)).await
    }

    async fn begin_turn(&self, lane: u32, through: u64, now: EpochMs, until: EpochMs) -> Result<bool, StoreError> {
        self.writing(unreached::begin_turn(&self.writer, (lane, through), now, until))
            .await
    }

    async fn end_turn(&self, lane: u32, until: EpochMs, through: u64) -> Result<bool, StoreError> {
        self.writing(unreached::end_turn(&self.writer, lane, until, through))
            .await
    }

    async fn sweep(&self, cutoff: EpochMs, limit: u32) -> Result<Swept, StoreError> {
        self.writing(outcomes::sweep(&self.writer, cutoff, limit)).await
    }

    async fn lanes(&self) -> Result<Vec<Lane>, StoreError> {
        self.within(async {
            let rows = sqlx::query(
                // Alone there is one lane, so what is open is counted over the index alone.
                "select lane.*, (select count(*) from notify_log indexed by notify_log_open where outcome = 0) as open \
                 from lane order by lane",
            )
            .fetch_all(&self.readers)
            .await?;
            rows.iter().map(lane).collect()
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        // A commit that says nothing new still fails on a full or read-only disk. An update to the same value would not: SQLite sees that
        // nothing changes, and writes nothing.
        self.writing(async {
            sqlx::query("pragma user_version = 1")
                .execute(&self.writer)
                .await
                .map(drop)
        })
        .await
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn message(row: &SqliteRow) -> Result<Message, sqlx::Error> {
    let data: String = row.try_get("data")?;
    Ok(Message {
        id: row.try_get("id")?,
        kind: row.try_get("type")?,
        receiver: row.try_get("receiver")?,
        data: RawValue::from_string(data).map_err(|error| sqlx::Error::Decode(error.into()))?,
        viewed: row.try_get("viewed")?,
        created: row.try_get("created")?,
        seq: Some(row.try_get::<i64, _>("seq")? as u64),
    })
}

fn lane(row: &SqliteRow) -> Result<Lane, sqlx::Error> {
    let count = |column: &str| row.try_get::<i64, _>(column).map(|n| n as u64);
    Ok(Lane {
        lane: count("lane")? as u32,
        epoch: count("epoch")?,
        settled: count("settled")?,
        position: count("position")?,
        stored: count("stored")?,
        duplicates: count("duplicates")?,
        transient: count("transient")?,
        refused: count("refused")?,
        ended: Outcome::ALL
            .into_iter()
            .map(|outcome| Ok((outcome, count(outcome.name())?)))
            .collect::<Result<_, sqlx::Error>>()?,
        open: count("open")?,
    })
}

#[derive(FromRow)]
struct Known {
    id: String,
    body_hash: Vec<u8>,
    seq: i64,
}
