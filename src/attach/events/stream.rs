//! Tells into a JetStream stream, which keeps events for who must not miss one: each is tried until the stream says that it has it.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::context::{
    Context, ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind, PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Waiting;
use super::publish::{Publisher, last_words};
use super::told::{Published, Told};
use crate::attach::config;
use crate::lifecycle::Backoff;
use crate::nats::Nats;
use crate::subjects;
use crate::telemetry::events;

/// In this time the stream takes an event once, however often it is sent.
const DUPLICATES: Duration = Duration::from_secs(120);
/// Delays between tries.
const FIRST: Duration = Duration::from_millis(50);
const MOST: Duration = Duration::from_secs(2);

/// Why there is no stream for events.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("attach.events.stream.kinds needs JetStream, which the NATS server does not serve: {0}")]
    NoJetStream(String),
    #[error("the stream {0} of events can't be made as attach.events.stream says: {1}")]
    Refused(String, String),
}

/// Where events are published to, so many at once at most.
pub fn context(config: &config::Stream, nats: &Nats, patience: Duration) -> Context {
    ContextBuilder::new()
        .timeout(patience)
        .ack_timeout(patience)
        .max_ack_inflight(config.in_flight)
        .backpressure_on_inflight(false)
        .build(nats.client.clone())
}

/// Makes the stream, or changes it to what the configuration says. Says which of its settings were changed.
pub async fn ensure(
    context: &Context,
    config: &config::Stream,
    prefix: &str,
) -> Result<Vec<&'static str>, StreamError> {
    let wanted = wanted(config, prefix);
    let refused = |error: &dyn std::fmt::Display| StreamError::Refused(wanted.name.clone(), error.to_string());
    let found = match context.get_stream(&wanted.name).await {
        Ok(stream) => Some(stream.cached_info().config.clone()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(ref inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => None,
            GetStreamErrorKind::JetStream(ref inner) => return Err(away(inner).unwrap_or_else(|| refused(&error))),
            _ => return Err(StreamError::NoJetStream(error.to_string())),
        },
    };
    let Some(found) = found else {
        return match context.create_stream(&wanted).await {
            Ok(_) => Ok(Vec::new()),
            // Another node was faster.
            Err(error)
                if matches!(error.kind(), CreateStreamErrorKind::JetStream(ref inner)
                    if inner.error_code() == ErrorCode::STREAM_NAME_EXIST) =>
            {
                Ok(Vec::new())
            }
            Err(error) => Err(match error.kind() {
                CreateStreamErrorKind::JetStream(ref inner) => away(inner).unwrap_or_else(|| refused(&error)),
                _ => refused(&error),
            }),
        };
    };
    let changed = differences(&found, &wanted);
    if !changed.is_empty() {
        // What the server said of it otherwise stays.
        let config = StreamConfig {
            subjects: wanted.subjects.clone(),
            discard: wanted.discard,
            max_age: wanted.max_age,
            max_bytes: wanted.max_bytes,
            num_replicas: wanted.num_replicas,
            duplicate_window: wanted.duplicate_window,
            ..found
        };
        context.update_stream(&config).await.map_err(|error| refused(&error))?;
    }
    Ok(changed)
}

fn away(said: &jetstream::Error) -> Option<StreamError> {
    let codes = [
        ErrorCode::JETSTREAM_NOT_ENABLED,
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT,
    ];
    codes
        .contains(&said.error_code())
        .then(|| StreamError::NoJetStream(said.to_string()))
}

fn wanted(config: &config::Stream, prefix: &str) -> StreamConfig {
    let max_age = Duration::from_secs(config.max_age_seconds);
    StreamConfig {
        name: subjects::events_stream(prefix),
        subjects: config
            .kinds
            .iter()
            .map(|kind| subjects::events(prefix, kind.name()))
            .collect(),
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::Old,
        storage: StorageType::File,
        max_age,
        max_bytes: config.max_bytes as i64,
        num_replicas: config.replicas,
        duplicate_window: DUPLICATES.min(max_age),
        ..StreamConfig::default()
    }
}

fn differences(is: &StreamConfig, wanted: &StreamConfig) -> Vec<&'static str> {
    let sorted = |config: &StreamConfig| {
        let mut subjects: Vec<_> = config.subjects.iter().map(ToString::to_string).collect();
        subjects.sort();
        subjects
    };
    let rows = [
        ("subjects", sorted(is) == sorted(wanted)),
        ("discard", is.discard == wanted.discard),
        ("max_age", is.max_age == wanted.max_age),
        ("max_bytes", is.max_bytes == wanted.max_bytes),
        ("replicas", is.num_replicas == wanted.num_replicas),
        ("duplicate_window", is.duplicate_window == wanted.duplicate_window),
    ];
    let differing = rows.into_iter().filter(|(_, same)| !same);
    differing.map(|(field, _)| field).collect()
}

pub struct Keeper {
    pub publisher: Publisher,
    pub context: Context,
    pub config: config::Stream,
}

