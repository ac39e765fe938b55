//! From the queue into the record, and on to the doorbell. One task a lane, so a receiver's notifications are handled by one at a time.
//!
//! A batch is stored in one transaction, then rung, then settled. Every step may run twice without harm: the record knows ids and how far the
//! lane has come. While the record is away the batch is held and tried again in place, and nothing behind it is taken, so order stays; after some
//! time the lane is left to a node that may reach the record, and taken up again when this one does. An outage never counts against a notification; what can never pass goes to the dead letters and doesn't hold up its neighbours.
//!
//! What came past the doors is checked here as a door would check it. A bell that could not be rung is noted in the record, where every node's
//! tail sees it.

mod refused;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::refused::{Refused, bounded};
use crate::domain::envelope::Envelope;
use crate::domain::kind::Kinds;
use crate::domain::notification::{Draft, Notification};
use crate::lifecycle::{Backoff, Lifecycle, wall_clock};
use crate::queue::{DeadLetter, Direct, Entry, Most, Queue, QueueError, Source};
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
    /// How long the record may fail until the lane is given to another node, which may reach it, in milliseconds.
    pub give_back_ms: u64,
    /// The same at most: where the record answers and yet stores nothing, no node does better, and each keeps the lane for twice as long as before.
    pub give_back_most_ms: u64,
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

    /// One batch: store, ring, settle. Says whether to go on; `false` means that the drain came while the record was away.
    async fn handle(
        &self,
        epoch: u64,
        entries: Vec<Entry>,
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<bool, Interrupted> {
        let Some(through) = entries.last().map(|entry| entry.sequence) else {
            return Ok(true);
        };
        let read: Vec<_> = entries.iter().map(|entry| self.read(entry)).collect();
        let mut refused = Vec::with_capacity(read.len());
        let mut items = Vec::with_capacity(read.len());
        for (entry, read) in entries.iter().zip(read) {
            let (notification, reason) = match read {
                Ok(notification) => (Some(notification), None),
                Err(reason) => (None, Some(reason)),
            };
            refused.push(reason);
            items.push(Item {
                sequence: entry.sequence,
                notification,
            });
        }
        let batch = Batch {
            lane: self.lane,
            epoch,
            items,
        };
        let Inserted { placed, retried } = match self.store(&batch, given_back, lifecycle).await {
            Ok(Some(inserted)) => inserted,
            left => {
                // Unsettled: it comes again, here or elsewhere. A try whose end is unknown may have been committed, though; then what has no place in
                // the record counts as repeated, and would be rung by nobody.
                self.ring(unrecorded(batch), lifecycle).await;
                return left.map(|_| false);
            }
        };
        let now = wall_clock();
        let mut bells = Vec::with_capacity(placed.len());
        let mut dead = Vec::new();
        for (((item, entry), placed), refused) in batch.items.into_iter().zip(entries).zip(placed).zip(refused) {
            let (id, reason) = match (placed, item.notification) {
                (Placed::Stored { seq }, Some(notification)) => {
                    events::stored(notification.created, now);
                    bells.push(Envelope::of(notification, Some(seq)));
                    continue;
                }
                (Placed::Duplicate { seq }, Some(notification)) => {
                    events::duplicate();
                    bells.push(Envelope::of(notification, Some(seq)));
                    continue;
                }
                (Placed::Transient { repeated }, Some(notification)) => {
                    // After a try whose end is unknown it counts as repeated, and yet it was not rung.
                    if !repeated || retried {
                        bells.push(Envelope::of(notification, None));
                    }
                    continue;
                }
                (_, Some(notification)) => (notification.id, Refused::conflict()),
                (_, None) => (String::new(), refused.unwrap_or_else(Refused::conflict)),
            };
            events::dead_letter(&id, entry.sequence, reason.code);
            dead.push(DeadLetter {
                sequence: entry.sequence,
                id,
                reason: reason.code,
                detail: bounded(reason.detail),
                payload: entry.payload,
            });
        }
        if !self.ring(bells, lifecycle).await {
            // Unsettled: it comes again, and is rung again.
            return Ok(false);
        }
        // After the commit: a crash between the two redelivers, and the record knows what it has.
        self.queue.settle(self.lane, through, dead).await?;
        Ok(true)
    }

    /// What an entry says, or why it can never pass.
    fn read(&self, entry: &Entry) -> Result<Notification, Refused> {
        match &entry.source {
            Source::Door => serde_json::from_slice(&entry.payload).map_err(|error| Refused {
                code: "unreadable",
                detail: error.to_string(),
            }),
            Source::Direct(direct) => self.accept(direct, &entry.payload),
        }
    }

    /// The check of a door, for a draft that came past them all.
    fn accept(&self, direct: &Direct, payload: &[u8]) -> Result<Notification, Refused> {
        let notification = Draft::from_json(payload)
            .and_then(|draft| draft.accept(|| direct.fallback_id.clone(), direct.created, &self.kinds))
            .map_err(|rejection| Refused {
                code: "invalid",
                detail: rejection.to_string(),
            })?;
        // Who may publish for whom is decided by the subject.
        if direct.to.as_ref() != Some(&notification.to) {
            return Err(Refused {
                code: "misdirected",
                detail: format!(
                    "the body is for {}, which its subject does not say as it should: in a token every octet but letters, digits, - and _ is = \
                     and two upper-case hex digits",
                    notification.to.receiver()
                ),
            });
        }
        Ok(notification)
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

    /// Stores the batch; `None` when the drain came first. Where the record stays away the batch is left to the lane's next holder.
    async fn store(
        &self,
        batch: &Batch,
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Inserted>, Interrupted> {
        let mut backoff = self.config.backoff();
        let until = self.patience(given_back);
        let mut retried = false;
        loop {
            let error = match self.store.insert(batch).await {
                Ok(placed) => {
                    if retried || given_back > 0 {
                        events::record_recovered("insert");
                    }
                    return Ok(Some(Inserted { placed, retried }));
                }
                Err(StoreError::Fenced) => return Err(Interrupted::Fenced),
                Err(error) => error,
            };
            events::record_failed("insert", &error, batch.items.len());
            retried = true;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Interrupted::Record(error));
            }
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return Ok(None);
            }
        }
    }

    async fn claim(&self, given_back: u32, lifecycle: &Lifecycle) -> Result<Option<u64>, Interrupted> {
        let mut backoff = self.config.backoff();
        let until = self.patience(given_back);
        loop {
            let error = match self.store.claim(self.lane).await {
                Ok(epoch) => return Ok(Some(epoch)),
                Err(error) => error,
            };
            events::record_failed("claim", &error, 0);
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Interrupted::Record(error));
            }
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Until when the record is tried from here: without end where there is nobody else.
    fn patience(&self, given_back: u32) -> Option<Instant> {
        let limit = self.config.give_back_ms.saturating_mul(1 << given_back.min(20));
        let limit = Duration::from_millis(limit.min(self.config.give_back_most_ms));
        self.queue.is_shared().then(|| Instant::now() + limit)
    }

    /// Rings. A bell that may be lost is noted, so that every node looks into the record; says `false` when the drain came before that.
    async fn ring(&self, bells: Vec<Envelope>, lifecycle: &Lifecycle) -> bool {
        if bells.is_empty() {
            return true;
        }
        let persisted = bells.iter().any(|bell| bell.content.seq().is_some());
        let Err(error) = self.topic.publish(bells).await else {
            return true;
        };
        events::bell_lost(&error);
        let mut backoff = self.config.backoff();
        // However long it takes: what is neither rung nor noted nobody would look for.
        while persisted && let Err(error) = self.store.doubt(self.lane).await {
            events::record_failed("doubt", &error, 0);
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return false;
            }
        }
        true
    }
}

/// A batch that is in the record.
struct Inserted {
    placed: Vec<Placed>,
    /// Whether a try before this one failed; it may have been committed all the same.
    retried: bool,
}

/// The bells of what asked for no place in the record.
fn unrecorded(batch: Batch) -> Vec<Envelope> {
    let notifications = batch.items.into_iter().filter_map(|item| item.notification);
    notifications
        .filter(|notification| !notification.persist)
        .map(|notification| Envelope::of(notification, None))
        .collect()
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
