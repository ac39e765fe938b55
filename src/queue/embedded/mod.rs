//! The queue of a node that is alone: a SQLite file, one writer task, group commit.
//!
//! Whoever publishes hands its entries to the writer and waits; the writer takes all that wait, commits them in one transaction and answers
//! them together, so that a sync is shared by everyone who came while the one before was under way. What is settled is deleted with the next
//! commit, not with one of its own: after a crash it comes again, and the record knows it.
//!
//! The file is locked exclusively, which also keeps a second process off the same data.

mod command;
mod file;
mod tail;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode};
use tokio::sync::{mpsc, oneshot};

use self::command::Command;
use self::tail::Shared;
use self::writer::Writer;
use super::{Dead, DeadLetter, Depth, Durability, Entry, Most, NewEntry, Published, Queue, QueueError};
use crate::sqlite::{Synchronous, explain};

/// Settings of the embedded queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `full`: a receipt leaves after the sync of its commit. `off`: the operating system writes when it likes, and receipts say `memory`.
    pub synchronous: Synchronous,
    /// Entries that may wait; beyond it producers get 503.
    pub max_entries: u64,
    /// Bytes of payload that may wait; beyond it producers get 503.
    pub max_bytes: u64,
    /// Bytes of payload kept at hand for the dispatcher; the rest is read back from the file.
    pub cache_bytes: usize,
    /// Publishers that may wait for a commit at once.
    pub max_waiting: usize,
    /// Entries that one commit takes at most.
    pub max_commit: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            max_entries: 1_000_000,
            max_bytes: 1_073_741_824,
            cache_bytes: 33_554_432,
            max_waiting: 4_096,
            max_commit: 4_096,
        }
    }
}

impl Config {
    pub fn problems(&self) -> Vec<(String, String)> {
        [
            ("embedded.max_entries", self.max_entries as usize),
            ("embedded.max_bytes", self.max_bytes as usize),
            ("embedded.cache_bytes", self.cache_bytes),
            ("embedded.max_waiting", self.max_waiting),
            ("embedded.max_commit", self.max_commit),
        ]
        .into_iter()
        .filter(|(_, value)| *value == 0)
        .map(|(path, _)| (path.to_owned(), "must be at least 1".to_owned()))
        .collect()
    }
}

/// Handle on the writer; see the module's contract.
pub struct Embedded {
    writer: mpsc::Sender<Command>,
    shared: Arc<Shared>,
    durability: Durability,
}

/// The file in the data directory.
pub const FILE: &str = "queue.db";

impl Embedded {
    /// Opens (or creates) `queue.db` in `data` and starts the writer, which ends with the last handle.
    pub async fn open(config: &Config, data: &Path) -> Result<Arc<Self>, QueueError> {
        let path = data.join(FILE);
        let refused = |error: sqlx::Error| QueueError::Refused(explain(&path, &error));
        let mut connection = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(config.synchronous.into())
            .pragma("wal_autocheckpoint", "4000")
            // KiB of pages at hand, so that a backlog is not read back page by page.
            .pragma("cache_size", "-16384")
            .busy_timeout(Duration::from_secs(2))
            .disable_statement_logging()
            .connect()
            .await
            .map_err(refused)?;
        sqlx::migrate!("migrations/sqlite-queue")
            .run(&mut connection)
            .await
            .map_err(|error| QueueError::Refused(explain(&path, &error)))?;
        let (sender, commands) = mpsc::channel(config.max_waiting);
        let shared = Arc::new(Shared::default());
        let mut writer = Writer::new(config.clone(), connection, Arc::clone(&shared));
        writer.load().await.map_err(refused)?;
        tokio::spawn(writer.run(commands));
        Ok(Arc::new(Self {
            writer: sender,
            shared,
            durability: match config.synchronous {
                Synchronous::Full => Durability::Fsynced,
                Synchronous::Off => Durability::Memory,
            },
        }))
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, QueueError> {
        let (reply, answer) = oneshot::channel();
        let closed = |_| QueueError::Unavailable("the queue is closed".into());
        self.writer.send(command(reply)).await.map_err(|_| closed(()))?;
        answer.await.map_err(|_| closed(()))
    }
}

#[async_trait]
impl Queue for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn lanes(&self) -> u32 {
        1
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    async fn publish(&self, entries: Vec<NewEntry>) -> Vec<Result<Published, QueueError>> {
        let count = entries.len();
        match self.ask(|reply| Command::Publish(entries, reply)).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); count],
        }
    }

    async fn next(&self, _lane: u32, most: Most) -> Result<Vec<Entry>, QueueError> {
        loop {
            let arrived = self.shared.arrived.notified();
            let after = {
                let mut tail = self.shared.lock();
                if tail.closed {
                    return Ok(Vec::new());
                }
                if let Some(entries) = tail.take(most) {
                    return Ok(entries);
                }
                // Behind what is at hand: the file has it.
                (tail.handed_out < tail.depth.last_sequence && tail.depth.pending > 0).then_some(tail.handed_out)
            };
            if let Some(after) = after {
                let entries = self.ask(|reply| Command::Read { after, most, reply }).await??;
                if let Some(last) = entries.last() {
                    self.shared.lock().handed_out = last.sequence;
                    return Ok(entries);
                }
            }
            arrived.await;
        }
    }

    async fn hold(&self, _lane: u32) -> Result<(), QueueError> {
        let mut tail = self.shared.lock();
        tail.handed_out = 0;
        tail.entries.clear();
        tail.bytes = 0;
        Ok(())
    }

    /// There is no other node.
    async fn give_back(&self, _lane: u32) -> Result<(), QueueError> {
        Ok(())
    }

    async fn settle(&self, _lane: u32, through: u64, dead: Vec<DeadLetter>) -> Result<(), QueueError> {
        self.ask(|reply| Command::Settle { through, dead, reply }).await?
    }

    async fn dead(&self, after: u64, limit: u32) -> Result<Vec<Dead>, QueueError> {
        self.ask(|reply| Command::Dead { after, limit, reply }).await?
    }

    async fn replay(&self, number: u64) -> Result<bool, QueueError> {
        self.ask(|reply| Command::Replay { number, reply }).await?
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        Ok(self.shared.lock().depth)
    }

    async fn ping(&self) -> Result<(), QueueError> {
        self.ask(Command::Ping).await?
    }

    async fn close(&self) {
        // An error says that the writer has ended, which is what is wanted.
        let _ = self.ask(Command::Close).await;
    }
}
