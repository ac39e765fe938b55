//! The queue of a node that is alone: a SQLite file, one writer task, group commit.
//!
//! Whoever publishes hands its entries to the writer and waits; the writer takes all that wait, commits them in one transaction and answers
//! them together, so that a sync is shared by everyone who came while the one before was under way. What is settled is deleted with the next
//! commit, not with one of its own: after a crash it comes again, and the record knows it.
//!
//! The file is locked exclusively, which also keeps a second process off the same data.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Executor, QueryBuilder, Sqlite, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{DeadLetter, Depth, Durability, Entry, NewEntry, Published, Queue, QueueError};
use crate::domain::notification::BodyHash;
use crate::lifecycle;
use crate::sqlite::explain;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    Full,
    Off,
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

/// What the writer shows to whoever reads.
struct Shared {
    tail: Mutex<Tail>,
    arrived: Notify,
}

#[derive(Default)]
struct Tail {
    /// The newest committed entries, in order, without gaps.
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The last sequence that was handed out.
    handed_out: u64,
    depth: Depth,
    closed: bool,
}

/// Where the answers to a publish go: one an entry.
type Answers = oneshot::Sender<Vec<Result<Published, QueueError>>>;

enum Command {
    Publish(Vec<NewEntry>, Answers),
    Read {
        after: u64,
        max: usize,
        reply: oneshot::Sender<Result<Vec<Entry>, QueueError>>,
    },
    Settle {
        through: u64,
        dead: Vec<DeadLetter>,
        reply: oneshot::Sender<Result<(), QueueError>>,
    },
    Ping(oneshot::Sender<Result<(), QueueError>>),
    Close(oneshot::Sender<()>),
}

const FILE: &str = "queue.db";

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
            .synchronous(match config.synchronous {
                Synchronous::Full => SqliteSynchronous::Full,
                Synchronous::Off => SqliteSynchronous::Off,
            })
            .pragma("wal_autocheckpoint", "4000")
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
        let shared = Arc::new(Shared {
            tail: Mutex::default(),
            arrived: Notify::new(),
        });
        let mut writer = Writer {
            config: config.clone(),
            connection,
            known: HashMap::new(),
            remembered: VecDeque::new(),
            order: VecDeque::new(),
            bytes: 0,
            last_sequence: 0,
            settled: 0,
            unwritten: false,
            shared: Arc::clone(&shared),
        };
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

    async fn next(&self, _lane: u32, max: usize) -> Result<Vec<Entry>, QueueError> {
        loop {
            let arrived = self.shared.arrived.notified();
            let after = {
                let mut tail = self.shared.lock();
                if tail.closed {
                    return Ok(Vec::new());
                }
                if let Some(entries) = tail.take(max) {
                    return Ok(entries);
                }
                // Behind what is at hand: the file has it.
                (tail.handed_out < tail.depth.last_sequence && tail.depth.pending > 0).then_some(tail.handed_out)
            };
            if let Some(after) = after {
                let entries = self.ask(|reply| Command::Read { after, max, reply }).await??;
                if let Some(last) = entries.last() {
                    self.shared.lock().handed_out = last.sequence;
                    return Ok(entries);
                }
            }
            arrived.await;
        }
    }

    async fn rewind(&self, _lane: u32) -> Result<(), QueueError> {
        let mut tail = self.shared.lock();
        tail.handed_out = 0;
        tail.entries.clear();
        tail.bytes = 0;
        Ok(())
    }

    async fn settle(&self, _lane: u32, through: u64, dead: Vec<DeadLetter>) -> Result<(), QueueError> {
        self.ask(|reply| Command::Settle { through, dead, reply }).await?
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

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Tail> {
        self.tail.lock().expect("nothing panics under this lock")
    }
}

impl Tail {
    /// The next entries, if they are at hand.
    fn take(&mut self, max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.sequence;
        if first > self.handed_out + 1 && self.depth.pending > self.entries.len() as u64 {
            return None;
        }
        let count = self.entries.len().min(max);
        let taken: Vec<_> = self.entries.drain(..count).collect();
        self.bytes -= taken.iter().map(|entry| entry.payload.len()).sum::<usize>();
        self.handed_out = taken.last()?.sequence;
        Some(taken)
    }

