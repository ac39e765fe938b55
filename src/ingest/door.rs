//! From drafts to receipts, whatever they came over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use crate::domain::id;
use crate::domain::kind::Kinds;
use crate::domain::notification::{Code, Draft, Notification, Rejection};
use crate::lifecycle::wall_clock;
use crate::queue::{Durability, NewEntry, Queue, QueueError};
use crate::store::Store;
use crate::telemetry::events;

pub struct Door {
    pub kinds: Arc<Kinds>,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
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
        // Only an id that the producer chose can have been there before.
        let mut chosen = Vec::with_capacity(drafts.len());
        let accepted: Vec<Result<Notification, Refusal>> = drafts
            .into_iter()
            .enumerate()
            .map(|(index, draft)| {
                let draft = draft.map_err(Refusal::Rejected)?;
                chosen.push(draft.id.is_some() || sender.key.is_some());
                let fallback = || match sender.key {
                    Some(key) => id::from_idempotency_key(sender.producer, key, index),
                    None => id::generate(),
                };
                draft.accept(fallback, now, &self.kinds).map_err(Refusal::Rejected)
            })
            .collect();
        let mut answers = self.known(accepted, chosen.contains(&true)).await;
        let entries: Vec<NewEntry> = answers.iter().filter_map(Answer::entry).collect();
        let published = if entries.is_empty() {
            Vec::new()
        } else {
            self.queue.publish(entries).await
        };
        let mut published = published.into_iter();
        for answer in &mut answers {
            if let Answer::New(notification) = answer {
                let result = published
                    .next()
                    .unwrap_or_else(|| Err(QueueError::Unavailable("it gave no answer".into())));
                *answer = Answer::Done(self.receipt(notification, result));
            }
        }
        answers
            .into_iter()
            .map(|answer| match answer {
                Answer::Done(result) => result.inspect_err(|refusal| events::refused(refusal.code())),
                Answer::New(_) => unreachable!("answered above"),
            })
            .collect()
    }

    /// Answers what the record knows already. While the record is away everything counts as new: the dispatcher finds the rest.
    async fn known(&self, accepted: Vec<Result<Notification, Refusal>>, any_chosen: bool) -> Vec<Answer> {
        let ids: Vec<&str> = accepted
            .iter()
            .flatten()
            .filter(|n| n.persist)
            .map(|n| &*n.id)
            .collect();
        let mut hashes = if any_chosen && !ids.is_empty() {
            self.store.lookup(&ids).await.unwrap_or_default().into_iter()
        } else {
            Vec::new().into_iter()
        };
        let durability = self.queue.durability();
        accepted
            .into_iter()
            .map(|result| match result {
                Err(refusal) => Answer::Done(Err(refusal)),
                Ok(notification) if notification.persist => match hashes.next().flatten() {
                    None => Answer::New(notification),
                    Some(hash) if hash == notification.hash => Answer::Done(Ok(Receipt {
                        id: notification.id,
                        state: State::Duplicate,
                        durability,
                    })),
                    Some(_) => Answer::Done(Err(conflict(&notification.id))),
                },
                Ok(notification) => Answer::New(notification),
            })
            .collect()
    }

    fn receipt(
        &self,
        notification: &Notification,
        result: Result<crate::queue::Published, QueueError>,
    ) -> Result<Receipt, Refusal> {
        match result {
            Ok(published) => {
                if !published.duplicate {
                    events::accepted(&notification.to);
                }
                Ok(Receipt {
                    id: notification.id.clone(),
                    state: if published.duplicate {
                        State::Duplicate
                    } else {
                        State::Accepted
                    },
                    durability: if notification.persist {
                        self.queue.durability()
                    } else {
                        Durability::Transient
                    },
                })
            }
            Err(QueueError::Conflict) => Err(conflict(&notification.id)),
            Err(QueueError::Full(after)) => Err(Refusal::Later(after, "the queue is full".into())),
            Err(error) => Err(Refusal::Later(Duration::from_secs(1), error.to_string())),
        }
    }
}

/// A draft on its way to its answer.
enum Answer {
    New(Notification),
    Done(Result<Receipt, Refusal>),
}

impl Answer {
    fn entry(&self) -> Option<NewEntry> {
        let Self::New(notification) = self else { return None };
        Some(NewEntry {
            id: notification.id.clone(),
            hash: notification.hash,
            payload: Bytes::from(serde_json::to_vec(notification).expect("strings and raw JSON are JSON")),
        })
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

fn conflict(id: &str) -> Refusal {
    let reason = format!("\"{id}\" was given to another notification before; a retry must repeat the first body");
    Refusal::Rejected(Rejection::new(Code::Conflict, "id", reason))
}