/// An event that the stream has not confirmed. Dropped as it is, it is lost.
struct Kept {
    kind: &'static str,
    published: Published,
    handed: Option<oneshot::Sender<()>>,
    /// Counted, one way or the other.
    settled: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if !self.settled {
            events::event_lost(self.kind, "drain");
        }
    }
}

/// What is under way.
#[derive(Default)]
struct UnderWay {
    sent: FuturesUnordered<BoxFuture<'static, (Kept, Result<(), PublishError>)>>,
    /// To be sent again.
    again: VecDeque<Kept>,
    /// Nobody answers for the stream.
    missing: bool,
}

/// Publishes what waits until the stream has it, and at the drain for a moment still.
pub async fn run(keeper: Keeper, mut waiting: Waiting, drain: CancellationToken) {
    tokio::select! {
        () = keeper.all(&mut waiting, &drain) => {}
        () = last_words(&drain) => {}
    }
    waiting.abandon();
    // All who tell may have ended before.
    drain.cancelled().await;
}

impl Keeper {
    async fn all(&self, waiting: &mut Waiting, drain: &CancellationToken) {
        let mut under_way = UnderWay::default();
        let mut batch = Vec::new();
        let mut backoff = Backoff::new(FIRST, MOST);
        let mut next_try = None;
        let mut closed = false;
        loop {
            if closed && under_way.is_empty() {
                return;
            }
            if under_way.again.is_empty() {
                next_try = None;
            } else {
                next_try = next_try.or_else(|| Some(Instant::now() + backoff.delay()));
            }
            let room = self.config.in_flight.saturating_sub(under_way.sent.len());
            // Behind what is to be sent again nothing new is: that is how the bound holds.
            let may_take = !closed && room > 0 && under_way.again.is_empty();
            tokio::select! {
                Some((kept, answer)) = under_way.sent.next() => {
                    if under_way.answered(kept, answer) {
                        backoff = Backoff::new(FIRST, MOST);
                    }
                }
                () = tokio::time::sleep_until(next_try.unwrap_or_else(Instant::now)), if next_try.is_some() && room > 0 => {
                    next_try = None;
                    self.again(&mut under_way, room).await;
                }
                taken = waiting.take(&mut batch, room), if may_take => {
                    closed = taken == 0;
                    self.publisher.connected().await;
                    for told in batch.drain(..).filter(|told| !told.is_given_up()) {
                        self.send(self.kept(told), &mut under_way).await;
                    }
                }
                () = drain.cancelled(), if !waiting.queue.is_closed() => waiting.queue.close(),
            }
        }
    }

    async fn again(&self, under_way: &mut UnderWay, room: usize) {
        self.publisher.connected().await;
        if std::mem::take(&mut under_way.missing) {
            // Perhaps somebody removed it.
            let prefix = &self.publisher.nats.prefix;
            if let Err(error) = ensure(&self.context, &self.config, prefix).await {
                tracing::warn!(%error, "the stream of events is not there; trying again");
            }
        }
        for _ in 0..room.min(under_way.again.len()) {
            match under_way.again.pop_front() {
                // Who told it has given up, and tells it again.
                Some(mut kept) if kept.handed.as_ref().is_some_and(oneshot::Sender::is_closed) => kept.settled = true,
                Some(kept) => self.send(kept, under_way).await,
                None => break,
            }
        }
    }

    fn kept(&self, told: Told) -> Kept {
        Kept {
            kind: told.happening.name(),
            published: told.publish(&self.publisher.nats.prefix, &self.publisher.node),
            handed: told.handed,
            settled: false,
        }
    }

    async fn send(&self, kept: Kept, under_way: &mut UnderWay) {
        let message = PublishMessage::build()
            .payload(kept.published.payload.clone())
            .message_id(&kept.published.message_id);
        match self.context.send_publish(kept.published.subject.clone(), message).await {
            Ok(ack) => under_way.sent.push(Box::pin(async move {
                let answer = ack.await.map(drop);
                (kept, answer)
            })),
            Err(error) => {
                under_way.answered(kept, Err(error));
            }
        }
    }
}

impl UnderWay {
    fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.again.is_empty()
    }

    /// Says whether the stream has it.
    fn answered(&mut self, mut kept: Kept, answer: Result<(), PublishError>) -> bool {
        let Err(error) = answer else {
            kept.settled = true;
            events::event_told(kept.kind);
            if let Some(handed) = kept.handed.take() {
                let _ = handed.send(());
            }
            return true;
        };
        if error.kind() == PublishErrorKind::MaxPayloadExceeded {
            kept.settled = true;
            events::event_lost(kept.kind, "too-large");
            if let Some(handed) = kept.handed.take() {
                let _ = handed.send(());
            }
            return false;
        }
        events::event_stream_failed(kept.kind, &error);
        self.missing |= error.kind() == PublishErrorKind::StreamNotFound;
        self.again.push_back(kept);
        false
    }
}
