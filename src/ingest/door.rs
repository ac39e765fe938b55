//! From drafts to receipts, whatever they came over.
//!
//! A door knows what the record has and, for a time, what was queued; what became of that afterwards only who waits for it is told, once. So a retry
//! under the id of a notification that a plugin rejected is taken for what it is by then, a repetition of something that was accepted: `duplicate`
//! (202), also for who waits. It is not shown to the plugin again; a producer that corrects it gives it a new id.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::attach::Events;
use crate::domain::id;
use crate::domain::kind::Kinds;
use crate::domain::notification::{Code, Draft, Notification, Rejection};
use crate::domain::time::EpochMs;
use crate::lifecycle::{Backoff, wall_clock};
use crate::queue::{Durability, NewEntry, Queue, QueueError};
use crate::receipts::{Receipts, Seat, Waiting, Word};
use crate::store::Store;
use crate::telemetry::events;

/// The header that makes a producer's retry harmless; it covers a whole request.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// What a producer that waits may learn of a plugin's part in a dead letter.
const DEAD: [&str; 3] = ["rejected", "unreviewed", "unroutable"];

/// How soon and how often at least the record is asked for what may have been told to another door.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(1);

pub struct Door {
    pub kinds: Arc<Kinds>,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub events: Events,
    pub receipts: Receipts,
}

/// What a producer gets for a notification that was taken.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    pub id: String,
    pub state: State,
    pub durability: Durability,
    /// The place in the receiver's inbox, of what is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// To how many it went, of what was routed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Accepted,
    /// The id was known with the same body: this is the answer that the first one got.
    Duplicate,
    /// The record has it: the answer to who waits for that, as are the next two.
    Stored,
    /// A plugin sent it to others instead: their copies are queued.
    Routed,
    /// It is not persisted, and was told to who is there.
    Told,
}

impl State {
    /// Whether there is more to come than this.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Accepted | Self::Duplicate)
    }
}

/// Why a notification was not taken.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The producer has to change it.
    Rejected(Rejection),
    /// Nothing is wrong with it; worth another try after the given time, under the same id or key.
    Later(Duration, String),
    /// It was taken, and became a dead letter while its producer waited for the record's word.
    Dead {
        code: &'static str,
        reason: String,
        /// Whose decision that was.
        plugin: Option<String>,
    },
}

/// Who sends, and under which idempotency key.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    pub producer: &'a str,
    pub key: Option<&'a str>,
    /// How long the answer may wait for the record's word.
    pub wait: Option<Duration>,
}

impl Door {
    /// Takes what can be taken: one item a draft, in their order. `drafts` that could not be read carry their rejection along.
    pub async fn take(&self, sender: Sender<'_>, drafts: Vec<Result<Draft, Rejection>>) -> Vec<Item> {
        let now = wall_clock();
        let mut items: Vec<Item> = drafts
            .into_iter()
            .enumerate()
            .map(|(index, draft)| self.item(sender, index, draft, now))
            .collect();
        self.compare(&mut items).await;
        self.publish(&mut items).await;
        items
    }

    /// Waits, for at most so long, until the record has its word on each of `items`.
    pub async fn words(&self, items: &mut [Item], wait: Duration) {
        let deadline = Instant::now() + wait;
        let mut backoff = Backoff::new(FIRST_LOOK, LAST_LOOK);
        while items.iter().any(Item::is_waiting) {
            // The entry of what was queued before names whoever waited for that, if anybody did: the record itself is asked now and then.
            let is_repeated = |item: &Item| item.is_waiting() && item.state() == Some(State::Duplicate);
            let look = match items.iter().any(is_repeated) {
                true => deadline.min(Instant::now() + backoff.delay()),
                false => deadline,
            };
            for item in items.iter_mut().filter(|item| item.is_waiting()) {
                if let Some(waiting) = &mut item.waiting
                    && let Ok(word) = tokio::time::timeout_at(look, waiting.word()).await
                {
                    item.hear(word);
                }
            }
            let is_over = Instant::now() >= deadline;
            let _ = tokio::time::timeout(LAST_LOOK, self.look(items, is_over)).await;
            if is_over {
                return;
            }
        }
    }