    fn push(&mut self, entry: Entry, bound: usize) {
        self.bytes += entry.payload.len();
        self.entries.push_back(entry);
        while self.bytes > bound {
            let Some(first) = self.entries.pop_front() else { break };
            self.bytes -= first.payload.len();
        }
    }
}

/// The task that owns the file.
struct Writer {
    config: Config,
    connection: SqliteConnection,
    /// Ids that are queued, or were settled a moment ago.
    known: HashMap<Arc<str>, (u64, BodyHash)>,
    /// The latter, in order. A producer's retry asks the record first and the queue then; without these, a first try that moved from the one
    /// to the other in between would be in neither.
    remembered: VecDeque<(u64, Arc<str>)>,
    /// What is queued, in order, with the size of each payload.
    order: VecDeque<(u64, Arc<str>, usize)>,
    bytes: u64,
    last_sequence: u64,
    settled: u64,
    /// Whether entries up to `settled` are still in the file.
    unwritten: bool,
    shared: Arc<Shared>,
}

/// How many settled ids are known for a while.
const REMEMBERED: usize = 4_096;

/// How long a settled entry may stay in the file when nobody publishes.
const TIDY_AFTER: Duration = Duration::from_millis(200);

impl Writer {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        loop {
            let room = self.config.max_waiting;
            let received = if self.unwritten {
                match tokio::time::timeout(TIDY_AFTER, commands.recv_many(&mut batch, room)).await {
                    Ok(received) => received,
                    Err(_) => {
                        self.tidy().await;
                        continue;
                    }
                }
            } else {
                commands.recv_many(&mut batch, room).await
            };
            if received == 0 {
                return self.close().await;
            }
            let mut publishes = Vec::new();
            for command in batch.drain(..) {
                match command {
                    Command::Publish(entries, reply) => {
                        publishes.push((entries, reply));
                        if publishes.iter().map(|(entries, _)| entries.len()).sum::<usize>() >= self.config.max_commit {
                            self.publish(std::mem::take(&mut publishes)).await;
                        }
                    }
                    Command::Settle { through, dead, reply } => {
                        let _ = reply.send(self.settle(through, dead).await);
                    }
                    Command::Read { after, max, reply } => {
                        let _ = reply.send(self.read(after, max).await);
                    }
                    Command::Ping(reply) => {
                        let _ = reply.send(self.ping().await);
                    }
                    Command::Close(reply) => {
                        self.publish(std::mem::take(&mut publishes)).await;
                        self.close().await;
                        let _ = reply.send(());
                        return;
                    }
                }
            }
            self.publish(publishes).await;
        }
    }

    /// Reads the state back from the file: at start, and after a commit whose end is unknown.
    async fn load(&mut self) -> Result<(), sqlx::Error> {
        let given: Option<i64> = sqlx::query_scalar("select seq from sqlite_sequence where name = 'entry'")
            .fetch_optional(&mut self.connection)
            .await?;
        let rows: Vec<(i64, String, Vec<u8>, i64)> = sqlx::query_as(
            "select sequence, id, hash, length(payload) from entry where sequence > ? order by sequence",
        )
        .bind(self.settled as i64)
        .fetch_all(&mut self.connection)
        .await?;
        self.last_sequence = given.unwrap_or(0) as u64;
        self.known.clear();
        self.remembered.clear();
        self.order.clear();
        self.bytes = 0;
        for (sequence, id, hash, size) in rows {
            let hash = BodyHash(hash.try_into().unwrap_or_default());
            self.note(sequence as u64, id.into(), hash, size as usize);
        }
        let depth = self.depth();
        let mut tail = self.shared.lock();
        tail.entries.clear();
        tail.bytes = 0;
        tail.depth = depth;
        drop(tail);
        self.shared.arrived.notify_waiters();
        Ok(())
    }

    async fn publish(&mut self, publishes: Vec<(Vec<NewEntry>, Answers)>) {
        if publishes.is_empty() {
            return;
        }
        let mut fresh: Vec<(u64, NewEntry)> = Vec::new();
        let mut within: HashMap<String, (u64, BodyHash)> = HashMap::new();
        let mut next = self.last_sequence;
        let mut fresh_bytes = 0;
        let mut answered = Vec::with_capacity(publishes.len());
        for (entries, reply) in publishes {
            let mut answers = Vec::with_capacity(entries.len());
            for entry in entries {
                let known = self.known.get(&*entry.id).or_else(|| within.get(&entry.id));
                answers.push(match known {
                    Some((sequence, hash)) if *hash == entry.hash => Ok(Published {
                        sequence: *sequence,
                        duplicate: true,
                    }),
                    Some(_) => Err(QueueError::Conflict),
                    None if self.is_full(fresh.len() as u64 + 1, fresh_bytes + entry.payload.len() as u64) => {
                        Err(QueueError::Full(Duration::from_secs(1)))
                    }
                    None => {
                        next += 1;
                        fresh_bytes += entry.payload.len() as u64;
                        within.insert(entry.id.clone(), (next, entry.hash));
                        fresh.push((next, entry));
                        Ok(Published {
                            sequence: next,
                            duplicate: false,
                        })
                    }
                });
            }
            answered.push((answers, reply));
        }
        let committed = self.commit(&fresh, &[]).await;
        if let Err(error) = &committed {
            let reason = explain(Path::new(FILE), error);
            for (answers, _) in &mut answered {
                for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                    *answer = Err(QueueError::Unavailable(reason.clone()));
                }
            }
            // Whether the commit reached the disk is unknown: what the file says counts.
            if let Err(error) = self.load().await {
                tracing::error!(%error, "the queue's file can't be read back");
            }
        } else {
            self.last_sequence = next;
            self.show(fresh);
        }
        for (answers, reply) in answered {
            // A producer that went away is no loss: its entry is queued, and a retry under the same key finds it.
            let _ = reply.send(answers);
        }
    }

    /// One transaction: what came in, what died, and what was settled since the last one.
    ///
    /// By hand: after a full disk SQLite has ended the transaction by itself, sqlx's own count of transactions would go on, and a later
    /// COMMIT might not be one.
    async fn commit(&mut self, fresh: &[(u64, NewEntry)], dead: &[DeadLetter]) -> Result<(), sqlx::Error> {
        if fresh.is_empty() && dead.is_empty() && !self.unwritten {
            return Ok(());
        }
        self.connection.execute("begin immediate").await?;
        let written = match self.write(fresh, dead).await {
            Ok(()) => self.connection.execute("commit").await.map(drop),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => self.unwritten = false,
            // An error says that there is nothing left to roll back.
            Err(_) => drop(self.connection.execute("rollback").await),
        }
        written
    }

    async fn write(&mut self, fresh: &[(u64, NewEntry)], dead: &[DeadLetter]) -> Result<(), sqlx::Error> {
        // SQLite takes 32,766 variables a statement.
        for chunk in fresh.chunks(1_000) {
            let mut insert = QueryBuilder::<Sqlite>::new("insert into entry (sequence, id, hash, payload) ");
            insert.push_values(chunk, |mut row, (sequence, entry)| {
                row.push_bind(*sequence as i64)
                    .push_bind(&entry.id)
                    .push_bind(&entry.hash.0[..])
                    .push_bind(&entry.payload[..]);
            });
            insert.build().execute(&mut self.connection).await?;
        }
        for letter in dead {
            sqlx::query(
                "insert or ignore into dead_letter (sequence, id, reason, payload, died) values (?, ?, ?, ?, ?)",
            )
            .bind(letter.sequence as i64)
            .bind(&letter.id)
            .bind(letter.reason)
            .bind(&letter.payload[..])
            .bind(lifecycle::wall_clock())
            .execute(&mut self.connection)
            .await?;
        }
        if self.unwritten {
            sqlx::query("delete from entry where sequence <= ?")
                .bind(self.settled as i64)
                .execute(&mut self.connection)
                .await?;
        }
        Ok(())
    }

    async fn settle(&mut self, through: u64, dead: Vec<DeadLetter>) -> Result<(), QueueError> {
        if !dead.is_empty() {
            self.commit(&[], &dead)
                .await
                .map_err(|error| QueueError::Unavailable(explain(Path::new(FILE), &error)))?;
        }
        while let Some((sequence, id, size)) = self.order.pop_front_if(|(sequence, ..)| *sequence <= through) {
            self.bytes -= size as u64;
            self.settled = sequence;
            self.unwritten = true;
            if dead.iter().any(|letter| letter.sequence == sequence) {
                self.forget(sequence, &id);
            } else {
                self.remembered.push_back((sequence, id));
            }
        }
        while self.remembered.len() > REMEMBERED {
            let Some((sequence, id)) = self.remembered.pop_front() else {
                break;
            };
            self.forget(sequence, &id);
        }
        self.shared.lock().depth = self.depth();
        Ok(())
    }

    async fn read(&mut self, after: u64, max: usize) -> Result<Vec<Entry>, QueueError> {
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select sequence, payload from entry where sequence > ? order by sequence limit ?")
                .bind(after.max(self.settled) as i64)
                .bind(max as i64)
                .fetch_all(&mut self.connection)
                .await
                .map_err(|error| QueueError::Unavailable(explain(Path::new(FILE), &error)))?;
        let entry = |(sequence, payload): (i64, Vec<u8>)| Entry {
            sequence: sequence as u64,
            payload: Bytes::from(payload),
        };
        let entries: Vec<_> = rows.into_iter().map(entry).collect();
        if let Some(last) = entries.last() {
            // What was read from the file must not come from memory again.
            let mut tail = self.shared.lock();
            while let Some(first) = tail.entries.pop_front_if(|first| first.sequence <= last.sequence) {
                tail.bytes -= first.payload.len();
            }
        }
        Ok(entries)
    }

    /// A commit that says nothing new still fails on a full or read-only disk. (An update to the same value would write nothing.)
    async fn ping(&mut self) -> Result<(), QueueError> {
        sqlx::query("pragma user_version = 1")
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|error| QueueError::Unavailable(explain(Path::new(FILE), &error)))
    }

    /// Deletes what was settled; a failure is tried again with the next commit.
    async fn tidy(&mut self) {
        if let Err(error) = self.commit(&[], &[]).await {
            tracing::warn!(%error, "settled entries stay in the queue's file for now");
            tokio::time::sleep(TIDY_AFTER).await;
        }
    }

    async fn close(mut self) {
        self.tidy().await;
        self.shared.lock().closed = true;
        self.shared.arrived.notify_waiters();
        let _ = self.connection.close().await;
    }

    /// Shows committed entries to the consumer.
    fn show(&mut self, fresh: Vec<(u64, NewEntry)>) {
        let mut entries = Vec::with_capacity(fresh.len());
        for (sequence, entry) in fresh {
            self.note(sequence, entry.id.into(), entry.hash, entry.payload.len());
            entries.push(Entry {
                sequence,
                payload: entry.payload,
            });
        }
        let depth = self.depth();
        let mut tail = self.shared.lock();
        for entry in entries {
            tail.push(entry, self.config.cache_bytes);
        }
        tail.depth = depth;
        drop(tail);
        self.shared.arrived.notify_waiters();
    }

    fn note(&mut self, sequence: u64, id: Arc<str>, hash: BodyHash, size: usize) {
        self.known.insert(Arc::clone(&id), (sequence, hash));
        self.order.push_back((sequence, id, size));
        self.bytes += size as u64;
    }

    fn forget(&mut self, sequence: u64, id: &str) {
        if self.known.get(id).is_some_and(|(known, _)| *known == sequence) {
            self.known.remove(id);
        }
    }

    fn depth(&self) -> Depth {
        Depth {
            last_sequence: self.last_sequence,
            pending: self.order.len() as u64,
        }
    }

    fn is_full(&self, entries: u64, bytes: u64) -> bool {
        self.order.len() as u64 + entries > self.config.max_entries || self.bytes + bytes > self.config.max_bytes
    }
}
