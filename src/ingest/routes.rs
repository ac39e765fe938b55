//! `POST /api/notify`, and how every request to the door is authorised and read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use axum::routing::post;
use serde_json::value::RawValue;

use super::door::{IDEMPOTENCY_KEY as FIELD, Receipt, Refusal, Sender};
use super::{Ingest, answer, demo};
use crate::domain::notification::{Code, Draft, Rejection};
use crate::http::{self, Unread};
use crate::keys::NoKey;

/// The routes of the door.
pub fn routes(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route("/api/notify", post(notify))
        .merge(demo::routes())
        .with_state(ingest)
}

async fn notify(State(ingest): State<Arc<Ingest>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let producer = match ingest.producer(&parts.headers) {
        Ok(producer) => producer,
        Err(NoKey(reason)) => return answer::unauthorized(&reason),
    };
    let key = match idempotency_key(&parts.headers) {
        Ok(key) => key,
        Err(rejection) => return answer::refused(&Refusal::Rejected(rejection)),
    };
    let bytes = match ingest.read(body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return answer::refused(&refusal),
    };
    let sender = Sender { producer, key };
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'[') {
        let draft = Draft::from_json(&bytes);
        let mut results = ingest.take(sender, vec![draft]).await;
        return answer::one(results.pop().expect("one answer a draft"));
    }
    match array(&bytes, ingest.config.max_array) {
        Ok(drafts) => answer::many(ingest.take(sender, drafts).await),
        Err(rejection) => answer::refused(&Refusal::Rejected(rejection)),
    }
}

impl Ingest {
    /// Who publishes: the producer whose key was sent; in dev mode a key is not asked for.
    pub(super) fn producer(&self, headers: &HeaderMap) -> Result<&str, NoKey> {
        self.keys.caller(headers, self.open, "publishing")
    }

    /// Reads a request body within its bounds of size and time.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, Refusal> {
        let (limit, time) = (self.config.max_body, self.config.read_timeout_ms);
        http::read(body, limit, Duration::from_millis(time))
            .await
            .map_err(|unread| {
                let (code, reason) = match unread {
                    Unread::TooLarge => (
                        Code::TooLarge,
                        format!("is larger than {limit} bytes (ingest.max_body)"),
                    ),
                    Unread::Late => {
                        let reason = format!("did not arrive within {time} ms (ingest.read_timeout_ms)");
                        (Code::InvalidField, reason)
                    }
                    Unread::Broken(error) => (Code::InvalidField, format!("broke off: {error}")),
                };
                Refusal::Rejected(Rejection::new(code, "body", reason))
            })
    }

    /// Hands drafts to the door, and answers for it when it takes too long.
    pub(super) async fn take(
        &self,
        sender: Sender<'_>,
        drafts: Vec<Result<Draft, Rejection>>,
    ) -> Vec<Result<Receipt, Refusal>> {
        let count = drafts.len();
        let limit = Duration::from_millis(self.config.accept_timeout_ms);
        match tokio::time::timeout(limit, self.door.take(sender, drafts)).await {
            Ok(results) => results,
            Err(_) => {
                let late = Refusal::Later(
                    Duration::from_secs(1),
                    "the queue did not answer in time; it may still take this: retry under the same Idempotency-Key"
                        .into(),
                );
                vec![Err(late); count]
            }
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Rejection> {
    let mut values = headers.get_all(FIELD).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let reason = match value.to_str() {
        _ if values.next().is_some() => "must stand only once",
        Ok(key) if (1..=255).contains(&key.len()) => return Ok(Some(key)),
        Ok(_) => "must have 1 to 255 characters",
        Err(_) => "must be visible ASCII",
    };
    Err(Rejection::new(Code::InvalidField, FIELD, reason))
}

/// The items of an array, each read by itself: one that can't be read is no reason to refuse its neighbours.
fn array(bytes: &[u8], max: usize) -> Result<Vec<Result<Draft, Rejection>>, Rejection> {
    let items: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|error| Rejection::bad_json(&error))?;
    match items.len() {
        0 => Err(Rejection::new(Code::InvalidField, "body", "is an empty array")),
        n if n > max => {
            let reason = format!("has {n} items; at most {max} are taken (ingest.max_array)");
            Err(Rejection::new(Code::TooLarge, "body", reason))
        }
        _ => Ok(items
            .into_iter()
            .map(|item| Draft::from_json(item.get().as_bytes()))
            .collect()),
    }
}
