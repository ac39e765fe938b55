//! `POST /api/notify`, and how every request to the door is authorised and read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::door::{Receipt, Refusal, Sender};
use super::{Ingest, answer, demo};
use crate::domain::notification::{Code, Draft, Rejection};

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
        Err(answer) => return answer,
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
        let draft = draft(&bytes);
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
    pub(super) fn producer(&self, headers: &HeaderMap) -> Result<&str, Response> {
        match headers.get("x-api-key") {
            Some(key) => match self.keys.producer(key.as_bytes()) {
                Some(producer) => Ok(producer),
                None if self.open => Ok("anonymous"),
                None => Err(answer::unauthorized("this key is not known")),
            },
            None if self.open => Ok("anonymous"),
            None => Err(answer::unauthorized("publishing needs a key")),
        }
    }

    /// Reads a request body within its bounds of size and time.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, Refusal> {
        let limit = self.config.max_body;
        let reading = axum::body::to_bytes(body, limit);
        match tokio::time::timeout(Duration::from_millis(self.config.read_timeout_ms), reading).await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) if is_over_limit(&error) => {
                let reason = format!("is larger than {limit} bytes (ingest.max_body)");
                Err(Refusal::Rejected(Rejection::new(Code::TooLarge, "body", reason)))
            }
            Ok(Err(error)) => Err(rejected("body", format!("broke off: {error}"))),
            Err(_) => {
                let reason = format!(
                    "did not arrive within {} ms (ingest.read_timeout_ms)",
                    self.config.read_timeout_ms
                );
                Err(rejected("body", reason))
            }
        }
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
    const FIELD: &str = "Idempotency-Key";
    let Some(value) = headers.get(FIELD) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if (1..=255).contains(&key.len()) => Ok(Some(key)),
        Ok(_) => Err(Rejection::new(
            Code::InvalidField,
            FIELD,
            "must have 1 to 255 characters",
        )),
        Err(_) => Err(Rejection::new(Code::InvalidField, FIELD, "must be visible ASCII")),
    }
}

/// The items of an array, each read by itself: one that can't be read is no reason to refuse its neighbours.
fn array(bytes: &[u8], max: usize) -> Result<Vec<Result<Draft, Rejection>>, Rejection> {
    let items: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|error| bad_json(&error))?;
    match items.len() {
        0 => Err(Rejection::new(Code::InvalidField, "body", "is an empty array")),
        n if n > max => {
            let reason = format!("has {n} items; at most {max} are taken (ingest.max_array)");
            Err(Rejection::new(Code::TooLarge, "body", reason))
        }
        _ => Ok(items.into_iter().map(|item| draft(item.get().as_bytes())).collect()),
    }
}

fn draft(bytes: &[u8]) -> Result<Draft, Rejection> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
    let draft = Draft::deserialize(tracked).map_err(|error| {
        let path = track.path().to_string();
        if error.is_data() && path != "." {
            Rejection::new(Code::InvalidField, path, error.to_string())
        } else {
            bad_json(&error)
        }
    })?;
    reader.end().map_err(|error| bad_json(&error))?;
    Ok(draft)
}

fn bad_json(error: &serde_json::Error) -> Rejection {
    Rejection::new(Code::BadJson, "body", format!("is no notification in JSON: {error}"))
}

fn rejected(field: &str, reason: String) -> Refusal {
    Refusal::Rejected(Rejection::new(Code::InvalidField, field, reason))
}

fn is_over_limit(error: &axum::Error) -> bool {
    use std::error::Error;
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}
