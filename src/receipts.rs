//! Receipts that wait for the record's word: who asks at a door what became of a notification, and who tells it.
//!
//! A door waits ([`Receipts::wait`]) before it queues; the entry names the node of that door. The dispatcher that has dealt with the entry, on
//! whichever node, tells ([`Receipts::tell`]): in the process, or over core NATS to that node alone. A word may be lost, and nobody waits without
//! end: the door has a deadline, and asks the record itself at last. Where nobody waits nothing is done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::id;
use crate::domain::notification::{BodyHash, Notification};
use crate::lifecycle::Lifecycle;
use crate::nats::Nats;
use crate::subjects;

/// Words of one message to a node.
const WORDS: usize = 200;

/// What became of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "word")]
pub enum Word {
    /// It is in the record, at this place of its receiver's inbox.
    Stored { seq: u64 },
    /// It is not persisted, and was told to who is there.
    Told,
    /// Its copies are queued, so many.
    Routed { copies: usize },
    /// It is a dead letter: the reason's code, in words, and whose decision it was.
    Dead {
        code: String,
        reason: String,
        plugin: Option<String>,
    },
}

/// The words that this node waits for, and the way to those that others wait for. Cheap to clone.
#[derive(Clone)]
pub struct Receipts(Arc<Inner>);

struct Inner {
    /// The name under which this node's entries say who waits; a new one with each start.
    node: String,
    most: usize,
    nats: Option<Nats>,
    waiting: Mutex<Hall>,
}

/// Who waits here, and for what.
#[derive(Default)]
struct Hall {
    rows: HashMap<Seat, Row>,
    waiters: usize,
}

/// What is waited for. Another body under the same id is another notification, and becomes something else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seat {
    id: String,
    hash: BodyHash,
}

impl Seat {
    pub fn of(notification: &Notification) -> Self {
        Self {
            id: notification.id.clone(),
            hash: notification.hash,
        }
    }
}

/// Everybody who waits for the same here.
struct Row {
    word: watch::Sender<Option<Word>>,
    waiters: usize,
}

/// The subscription for the words of other nodes failed.
#[derive(Debug, thiserror::Error)]
#[error("the words of other nodes can't be subscribed to: {0}")]
pub struct ReceiptsError(String);

impl Receipts {
    /// `most` words may be waited for at once. With `nats`, those that dispatchers of other nodes have to tell, too.
    pub async fn open(most: usize, nats: Option<Nats>, lifecycle: &Lifecycle) -> Result<Self, ReceiptsError> {
        let receipts = Self(Arc::new(Inner {
            node: id::process(),
            most,
            nats,
            waiting: Mutex::default(),
        }));
        if let Some(nats) = &receipts.0.nats {
            let subject = subjects::receipt(&nats.prefix, &receipts.0.node);
            let words = nats.client.subscribe(subject).await;
            let words = words.map_err(|error| ReceiptsError(error.to_string()))?;
            lifecycle.spawn(receipts.clone().listen(words, lifecycle.clone()));
        }
        Ok(receipts)
    }

    /// What an entry has to name so that the word comes here.
    pub fn node(&self) -> &str {
        &self.0.node
    }

    /// From now on the word on this is waited for; `None` when too many are.
    pub fn wait(&self, seat: Seat) -> Option<Waiting> {
        let mut hall = self.lock();
        if hall.waiters >= self.0.most {
            return None;
        }
        hall.waiters += 1;
        let row = hall.rows.entry(seat.clone()).or_insert_with(|| Row {
            word: watch::Sender::new(None),
            waiters: 0,
        });
        row.waiters += 1;
        Some(Waiting {
            word: row.word.subscribe(),
            receipts: self.clone(),
            seat,
        })
    }

    /// Tells the doors of the nodes what became of these. Nobody learns whether anybody heard it.
    pub async fn tell(&self, words: Vec<(Box<str>, Told)>) {
        let mut elsewhere: HashMap<Box<str>, Vec<Told>> = HashMap::new();
        for (node, told) in words {
            if *node == *self.0.node {
                self.hear(told);
            } else {
                elsewhere.entry(node).or_default().push(told);
            }
        }
        let Some(nats) = &self.0.nats else { return };
        for (node, words) in elsewhere {
            // It comes out of the queue, where a name that is no token could be anything.
            if subjects::token(&node) != *node {
                continue;
            }
            for words in words.chunks(WORDS) {
                let payload = serde_json::to_vec(words).expect("words are JSON");
                let subject = subjects::receipt(&nats.prefix, &node);
                if let Err(error) = nats.client.publish(subject, payload.into()).await {
                    tracing::debug!(%error, "a word for a door was lost");
                }
            }
        }
    }

    async fn listen(self, mut messages: async_nats::Subscriber, lifecycle: Lifecycle) {
        while let Some(Some(message)) = lifecycle.drain.run_until_cancelled(messages.next()).await {
            match serde_json::from_slice::<Vec<Told>>(&message.payload) {
                Ok(words) => words.into_iter().for_each(|told| self.hear(told)),
                Err(error) => tracing::debug!(%error, "what came for a door can't be read"),
            }
        }
    }

    fn hear(&self, told: Told) {
        if let Some(row) = self.lock().rows.get(&told.seat) {
            row.word.send_replace(Some(told.word));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hall> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A word on its way to a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    #[serde(flatten)]
    pub seat: Seat,
    #[serde(flatten)]
    pub word: Word,
}

/// A place to wait at for one word, given up when dropped.
pub struct Waiting {
    word: watch::Receiver<Option<Word>>,
    receipts: Receipts,
    seat: Seat,
}

impl Waiting {
    /// Waits, for ever if need be.
    pub async fn word(&mut self) -> Word {
        match self.word.wait_for(Option::is_some).await.map(|word| word.clone()) {
            Ok(Some(word)) => word,
            // The sender lives as long as somebody waits here.
            _ => std::future::pending().await,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut hall = self.receipts.lock();
        hall.waiters -= 1;
        if let Some(row) = hall.rows.get_mut(&self.seat) {
            row.waiters -= 1;
            if row.waiters == 0 {
                hall.rows.remove(&self.seat);
            }
        }
    }
}
