//! The queue of a cluster: a JetStream stream with WorkQueue retention, divided into lanes by the server.
//!
//! The server computes a lane from the receiver's token as a message enters, and each lane has one consumer with one pinned client (`lane`). An
//! accepted message is removed by its ack and by nothing else: a full stream refuses, and nothing is too old. Streams and consumers are made
//! when they are missing; when they are there and different, the adapter refuses to start and says how, field by field.
//!
//! An id that is queued again with another body is not refused here: it is queued, and becomes a dead letter when the record sees it.

mod audience;
mod config;
mod dead;
mod durability;
mod entry;
mod lane;
mod migrate;
mod publish;
mod stream;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::context::Context;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, Stream};
use async_trait::async_trait;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use self::config::{Config, Known, Required};
use self::entry::{REPLAYED_ID, Reader};
use self::lane::Lane;
use self::stream::{Wanted, Wrong};
use super::{Dead, DeadLetter, Depth, Durability, Entry, Most, NewEntry, Published, Queue, QueueError};
use crate::lifecycle::Backoff;
use crate::nats::Nats;
use crate::subjects;

/// The oldest server that can do all of this: consumer reset came with it.
const LEAST: (i64, i64) = (2, 14);
/// Longest wait for the lanes to be given back.
const CLOSE: Duration = Duration::from_secs(5);
/// For how long what was learnt of the stream's state is told again.
const FRESH: Duration = Duration::from_millis(250);
/// Octets of a page of dead letters.
const PAGE_BYTES: usize = 4_194_304;

/// The adapter; see the module's contract.
pub struct Jetstream {
    config: Config,
    nats: Nats,
    context: Context,
    stream: Stream<()>,
    dead: Stream<()>,
    reader: Reader,
    durability: Durability,
    request_timeout: Duration,
    lanes: Mutex<BTreeMap<u32, Arc<Lane>>>,
    pullers: Mutex<JoinSet<()>>,
    depth: tokio::sync::Mutex<Option<(Instant, Depth)>>,
}

impl Jetstream {
    /// Makes or checks the streams and consumers.
    pub async fn open(config: &Config, nats: &Nats) -> Result<Arc<Self>, QueueError> {
        let context = publish::context(config, nats.client.clone());
        let wanted = Wanted::new(config, &nats.prefix);
        let ingest = ensure(config, nats, &context, &wanted).await?;
        let info = ingest.cached_info().clone();
        let known = durability::known(info.config.num_replicas, &config.monitoring).await;
        if let Some(required) = config.require_durability
            && !required.is_met(known)
        {
            return Err(QueueError::Refused(format!(
                "queue.jetstream.require_durability asks for {required:?}, and the stream {} is {known:?}",
                info.config.name
            )));
        }
        let stream = context
            .get_stream_no_info(&wanted.ingest.name)
            .await
            .map_err(unavailable)?;
        let dead = context
            .get_stream_no_info(&wanted.dead.name)
            .await
            .map_err(unavailable)?;
        Ok(Arc::new(Self {
            reader: Reader {
                prefix: nats.prefix.clone(),
                stream: info.config.name.clone(),
                created: stream::created(&info),
            },
            config: config.clone(),
            nats: nats.clone(),
            context,
            stream,
            dead,
            durability: known.durability(),
            request_timeout: config.publish_timeout(),
            lanes: Mutex::default(),
            pullers: Mutex::default(),
            depth: tokio::sync::Mutex::default(),
        }))
    }

    /// Pulling begins with the first wish to hold a lane: who only publishes or looks at letters never gets a pin.
    fn lane(&self, lane: u32) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().expect("nothing panics under this lock");
        let made = lanes.entry(lane).or_insert_with(|| {
            let made = Lane::new(
                lane,
                &self.config,
                self.nats.client.clone(),
                self.stream.clone(),
                self.reader.clone(),
            );
            let mut pullers = self.pullers.lock().expect("nothing panics under this lock");
            pullers.spawn(Arc::clone(&made).pull());
            made
        });
        Arc::clone(made)
    }

    /// The first letter from `number` on.
    async fn letter_from(&self, number: u64) -> Result<Option<Dead>, QueueError> {
        let letters = subjects::dead_letters(&self.nats.prefix);
        let found = self
            .dead
            .raw_message_builder()
            .next_by_subject(letters)
            .sequence(number);
        match tokio::time::timeout(self.request_timeout, found.send()).await {
            Ok(Ok(message)) => Ok(Some(dead::read(message))),
            Ok(Err(error)) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Ok(Err(error)) => Err(unavailable(error)),
            Err(_) => Err(unavailable("NATS has not answered in time")),
        }
    }
}

/// Changes the streams and consumers to what the configuration says; tells what was changed, a line each.
pub async fn migrate(config: &Config, nats: &Nats) -> Result<Vec<String>, QueueError> {
    let context = publish::context(config, nats.client.clone());
    let changed = migrate::migrate(&context, &nats.prefix, &Wanted::new(config, &nats.prefix)).await?;
    Ok(changed.iter().map(ToString::to_string).collect())
}

