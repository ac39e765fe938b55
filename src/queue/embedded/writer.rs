//! The task that owns the queue's file: group commit, and what is known of the ids in it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Executor, SqliteConnection};
use tokio::sync::mpsc;

use super::Config;
use super::command::{Answers, Command};
use super::file::{self, Change};
use super::tail::Shared;
use crate::domain::notification::{Audience, BodyHash, Notification};
use crate::queue::{Dead, DeadLetter, Depth, Entry, Most, NewEntry, Published, QueueError, Source};

/// The task's state.
pub(super) struct Writer {
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
    /// How many settled entries are still in the file.
    unwritten: usize,
    shared: Arc<Shared>,
}

/// How many settled ids are known for a while.
const REMEMBERED: usize = 32_768;

/// How long a settled entry may stay in the file when nobody publishes, and how many may: one delete of a million would hold up everybody.
const TIDY_AFTER: Duration = Duration::from_millis(200);
const UNWRITTEN: usize = 20_000;

impl Writer {
    /// A writer that knows nothing yet: [`Writer::load`] comes first.
    pub fn new(config: Config, connection: SqliteConnection, shared: Arc<Shared>) -> Self {
        Self {
            config,
            connection,
            known: HashMap::new(),
            remembered: VecDeque::new(),
            order: VecDeque::new(),
            bytes: 0,
            last_sequence: 0,
            settled: 0,
            unwritten: 0,
            shared,
        }
    }

    /// Works until the last handle is gone, or until it is told to close.
    pub async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut batch = Vec::new();
        loop {
            let room = self.config.max_waiting;
            let received = if self.unwritten > 0 {
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
                    Command::Read { after, most, reply } => {
                        let _ = reply.send(self.read(after, most).await);
                    }
                    Command::Dead { after, limit, reply } => {
                        let letters = file::letters(&mut self.connection, after, limit).await;
                        let _ = reply.send(letters.map_err(unavailable));
                    }
                    Command::Replay { number, reply } => {
                        let _ = reply.send(self.replay(number).await);
                    }
                    Command::Ping(reply) => {
                        let _ = reply.send(file::ping(&mut self.connection).await.map_err(unavailable));
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
            if self.unwritten > UNWRITTEN {
                self.tidy().await;
            }
        }
    }

    /// Reads the state back from the file: at start, and after a commit whose end is unknown.
    pub async fn load(&mut self) -> Result<(), sqlx::Error> {
        let (last_sequence, queued) = file::load(&mut self.connection, self.settled).await?;
        self.last_sequence = last_sequence;
        self.known.clear();
        self.remembered.clear();
        self.order.clear();
        self.bytes = 0;
        for (sequence, id, hash, size) in queued {
            self.note(sequence, id.into(), hash, size);
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
        let change = Change {
            fresh: &fresh,
            ..Change::default()
        };
        let committed = self.commit(change).await;
        if let Err(error) = &committed {
            let reason = file::explained(error);
            for (answers, _) in &mut answered {
                for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                    *answer = Err(QueueError::Unavailable(reason.clone()));
                }
            }
            self.load_again().await;
        } else {
            self.last_sequence = next;
            self.show(fresh);
        }
        for (answers, reply) in answered {
            // A producer that went away is no loss: its entry is queued, and a retry under the same key finds it.
            let _ = reply.send(answers);
        }
    }

    /// One transaction: `change`, and what was settled since the last one.
    ///
    /// By hand: after a full disk SQLite has ended the transaction by itself, sqlx's own count of transactions would go on, and a later
    /// COMMIT might not be one.
    async fn commit(&mut self, change: Change<'_>) -> Result<(), sqlx::Error> {
        if change.is_empty() && self.unwritten == 0 {
            return Ok(());
        }
        let settled = (self.unwritten > 0).then_some(self.settled);
        self.connection.execute("begin immediate").await?;
        let written = match file::write(&mut self.connection, change, settled).await {
            Ok(()) => self.connection.execute("commit").await.map(drop),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => self.unwritten = 0,
            // An error says that there is nothing left to roll back.
            Err(_) => drop(self.connection.execute("rollback").await),
        }
        written
    }

    /// Whether a failed commit reached the disk is unknown: what the file says counts.
    async fn load_again(&mut self) {
        if let Err(error) = self.load().await {
            tracing::error!(%error, "the queue's file can't be read back");
        }
    }

    /// Puts a dead letter back among the entries, in one commit with its removal.
    async fn replay(&mut self, number: u64) -> Result<bool, QueueError> {
        let letter = file::letters(&mut self.connection, number.saturating_sub(1), 1)
            .await
            .map_err(unavailable)?
            .pop();
        let Some(letter) = letter.filter(|letter| letter.number == number) else {
            return Ok(false);
        };
        let entry = entry_of(letter);
        let known = self.known.get(&*entry.id).map(|(_, hash)| *hash == entry.hash);
        let fresh = match known {
            // The same body is queued already, or has just passed.
            Some(true) => Vec::new(),
            Some(false) => return Err(QueueError::Conflict),
            None if self.is_full(1, entry.payload.len() as u64) => {
                return Err(QueueError::Full(Duration::from_secs(1)));
            }
            None => vec![(self.last_sequence + 1, entry)],
        };
        let change = Change {
            fresh: &fresh,
            replayed: Some(number),
            ..Change::default()
        };
        if let Err(error) = self.commit(change).await {
            self.load_again().await;
            return Err(unavailable(error));
        }
        self.last_sequence += fresh.len() as u64;
        self.show(fresh);
        Ok(true)
    }

    async fn settle(&mut self, through: u64, dead: Vec<DeadLetter>) -> Result<(), QueueError> {
        if !dead.is_empty() {
            let change = Change {
                dead: &dead,
                ..Change::default()
            };
            self.commit(change).await.map_err(unavailable)?;
        }
        while let Some((sequence, id, size)) = self.order.pop_front_if(|(sequence, ..)| *sequence <= through) {
            self.bytes -= size as u64;
            self.settled = sequence;
            self.unwritten += 1;
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

    async fn read(&mut self, after: u64, most: Most) -> Result<Vec<Entry>, QueueError> {
        let entries = file::entries(&mut self.connection, after.max(self.settled), most)
            .await
            .map_err(unavailable)?;
        if let Some(last) = entries.last() {
            // What was read from the file must not come from memory again.
            let mut tail = self.shared.lock();
            while let Some(first) = tail.entries.pop_front_if(|first| first.sequence <= last.sequence) {
                tail.bytes -= first.payload.len();
            }
        }
        Ok(entries)
    }

    /// Deletes what was settled; a failure is tried again with the next commit.
    async fn tidy(&mut self) {
        if let Err(error) = self.commit(Change::default()).await {
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
                source: Source::Door,
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

/// A dead letter as it was queued. One that nobody can read gets a name of its own, which nothing else has.
fn entry_of(letter: Dead) -> NewEntry {
    let (id, hash, to) = match serde_json::from_slice::<Notification>(&letter.payload) {
        Ok(notification) => (notification.id, notification.hash, notification.to),
        Err(_) => (
            format!("dead letter {}", letter.number),
            BodyHash([0; 16]),
            Audience::Everyone,
        ),
    };
    NewEntry {
        id,
        hash,
        to,
        payload: letter.payload,
    }
}

fn unavailable(error: sqlx::Error) -> QueueError {
    QueueError::Unavailable(file::explained(&error))
}
