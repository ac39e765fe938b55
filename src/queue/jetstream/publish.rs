//! Publishing: everything of a call is under way at once, and every answer is waited for, within one deadline.

use std::error::Error;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use tokio::time::Instant;

use super::{Config, audience};
use crate::domain::id::hex;
use crate::queue::{NewEntry, Published, QueueError};

/// When to try again while the stream is full.
const FULL: Duration = Duration::from_secs(1);
/// How often a connection that publishes wait for is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A context whose acks are waited for as long as `config` says, and no more at once than it says.
pub fn context(config: &Config, client: async_nats::Client) -> Context {
    async_nats::jetstream::context::ContextBuilder::new()
        .timeout(config.publish_timeout())
        .ack_timeout(config.publish_timeout())
        .max_ack_inflight(config.max_publishing)
        .backpressure_on_inflight(false)
        .build(client)
}

/// Publishes `entries`: one answer an entry, in their order.
pub async fn publish(
    context: &Context,
    config: &Config,
    prefix: &str,
    entries: Vec<NewEntry>,
) -> Vec<Result<Published, QueueError>> {
    let client = context.client();
    let away = || QueueError::Unavailable("there is no connection to NATS".into());
    let connected = || client.connection_state() == State::Connected;
    let mut under_way = Vec::with_capacity(entries.len());
    for entry in entries {
        // The client would keep it and send it some time later, while the producer waits.
        if !connected() {
            under_way.push(Err(away()));
            continue;
        }
        let subject = audience::door(prefix, &entry.to, &entry.id);
        // Another body under the same id is no repetition: it is queued, and the record finds the conflict.
        let message =
            PublishMessage::build()
                .payload(entry.payload)
                .message_id(format!("{}:{}", entry.id, hex(&entry.hash.0)));
        under_way.push(
            context
                .send_publish(subject, message)
                .await
                .map_err(|error| refused(&error)),
        );
    }
    let deadline = Instant::now() + config.publish_timeout();
    let gone = async {
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            if !connected() {
                return;
            }
        }
    };
    tokio::pin!(gone);
    let mut is_gone = false;
    let mut answers = Vec::with_capacity(under_way.len());
    for published in under_way {
        let answer = match published {
            Err(error) => Err(error),
            // It may have been taken: the producer tries again with the same id.
            Ok(_) if is_gone => Err(away()),
            Ok(ack) => tokio::select! {
                biased;
                ack = ack.into_future() => match ack {
                    Ok(ack) => Ok(Published { sequence: ack.sequence, duplicate: ack.duplicate }),
                    Err(error) => Err(refused(&error)),
                },
                () = &mut gone => {
                    is_gone = true;
                    Err(away())
                }
                () = tokio::time::sleep_until(deadline) => {
                    Err(QueueError::Unavailable("NATS has not answered in time".into()))
                }
            },
        };
        answers.push(answer);
    }
    answers
}

/// What a refusal means for the producer.
pub fn refused(error: &PublishError) -> QueueError {
    match error.kind() {
        PublishErrorKind::MaxAckPending => return QueueError::Full(FULL),
        PublishErrorKind::MaxPayloadExceeded => {
            return QueueError::Refused("is larger than NATS takes (its max_payload)".into());
        }
        PublishErrorKind::StreamNotFound => {
            return QueueError::Unavailable("no NATS server answers for the stream".into());
        }
        _ => {}
    }
    let said = error
        .source()
        .and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    match said {
        Some(said) if is_full(said) => QueueError::Full(FULL),
        Some(said) => QueueError::Unavailable(said.to_string()),
        None => QueueError::Unavailable(error.to_string()),
    }
}

fn is_full(said: &async_nats::jetstream::Error) -> bool {
    match said.error_code() {
        ErrorCode::STREAM_STORE_FAILED => said.to_string().contains("maximum"),
        ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED => true,
        _ => false,
    }
}
