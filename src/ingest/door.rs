//! From drafts to receipts, whatever they came over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::attach::Events;
use crate::domain::id;
use crate::domain::kind::Kinds;
use crate::domain::notification::{Code, Draft, Notification, Rejection};
use crate::domain::time::EpochMs;
use crate::lifecycle::wall_clock;
use crate::queue::{Durability, NewEntry, Queue, QueueError};
use crate::store::Store;
use crate::telemetry::events;

/// The header that makes a producer's retry harmless; it covers a whole request.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

pub struct Door {
    pub kinds: Arc<Kinds>,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub events: Events,
}

/// What a producer gets for a notification that was taken.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    pub id: String,
    pub state: State,
    pub durability: Durability,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Accepted,
    /// The id was known with the same body: this is the answer that the first one got.
    Duplicate,
}

/// Why a notification was not taken.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// The producer has to change it.
    Rejected(Rejection),
    /// Nothing is wrong with it; worth another try after the given time, under the same id or key.
    Later(Duration, String),
}

/// Who sends, and under which idempotency key.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    pub producer: &'a str,
    pub key: Option<&'a str>,
}

impl Door {
    /// Takes what can be taken: one answer a draft, in their order. `drafts` that could not be read carry their rejection along.
    pub async fn take(
        &self,
        sender: Sender<'_>,
        drafts: Vec<Result<Draft, Rejection>>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let now = wall_clock();
        let mut items: Vec<Item> = drafts
            .into_iter()
            .enumerate()
            .map(|(index, draft)| self.item(sender, index, draft, now))
            .collect();
        self.compare(&mut items).await;
        self.publish(&mut items).await;
        items.into_iter().map(|item| item.finish(&self.events)).collect()
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
            Ok(notification) => Item {
                notification: Some(notification),
                named,
                answer: None,
            },
            Err(rejection) => Item {
                notification: None,
                named,
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
        for (item, hash) in named.into_iter().zip(found) {
            let (Some(notification), Some(hash)) = (&item.notification, hash) else {
                continue;
            };
            if hash != notification.hash {
                item.answer = Some(Err(item.conflict()));
            } else {
                item.answer = Some(Ok(self.receipt(notification, State::Duplicate)));
            }
        }
    }

    /// Queues what has no answer yet.
    async fn publish(&self, items: &mut [Item]) {
        let open: Vec<&mut Item> = items.iter_mut().filter(|item| item.answer.is_none()).collect();
        let entries: Vec<NewEntry> = open
            .iter()
            .filter_map(|item| item.notification.as_ref().map(entry))
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
                Ok(_) => Ok(self.receipt(notification, State::Accepted)),
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
        }
    }
}

/// A draft on its way to its answer.
struct Item {
    /// `None` when the draft was rejected.
    notification: Option<Notification>,
    /// The field by which its producer named it; what was not named can't have been there before.
    named: Option<&'static str>,
    answer: Option<Result<Receipt, Refusal>>,
}

impl Item {
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

    fn finish(self, told: &Events) -> Result<Receipt, Refusal> {
        let late = || Refusal::Later(Duration::from_secs(1), "there is no answer yet".into());
        let answer = self.answer.unwrap_or_else(|| Err(late()));
        match (&answer, &self.notification) {
            (Ok(receipt), Some(notification)) if receipt.state == State::Accepted => {
                events::accepted(&notification.to);
                told.accepted(notification);
            }
            (Err(refusal), _) => events::refused(refusal.code()),
            _ => {}
        }
        answer
    }
}

fn entry(notification: &Notification) -> NewEntry {
    NewEntry {
        id: notification.id.clone(),
        hash: notification.hash,
        to: notification.to.clone(),
        payload: Bytes::from(serde_json::to_vec(notification).expect("strings and raw JSON are JSON")),
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
        }
    }
}