    /// Looks into the record for what was queued before, and, at last, for all that no word has come of: it may have been lost.
    async fn look(&self, items: &mut [Item], all: bool) {
        let open = items.iter_mut().filter(|item| item.is_waiting());
        let open: Vec<_> = open
            .filter(|item| all || item.state() == Some(State::Duplicate))
            .collect();
        let ids: Vec<&str> = open.iter().filter_map(|item| item.id()).collect();
        if ids.is_empty() {
            return;
        }
        let found = self.store.lookup(&ids).await.unwrap_or_default();
        for (item, kept) in open.into_iter().zip(found) {
            let (Some(notification), Some(kept)) = (&item.notification, kept) else {
                continue;
            };
            if kept.hash == notification.hash {
                item.hear(Word::Stored { seq: kept.seq });
            } else {
                item.answer = Some(Err(item.conflict()));
            }
        }
    }

    fn item(&self, sender: Sender<'_>, index: usize, draft: Result<Draft, Rejection>, now: EpochMs) -> Item {
        let mut named = None;
        let accepted = draft.and_then(|draft| {
            named = match (&draft.id, sender.key) {
                (Some(_), _) => Some("id"),
                (None, Some(_)) => Some(IDEMPOTENCY_KEY),
                (None, None) => None,
            };
            let fallback = || match sender.key {
                Some(key) => id::from_idempotency_key(sender.producer, key, index),
                None => id::generate(),
            };
            draft.accept(fallback, now, &self.kinds)
        });
        match accepted {
            Ok(mut notification) => {
                let waiting = sender.wait.and_then(|_| self.receipts.wait(Seat::of(&notification)));
                notification.wait = waiting.is_some().then(|| self.receipts.node().into());
                Item {
                    notification: Some(notification),
                    named,
                    waiting,
                    answer: None,
                }
            }
            Err(rejection) => Item {
                notification: None,
                named,
                waiting: None,
                answer: Some(Err(Refusal::Rejected(rejection))),
            },
        }
    }

    /// Holds what its producer named against the record: the same body under a name gets the same answer, another one a conflict. The queue
    /// does the same for what it holds. While the record is away everything counts as new: the dispatcher finds the rest.
    async fn compare(&self, items: &mut [Item]) {
        let named: Vec<&mut Item> = items.iter_mut().filter(|item| item.is_open_and_named()).collect();
        let ids: Vec<&str> = named.iter().filter_map(|item| item.id()).collect();
        if ids.is_empty() {
            return;
        }
        let found = self.store.lookup(&ids).await.unwrap_or_default();
        for (item, kept) in named.into_iter().zip(found) {
            let (Some(notification), Some(kept)) = (&item.notification, kept) else {
                continue;
            };
            if kept.hash != notification.hash {
                item.answer = Some(Err(item.conflict()));
                continue;
            }
            item.answer = Some(Ok(self.receipt(notification, State::Duplicate)));
            if item.is_waiting() {
                item.hear(Word::Stored { seq: kept.seq });
            }
        }
    }

    /// Queues what has no answer yet.
    async fn publish(&self, items: &mut [Item]) {
        let open: Vec<&mut Item> = items.iter_mut().filter(|item| item.answer.is_none()).collect();
        let entries: Vec<NewEntry> = open
            .iter()
            .filter_map(|item| item.notification.as_ref().map(NewEntry::of))
            .collect();
        if entries.is_empty() {
            return;
        }
        let mut published = self.queue.publish(entries).await.into_iter();
        for item in open {
            let result = published
                .next()
                .unwrap_or_else(|| Err(QueueError::Unavailable("it gave no answer".into())));
            item.answer = item.notification.as_ref().map(|notification| match result {
                Ok(published) if published.duplicate => Ok(self.receipt(notification, State::Duplicate)),
                Ok(_) => {
                    events::accepted(&notification.to);
                    self.events.accepted(notification);
                    Ok(self.receipt(notification, State::Accepted))
                }
                Err(QueueError::Conflict) => Err(item.conflict()),
                Err(QueueError::Refused(reason)) => {
                    Err(Refusal::Rejected(Rejection::new(Code::TooLarge, "data", reason)))
                }
                Err(QueueError::Full(after)) => Err(Refusal::Later(after, "the queue is full".into())),
                Err(error) => Err(Refusal::Later(Duration::from_secs(1), error.to_string())),
            });
        }
    }

