//! A lane: one durable consumer with one pinned client. A task pulls, so that a slow record doesn't lose the pin; the dispatcher takes what is
//! at hand.
//!
//! The server gives a consumer to one client at a time, and to another one when that has not pulled for the pin time-out. What the one before
//! had in hand would come only after the ack wait, behind newer entries: so whoever gets a new pin resets the consumer, which begins again at
//! the first entry that is not settled. Nothing is ever refused to the server (nak): that breaks the order, too.

mod order;
mod pull;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::stream::Stream;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

pub use self::state::Origin;
use self::state::State;
use super::Config;
use super::entry::Reader;
use crate::queue::{Entry, Most, QueueError};

/// Longest time for acks to be handed to the client.
const ACKS: Duration = Duration::from_secs(5);

/// The handle on a lane.
pub struct Lane {
    number: u32,
    config: Config,
    client: Client,
    stream: Stream<()>,
    /// The consumer's name.
    consumer: String,
    reader: Reader,
    state: Mutex<State>,
    /// Something is at hand, or the lane is held no more.
    arrived: Notify,
    /// Something was taken or is wanted: the puller looks again.
    wanted: Notify,
}

/// The one priority group of a lane's consumer.
pub const GROUP: &str = "dispatch";

/// The name of a lane's consumer.
pub fn consumer_name(lane: u32) -> String {
    format!("lane-{lane}")
}

impl Lane {
    pub fn new(number: u32, config: &Config, client: Client, stream: Stream<()>, reader: Reader) -> Arc<Self> {
        Arc::new(Self {
            number,
            config: config.clone(),
            client,
            stream,
            consumer: consumer_name(number),
            reader,
            state: Mutex::default(),
            arrived: Notify::new(),
            wanted: Notify::new(),
        })
    }

    /// Waits until this node is the one, and the lane begins at its first entry that is not settled. At once when the queue is closing.
    pub async fn hold(&self) {
        {
            let mut state = self.lock();
            state.resting = false;
            state.give_up();
        }
        self.wanted.notify_one();
        self.when(|state| (state.closed || state.hold()).then_some(())).await;
    }

    /// Lets go of the lane until [`Lane::hold`]. Returns when another node may have it, or when the server can't be told so: the pin then ends by itself.
    pub async fn give_back(&self) {
        self.lock().resting = true;
        self.wanted.notify_one();
        self.when(|state| (state.closed || state.pin.is_none()).then_some(()))
            .await;
    }

    /// What is at hand, as soon as there is something.
    pub async fn next(&self, most: Most) -> Result<Vec<Entry>, QueueError> {
        let taken = self.when(|state| {
            if state.closed {
                Some(Ok(Vec::new()))
            } else if state.held.is_none() {
                Some(Err(QueueError::Moved))
            } else if state.ready.is_empty() {
                None
            } else {
                Some(Ok(state.take(most)))
            }
        });
        let taken = taken.await;
        self.wanted.notify_one();
        taken
    }

    /// The messages of `sequences`, which are in hand: what a dead letter tells beside its body. Less than was asked for when the lane has moved.
    pub fn in_hand<T>(&self, sequences: &[u64], tell: impl Fn(&Origin) -> T) -> Vec<T> {
        let state = self.lock();
        let find = |sequence| state.in_hand.binary_search_by_key(sequence, |origin| origin.sequence);
        sequences
            .iter()
            .filter_map(|sequence| find(sequence).ok().map(|index| tell(&state.in_hand[index])))
            .collect()
    }

    /// Acks what is in hand up to `through`. An ack that is lost means that the entry comes again, and is acked again.
    pub async fn settle(&self, through: u64) -> Result<(), QueueError> {
        let settled = self.lock().settle(through);
        let acks = async {
            for origin in settled {
                self.client
                    .publish(origin.reply, Bytes::new())
                    .await
                    .map_err(|error| QueueError::Unavailable(error.to_string()))?;
            }
            Ok(())
        };
        // While there is no connection the client takes some, and then none.
        let late = |_| Err(QueueError::Unavailable("acks are not taken".into()));
        timeout(ACKS, acks).await.unwrap_or_else(late)
    }

    /// Ends what waits here; the puller lets go of the lane.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wanted.notify_one();
        self.arrived.notify_waiters();
    }

    async fn when<T>(&self, mut ready: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // Before the look, so that what comes in between is not missed.
            arrived.as_mut().enable();
            if let Some(value) = ready(&mut self.lock()) {
                return value;
            }
            arrived.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}
