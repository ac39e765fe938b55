//! Publishing over NATS by request and reply, as a NATS service: `nats service list` finds it on every node that takes part, and the nodes
//! share the requests. For what the subjects are called see [`crate::subjects`].
//!
//! ```text
//! nats request notify.publish '{"receiver":"alice","data":"Hello"}'
//! nats request notify.publish -H 'Idempotency-Key:order-7' '[{"receiver":"alice","data":"Hello"},{"everyone":true,"data":"All"}]'
//! ```
//!
//! In: what `POST /api/notify` takes, a draft or an array of drafts, within the same bounds (and those of the server, whose `max_payload` is
//! 1 MiB by default). Out: the same JSON. Where nothing was taken the reply is a service error besides: `Nats-Service-Error-Code` is the status
//! that HTTP would have (400, 409, 413, 422, 503), `Nats-Service-Error` says `field: reason` in a line of ASCII, and a 503 has `Retry-After`. A
//! requester without an answer (the node died, or was stopped just then) tries again under the same `id` or `Idempotency-Key`. A plain publish
//! to the subject, without a reply subject, is taken like a request; nobody learns what became of it. A reply subject begins with `_INBOX`, as
//! those of all clients do: a request for a reply elsewhere is dropped.
//!
//! With the header `Wait: stored` the reply waits for the record's word, as `?wait=stored` does over HTTP, `Wait-Ms` milliseconds at most.
//!
//! The other way over NATS goes past this door, straight into the queue's stream (`queue.adapter = "jetstream"`), where the PubAck is the
//! receipt, and works while every node is away. The subject names the receiver as a token ([`subjects::token`]: letters, digits, `-` and `_` stand for
//! themselves, every other octet of the UTF-8 is `=` and two hex digits), and the body has to be for that very receiver. What turns out to be
//! wrong becomes a dead letter: `quick-notify dead list`.
//!
//! ```text
//! nats publish --jetstream notify.in.user.alice '{"receiver":"alice","data":"Hello"}' -H 'Nats-Msg-Id:order-7'
//! nats publish --jetstream notify.in.user.bob=40example=2Ecom '{"receiver":"bob@example.com","data":"Hello"}'
//! ```
//!
//! `examples/publish_nats.rs` and `examples/publish_nats.py` do both.
//!
//! Who may publish is for the NATS server to say, by its permissions on the subject; a message doesn't say who sent it. An idempotency key
//! needs a name to stand under so that two producers don't hit on each other's by accident: the header `Producer`, or else `nats`. A lie there
//! harms no more than a lie in `id`, which every producer may choose freely. It is the name of the producer's API key, where it has one: a retry
//! over the other way is then known as one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::client::PublishErrorKind;
use async_nats::service::endpoint::Endpoint;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Request, Service, ServiceExt};
use futures_util::StreamExt;
use tokio::sync::Semaphore;

use super::Ingest;
use super::answer::{self, Answer};
use super::door::{IDEMPOTENCY_KEY, Refusal, Sender};
use super::request::name_in_header;
use crate::domain::notification::{Code, Rejection};
use crate::lifecycle::Lifecycle;
use crate::nats::Nats;
use crate::subjects;
use crate::telemetry::events;

/// The service's name in `$SRV`.
const NAME: &str = "quick-notify";

/// The header that names who an idempotency key belongs to, and who it is without one.
const PRODUCER: &str = "Producer";
const ANY_PRODUCER: &str = "nats";

/// For what the reply is to wait (`stored`), and for how long at most.
const WAIT: &str = "Wait";
const WAIT_MS: &str = "Wait-Ms";

/// The service can't be registered.
#[derive(Debug, thiserror::Error)]
#[error("the NATS service can't be registered: {0}")]
pub struct ServiceError(String);

/// Registers the service and answers until the drain; then what is in hand is finished.
pub async fn start(ingest: Arc<Ingest>, nats: &Nats, lifecycle: &Lifecycle) -> Result<(), ServiceError> {
    let failed = |error: async_nats::Error| ServiceError(error.to_string());
    let service = nats
        .client
        .service_builder()
        .description("Takes notifications for users, topics and everyone")
        .start(NAME, env!("CARGO_PKG_VERSION"))
        .await
        .map_err(failed)?;
    let endpoint = service
        .endpoint_builder()
        .name("publish")
        .metadata(metadata())
        .add(subjects::publish(&nats.prefix))
        .await
        .map_err(failed)?;
    let desk = Desk {
        in_hand: Arc::new(Semaphore::new(ingest.config.nats_in_flight)),
        ingest,
        nats: nats.clone(),
        lifecycle: lifecycle.clone(),
    };
    lifecycle.spawn(desk.run(service, endpoint));
    Ok(())
}