    fn receipt(&self, notification: &Notification, state: State) -> Receipt {
        Receipt {
            id: notification.id.clone(),
            state,
            durability: if notification.persist {
                self.queue.durability()
            } else {
                Durability::Transient
            },
            seq: None,
            copies: None,
        }
    }
}

/// A draft on its way to its answer.
pub struct Item {
    /// `None` when the draft was rejected.
    notification: Option<Notification>,
    /// The field by which its producer named it; what was not named can't have been there before.
    named: Option<&'static str>,
    /// Where the record's word comes, if it is waited for.
    waiting: Option<Waiting>,
    answer: Option<Result<Receipt, Refusal>>,
}

impl Item {
    fn state(&self) -> Option<State> {
        let receipt = self.answer.as_ref()?.as_ref().ok()?;
        Some(receipt.state)
    }

    /// Whether it was taken, and the record's word on it is still to come.
    fn is_waiting(&self) -> bool {
        self.waiting.is_some() && self.state().is_some_and(State::is_open)
    }

    fn hear(&mut self, word: Word) {
        let Some(Ok(receipt)) = &mut self.answer else { return };
        match word {
            Word::Stored { seq } => (receipt.state, receipt.seq) = (State::Stored, Some(seq)),
            Word::Routed { copies } => (receipt.state, receipt.copies) = (State::Routed, Some(copies)),
            Word::Told => receipt.state = State::Told,
            Word::Dead { code, .. } if code == "conflict" => self.answer = Some(Err(self.conflict())),
            Word::Dead { code, reason, plugin } => {
                let known = DEAD.into_iter().find(|known| *known == code);
                self.answer = Some(Err(Refusal::Dead {
                    code: known.unwrap_or("dead"),
                    reason,
                    plugin,
                }));
            }
        }
    }

    fn id(&self) -> Option<&str> {
        self.notification.as_ref().map(|notification| &*notification.id)
    }

    /// Whether it may have been there before.
    fn is_open_and_named(&self) -> bool {
        self.answer.is_none() && self.named.is_some()
    }

    fn conflict(&self) -> Refusal {
        let field = self.named.unwrap_or("id");
        let reason = "was given to another notification before; a retry must repeat the first body";
        Refusal::Rejected(Rejection::new(Code::Conflict, field, reason))
    }

    /// What its producer is told.
    pub fn finish(self) -> Result<Receipt, Refusal> {
        let late = || Refusal::Later(Duration::from_secs(1), "there is no answer yet".into());
        let answer = self.answer.unwrap_or_else(|| Err(late()));
        match &answer {
            // It was taken, and counted as a dead letter.
            Ok(_) | Err(Refusal::Dead { .. }) => {}
            Err(refusal) => events::refused(refusal.code()),
        }
        answer
    }
}

impl Refusal {
    /// The closed set of codes that producers may match on, and that the metric is labelled with.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => match rejection.code {
                Code::BadJson => "bad-json",
                Code::InvalidField => "invalid-field",
                Code::UnknownType => "unknown-type",
                Code::DataMismatch => "data-mismatch",
                Code::TooLarge => "too-large",
                Code::Conflict => "conflict",
            },
            Self::Later(..) => "unavailable",
            Self::Dead { code, .. } => code,
        }
    }
}