/// Waits for the server, which may be starting just now, too.
async fn ensure(config: &Config, nats: &Nats, context: &Context, wanted: &Wanted) -> Result<Stream, QueueError> {
    let deadline = Instant::now() + config.start_timeout();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let info = nats.client.server_info();
    if !nats.client.is_server_compatible(LEAST.0, LEAST.1, 0) {
        return Err(QueueError::Refused(format!(
            "the NATS server is {}; this needs {}.{} or newer (consumer reset, pinned clients)",
            info.version, LEAST.0, LEAST.1
        )));
    }
    loop {
        let tried = tokio::time::timeout_at(deadline, stream::ensure(context, wanted)).await;
        match tried {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(Wrong::Different(differences))) => {
                return Err(QueueError::Refused(format!(
                    "what is in NATS is not what the configuration says:\n{}\nrun quick-notify migrate, or change the configuration",
                    migrate::listed(&differences)
                )));
            }
            Ok(Err(Wrong::Away(reason))) if Instant::now() >= deadline => return Err(QueueError::Unavailable(reason)),
            Ok(Err(Wrong::Away(reason))) => tracing::info!(reason, "JetStream is not ready; trying again"),
            Err(_) => return Err(QueueError::Unavailable("JetStream has not answered in time".into())),
        }
        tokio::time::sleep(backoff.delay()).await;
    }
}

#[async_trait]
impl Queue for Jetstream {
    fn name(&self) -> &'static str {
        "jetstream"
    }

    fn lanes(&self) -> u32 {
        self.config.partitions
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn durability(&self) -> Durability {
        self.durability
    }

    async fn publish(&self, entries: Vec<NewEntry>) -> Vec<Result<Published, QueueError>> {
        publish::publish(&self.context, &self.config, &self.nats.prefix, entries).await
    }

    async fn next(&self, lane: u32, most: Most) -> Result<Vec<Entry>, QueueError> {
        self.lane(lane).next(most).await
    }

    async fn hold(&self, lane: u32) -> Result<(), QueueError> {
        self.lane(lane).hold().await;
        Ok(())
    }

    async fn give_back(&self, lane: u32) -> Result<(), QueueError> {
        self.lane(lane).give_back().await;
        Ok(())
    }

    async fn settle(&self, lane: u32, through: u64, letters: Vec<DeadLetter>) -> Result<(), QueueError> {
        let lane = self.lane(lane);
        if !letters.is_empty() {
            let sequences: Vec<_> = letters.iter().map(|letter| letter.sequence).collect();
            let told = lane.in_hand(&sequences, dead::Told::of);
            if told.len() < letters.len() {
                // Whoever has it now finds the same.
                return Err(QueueError::Moved);
            }
            dead::keep(&self.context, &self.reader, letters, told).await?;
        }
        lane.settle(through).await
    }

    async fn dead(&self, after: u64, limit: u32) -> Result<Vec<Dead>, QueueError> {
        let mut letters = Vec::new();
        let mut bytes = 0;
        let mut next = after.saturating_add(1);
        while letters.len() < limit as usize && bytes < PAGE_BYTES {
            let Some(letter) = self.letter_from(next).await? else {
                break;
            };
            next = letter.number + 1;
            bytes += letter.payload.len();
            letters.push(letter);
        }
        Ok(letters)
    }

    async fn replay(&self, number: u64) -> Result<bool, QueueError> {
        let Some(letter) = self.letter_from(number).await?.filter(|letter| letter.number == number) else {
            return Ok(false);
        };
        if let Some(length) = letter.truncated {
            let kept = letter.payload.len();
            return Err(QueueError::Refused(format!(
                "of its {length} bytes only the first {kept} were kept, because NATS takes no more: nobody can queue it as it came"
            )));
        }
        let Some(subject) = letter.subject else {
            return Err(QueueError::Refused("nobody can tell where it was published".into()));
        };
        let mut message = PublishMessage::build().payload(letter.payload);
        for (name, value) in &letter.headers {
            // Within the duplicate window the server would take it for a repetition, and drop it.
            let name = if name == "Nats-Msg-Id" { REPLAYED_ID } else { name };
            message = message.header(name, value.as_str());
        }
        let sent = self.context.send_publish(subject, message).await;
        let ack = sent.map_err(|error| publish::refused(&error))?;
        ack.await.map_err(|error| publish::refused(&error))?;
        let deleted = timely(self.request_timeout, self.dead.delete_message(number)).await;
        deleted.map(|_| true).map_err(unavailable)
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let mut known = self.depth.lock().await;
        if let Some((when, depth)) = *known
            && when.elapsed() < FRESH
        {
            return Ok(depth);
        }
        if self.nats.client.connection_state() != async_nats::connection::State::Connected {
            return Err(unavailable("there is no connection to NATS"));
        }
        let info = timely(self.request_timeout, self.stream.get_info())
            .await
            .map_err(unavailable)?;
        let depth = Depth {
            last_sequence: info.state.last_sequence,
            pending: info.state.messages,
        };
        *known = Some((Instant::now(), depth));
        Ok(depth)
    }

    async fn ping(&self) -> Result<(), QueueError> {
        // Only the stream's leader answers, and it is the one that takes what is published.
        self.depth().await.map(drop)
    }

    async fn close(&self) {
        for lane in self.lanes.lock().expect("nothing panics under this lock").values() {
            lane.close();
        }
        let mut pullers = std::mem::take(&mut *self.pullers.lock().expect("nothing panics under this lock"));
        let given_back = async { while pullers.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSE, given_back).await.is_err() {
            tracing::warn!("the lanes could not be given back in time");
        }
        let _ = timely(CLOSE, self.nats.client.flush()).await;
    }
}

fn unavailable(error: impl Display) -> QueueError {
    QueueError::Unavailable(error.to_string())
}

/// `work` within `limit`, with its error in words.
async fn timely<T, E: Display>(limit: Duration, work: impl IntoFuture<Output = Result<T, E>>) -> Result<T, String> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("NATS has not answered in time".into()),
    }
}