/// What a request and its reply are, for who finds the service.
fn metadata() -> HashMap<String, String> {
    [
        ("content-type", "application/json"),
        (
            "request",
            r#"{"receiver":"alice","data":"Hello"}, or an array of these"#,
        ),
        ("reply", r#"{"id":"ntf_...","state":"accepted","durability":"..."}"#),
        ("errors", "400 409 413 422 503"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Where requests are taken and answered.
struct Desk {
    ingest: Arc<Ingest>,
    nats: Nats,
    lifecycle: Lifecycle,
    /// A permit for each request that may be in hand.
    in_hand: Arc<Semaphore>,
}

impl Desk {
    async fn run(self, service: Service, mut endpoint: Endpoint) {
        let drain = self.lifecycle.drain.clone();
        while let Some(Some(request)) = drain.run_until_cancelled(endpoint.next()).await {
            self.take(request).await;
        }
        // No new ones, to any node but this one they go now; those that are here already are answered.
        if let Err(error) = service.stop().await {
            tracing::warn!(%error, "the NATS service did not stop");
        }
        let _ = endpoint.stop().await;
        while let Some(request) = endpoint.next().await {
            self.take(request).await;
        }
        let all = self.ingest.config.nats_in_flight as u32;
        let _finished = self.in_hand.acquire_many(all).await;
        // Until the replies are on their way; without a connection they never are.
        let _ = tokio::time::timeout(FLUSH, self.nats.client.flush()).await;
    }

    /// Answers in a task of its own, or refuses at once while too many are in hand: waiting requests would pile up unseen.
    async fn take(&self, request: Request) {
        if let Some(subject) = &request.message.reply
            && !is_inbox(subject)
        {
            tracing::debug!(%subject, "a request over NATS asks for its reply where nobody waits for one; it was dropped");
            return;
        }
        let Ok(permit) = Arc::clone(&self.in_hand).try_acquire_owned() else {
            let most = self.ingest.config.nats_in_flight;
            let reason = format!("this node has {most} requests in hand (ingest.nats_in_flight)");
            let refusal = Refusal::Later(Duration::from_secs(1), reason);
            events::refused(refusal.code());
            return reply(&request, answer::refused(&refusal)).await;
        };
        let ingest = Arc::clone(&self.ingest);
        self.lifecycle.spawn(async move {
            let answer = answer(&ingest, &request).await;
            reply(&request, answer).await;
            drop(permit);
        });
    }
}

/// Whether a reply may go there. A node may publish anywhere: whoever could name any subject would publish by it where he must not, such as
/// to `$JS.API`. A request of another account comes with the server's `_R_` for its inbox.
fn is_inbox(subject: &str) -> bool {
    subject.starts_with("_INBOX") || subject.starts_with("_R_.")
}

/// Longest wait for the last replies to leave.
const FLUSH: Duration = Duration::from_secs(1);

async fn answer(ingest: &Ingest, request: &Request) -> Answer {
    let body = &request.message.payload;
    let most = ingest.config.max_body;
    if body.len() > most {
        let reason = format!("is larger than {most} bytes (ingest.max_body)");
        return answer::refused(&Refusal::Rejected(Rejection::new(Code::TooLarge, "body", reason)));
    }
    let headers = request.message.headers.as_ref();
    let name = |field: &'static str| {
        let values = headers.into_iter().flat_map(|headers| headers.get_all(field));
        name_in_header(field, values.map(|value| value.as_ref()))
    };
    let sender = || {
        Ok(Sender {
            producer: name(PRODUCER)?.unwrap_or(ANY_PRODUCER),
            key: name(IDEMPOTENCY_KEY)?,
            wait: ingest.wait(name(WAIT)?, name(WAIT_MS)?, [WAIT, WAIT_MS])?,
        })
    };
    match sender() {
        Ok(sender) => ingest.request(sender, body).await,
        Err(rejection) => answer::refused(&Refusal::Rejected(rejection)),
    }
}

/// Sends the answer to whoever waits for it.
async fn reply(request: &Request, answer: Answer) {
    if request.message.reply.is_none() {
        return;
    }
    // The crate's own error replies have no body; this one has the JSON too.
    let sent = request
        .respond_with_headers(Ok(answer.body.clone()), headers(&answer))
        .await;
    let sent = match sent {
        Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
            let reason = "has so many items that their answer is larger than NATS takes; what could be taken was: send fewer, under the same ids";
            let answer = answer::refused(&Refusal::Rejected(Rejection::new(Code::TooLarge, "body", reason)));
            request
                .respond_with_headers(Ok(answer.body.clone()), headers(&answer))
                .await
        }
        sent => sent,
    };
    if let Err(error) = sent {
        // The requester hears nothing, as when this node had died, and tries again.
        tracing::warn!(%error, "a reply over NATS could not be sent");
    }
}

fn headers(answer: &Answer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(refusal) = &answer.refusal {
        headers.insert(NATS_SERVICE_ERROR, one_line(refusal));
        headers.insert(NATS_SERVICE_ERROR_CODE, answer.status.as_str());
    }
    if let Some(seconds) = answer.retry_seconds() {
        headers.insert("Retry-After", seconds.to_string());
    }
    headers
}

/// A reason may quote what a producer sent, line ends and all; the body has it unchanged.
fn one_line(text: &str) -> String {
    const LONGEST: usize = 500;
    let visible = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().take(LONGEST).map(visible).collect()
}
