//! From the queue into the record, and on to the doorbell. One task a lane, so a receiver's notifications are handled by one at a time.
//!
//! A batch is stored in one transaction, then rung, then settled. Every step may run twice without harm: the record knows ids and how far the
//! lane has come. While the record is away the batch is held and tried again in place, and nothing behind it is taken, so order stays; after some
//! time the lane is left to a node that may reach the record, and taken up again when this one does. An outage never counts against a notification; what can never pass goes to the dead letters and doesn't hold up its neighbours.
//!
//! Attached plugins may look at a batch before it is stored, and change, reject or route what is in it; a batch that one of them holds up is held as
//! one that the record holds up. Who waits at a door for the record's word is told when there is one.
//!
//! What came past the doors is checked here as a door would check it. A bell that could not be rung is noted in the record, where every node's
//! tail sees it.

mod batch;
mod record;
mod refused;
mod reviewing;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attach::{Events, Hooks};
use crate::domain::kind::Kinds;
use crate::lifecycle::{Backoff, Lifecycle};
use crate::queue::{Most, Queue, QueueError};
use crate::receipts::Receipts;
use crate::store::{Store, StoreError};
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
    /// How long the record may fail until the lane is given to another node, which may reach it, in milliseconds.
    pub give_back_ms: u64,
    /// The same at most: where the record answers and yet stores nothing, no node does better, and each keeps the lane for twice as long as before.
    pub give_back_most_ms: u64,
    /// How long a full queue is waited for with the copies of what a plugin routes, until that becomes a dead letter, in milliseconds. Its place in
    /// the queue may be what they wait for.
    pub full_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_batch: 4_000,
            max_batch_bytes: 8_388_608,
            retry_first_ms: 50,
            retry_most_ms: 1_000,
            give_back_ms: 5_000,
            give_back_most_ms: 120_000,
            full_ms: 30_000,
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
        if !(100..=3_600_000).contains(&self.give_back_ms) {
            problems.push(("give_back_ms".into(), "must lie between 100 and 3600000".into()));
        }
        if !(self.give_back_ms..=3_600_000).contains(&self.give_back_most_ms) {
            let reason = "must lie between give_back_ms and 3600000";
            problems.push(("give_back_most_ms".into(), reason.into()));
        }
        if !(100..=3_600_000).contains(&self.full_ms) {
            problems.push(("full_ms".into(), "must lie between 100 and 3600000".into()));
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
    pub kinds: Arc<Kinds>,
    pub store: Arc<dyn Store>,
    pub topic: Arc<dyn Topic>,
    pub events: Events,
    pub hooks: Hooks,
    pub receipts: Receipts,
}

impl Dispatcher {
    /// Runs until the drain (the batch in hand is finished first) or until the queue closes.
    pub async fn run(self, lifecycle: Lifecycle) {
        let mut backoff = self.config.backoff();
        let mut given_back = 0;
        while !lifecycle.drain.is_cancelled() {
            match self.hold_lane(&mut given_back, &lifecycle).await {
                Ok(()) => return,
                Err(Interrupted::Fenced | Interrupted::Queue(QueueError::Moved)) => {
                    tracing::info!(lane = self.lane, "another node works on the lane now; standing by");
                    backoff = self.config.backoff();
                }
                Err(Interrupted::Record(error)) => {
                    events::lane_given_back(self.lane, &error);
                    match self.rest(&lifecycle).await {
                        None => return,
                        Some(Rested::OneTry) => given_back += 1,
                        // It was this node that could not reach it.
                        Some(Rested::SeveralTries) => given_back = 0,
                    }
                    backoff = self.config.backoff();
                    continue;
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

    /// Takes the lane over and works on it until the drain, or until something else takes it away. `given_back` counts how often that was the record
    /// since it last stored something.
    async fn hold_lane(&self, given_back: &mut u32, lifecycle: &Lifecycle) -> Result<(), Interrupted> {
        match lifecycle.drain.run_until_cancelled(self.queue.hold(self.lane)).await {
            Some(held) => held?,
            None => return Ok(()),
        }
        let Some(epoch) = self.claim(*given_back, lifecycle).await? else {
            return Ok(());
        };
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
            if !self.handle(epoch, entries, *given_back, lifecycle).await? {
                return Ok(());
            }
            *given_back = 0;
        }
    }

    /// Gives the lane back, and waits until the record answers here; `None` when the drain came first.
    async fn rest(&self, lifecycle: &Lifecycle) -> Option<Rested> {
        let mut backoff = self.config.backoff();
        let resting = async {
            while let Err(error) = self.queue.give_back(self.lane).await {
                tracing::warn!(lane = self.lane, %error, "the lane can't be given back; trying again");
                tokio::time::sleep(backoff.delay()).await;
            }
            let mut rested = Rested::OneTry;
            while self.store.ping().await.is_err() {
                rested = Rested::SeveralTries;
                tokio::time::sleep(backoff.delay()).await;
            }
            rested
        };
        lifecycle.drain.run_until_cancelled(resting).await
    }
}

/// How soon the record answered a node that had given a lane back.
enum Rested {
    OneTry,
    SeveralTries,
}

/// Why a dispatcher gave its lane up for the moment.
enum Interrupted {
    Fenced,
    /// The record fails at this node, of late with this.
    Record(StoreError),
    Queue(QueueError),
}

impl From<QueueError> for Interrupted {
    fn from(error: QueueError) -> Self {
        Self::Queue(error)
    }
}
