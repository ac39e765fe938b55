//! From the queue into the record, and on to the doorbell. One task a lane, so a receiver's notifications are handled by one at a time.
//!
//! A batch is stored in one transaction, then rung, then settled. Every step may run twice without harm: the record knows ids and how far the
//! lane has come. While the record is away the batch is held and tried again in place, and nothing behind it is taken, so order stays. An
//! outage never counts against a notification; what can never pass goes to the dead letters and doesn't hold up its neighbours.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::envelope::Envelope;
use crate::domain::notification::Notification;
use crate::lifecycle::{Backoff, Lifecycle, wall_clock};
use crate::queue::{DeadLetter, Entry, Most, Queue, QueueError};
use crate::store::{Batch, Item, Placed, Store, StoreError};
use crate::telemetry::events;
use crate::topic::Topic;

/// How dispatchers work.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Notifications that one transaction stores at most. A batch is what has gathered, so it is only large behind a backlog; there a large one
    /// touches the record's pages once for many rows.
    pub max_batch: usize,
    /// Octets of such a batch.
    pub max_batch_bytes: usize,
    /// First and longest delay between tries while the record or the queue is away, in milliseconds.
    pub retry_first_ms: u64,
    pub retry_most_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_batch: 4_000,
            max_batch_bytes: 8_388_608,
            retry_first_ms: 50,
            retry_most_ms: 1_000,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `dispatch`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=10_000).contains(&self.max_batch) {
            problems.push(("max_batch".into(), "must lie between 1 and 10000".into()));
        }
        if !(1..=1_073_741_824).contains(&self.max_batch_bytes) {
            problems.push(("max_batch_bytes".into(), "must lie between 1 and 1073741824".into()));
        }
        if self.retry_first_ms == 0 || self.retry_most_ms < self.retry_first_ms {
            problems.push((
                "retry_most_ms".into(),
                "must be at least retry_first_ms, which must be at least 1".into(),
            ));
        }
        problems
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(
            Duration::from_millis(self.retry_first_ms),
            Duration::from_millis(self.retry_most_ms),
        )
    }
}

/// Dispatches one lane.
pub struct Dispatcher {
    pub lane: u32,
    pub config: Config,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub topic: Arc<dyn Topic>,
}

impl Dispatcher {
    /// Runs until the drain (the batch in hand is finished first) or until the queue closes.
    pub async fn run(self, lifecycle: Lifecycle) {
        let mut backoff = self.config.backoff();
        while !lifecycle.drain.is_cancelled() {
            match self.hold_lane(&lifecycle).await {
                Ok(()) => return,
                Err(Interrupted::Fenced) => {
                    tracing::warn!(lane = self.lane, "the lane was taken over; claiming it again")
                }
                Err(Interrupted::Queue(error)) => {
                    tracing::error!(lane = self.lane, %error, "the queue failed; trying again")
                }
            }
            lifecycle
                .drain
                .run_until_cancelled(tokio::time::sleep(backoff.delay()))
                .await;
        }
    }

    /// Takes the lane over and works on it until the drain, or until something else takes it away.
    async fn hold_lane(&self, lifecycle: &Lifecycle) -> Result<(), Interrupted> {
        let Some(epoch) = self.claim(lifecycle).await else {
            return Ok(());
        };
        self.queue.rewind(self.lane).await?;
        let most = Most {
            entries: self.config.max_batch,
            bytes: self.config.max_batch_bytes,
        };
        loop {
            let entries = tokio::select! {
                () = lifecycle.drain.cancelled() => return Ok(()),
                entries = self.queue.next(self.lane, most) => entries?,
            };
            if entries.is_empty() {
                return Ok(());
            }
            if !self.handle(epoch, entries, lifecycle).await? {
                return Ok(());
            }
        }
    }

    /// One batch: store, ring, settle. Says whether to go on; `false` means that the drain came while the record was away.
    async fn handle(&self, epoch: u64, entries: Vec<Entry>, lifecycle: &Lifecycle) -> Result<bool, Interrupted> {
        let Some(through) = entries.last().map(|entry| entry.sequence) else {
            return Ok(true);
        };
        let batch = Batch {
            lane: self.lane,
            epoch,
            items: entries.iter().map(read).collect(),
        };
        let Some(Inserted { placed, retried }) = self.store(&batch, lifecycle).await? else {
            // Unsettled: it comes again at the next start.
            return Ok(false);
        };
        let now = wall_clock();
        let mut dead = Vec::new();
        for ((item, entry), placed) in batch.items.into_iter().zip(entries).zip(placed) {
            let reason = match (placed, item.notification) {
                (Placed::Stored { seq }, Some(notification)) => {
                    events::stored(notification.created, now);
                    self.ring(notification, Some(seq)).await;
                    continue;
                }
                (Placed::Duplicate { seq }, Some(notification)) => {
                    events::duplicate();
                    self.ring(notification, Some(seq)).await;
                    continue;
                }
                (Placed::Transient { repeated }, Some(notification)) => {
                    // After a try whose end is unknown it counts as repeated, and yet it was not rung.
                    if !repeated || retried {
                        self.ring(notification, None).await;
                    }
                    continue;
                }
                (Placed::Conflict, notification) => (notification.map(|n| n.id).unwrap_or_default(), "conflict"),
                (_, notification) => (notification.map(|n| n.id).unwrap_or_default(), "unreadable"),
            };
            let (id, reason) = reason;
            events::dead_letter(&id, entry.sequence, reason);
            dead.push(DeadLetter {
                sequence: entry.sequence,
                id,
                reason,
                payload: entry.payload,
            });
        }
        // After the commit: a crash between the two redelivers, and the record knows what it has.
        self.queue.settle(self.lane, through, dead).await?;
        Ok(true)
    }

    /// Stores the batch, however long the record is away; `None` when the drain came first.
    async fn store(&self, batch: &Batch, lifecycle: &Lifecycle) -> Result<Option<Inserted>, Interrupted> {
        let mut backoff = self.config.backoff();
        let mut retried = false;
        loop {
            match self.store.insert(batch).await {
                Ok(placed) => {
                    if retried {
                        events::record_recovered("insert");
                    }
                    return Ok(Some(Inserted { placed, retried }));
                }
                Err(StoreError::Fenced) => return Err(Interrupted::Fenced),
                Err(error) => events::record_failed("insert", &error, batch.items.len()),
            }
            retried = true;
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return Ok(None);
            }
        }
    }

    async fn claim(&self, lifecycle: &Lifecycle) -> Option<u64> {
        let mut backoff = self.config.backoff();
        loop {
            match self.store.claim(self.lane).await {
                Ok(epoch) => return Some(epoch),
                Err(error) => events::record_failed("claim", &error, 0),
            }
            let wait = tokio::time::sleep(backoff.delay());
            lifecycle.drain.run_until_cancelled(wait).await?;
        }
    }

    /// Rings; a bell that is lost is found by whoever reads the record.
    async fn ring(&self, notification: Notification, seq: Option<u64>) {
        if let Err(error) = self.topic.publish(Envelope::of(notification, seq)).await {
            tracing::warn!(%error, "a bell was lost");
        }
    }
}

/// A batch that is in the record.
struct Inserted {
    placed: Vec<Placed>,
    /// Whether a try before this one failed; it may have been committed all the same.
    retried: bool,
}

/// Why a dispatcher gave its lane up for the moment.
enum Interrupted {
    Fenced,
    Queue(QueueError),
}

impl From<QueueError> for Interrupted {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}

fn read(entry: &Entry) -> Item {
    Item {
        sequence: entry.sequence,
        notification: serde_json::from_slice(&entry.payload).ok(),
    }
}
