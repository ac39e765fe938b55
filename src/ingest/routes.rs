//! `POST /api/notify`, and how every HTTP request to the door is authorised and read.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;

use super::door::{IDEMPOTENCY_KEY, Refusal, Sender};
use super::request::name_in_header;
use super::{Ingest, answer, demo};
use crate::domain::notification::{Code, Rejection};
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
    let keys = parts.headers.get_all(IDEMPOTENCY_KEY);
    let key = match name_in_header(IDEMPOTENCY_KEY, keys.iter().map(HeaderValue::as_bytes)) {
        Ok(key) => key,
        Err(rejection) => return answer::refused(&Refusal::Rejected(rejection)).into_response(),
    };
    let Wait { wait, wait_ms } = match Query::try_from_uri(&parts.uri) {
        Ok(Query(wait)) => wait,
        Err(error) => {
            let rejection = Rejection::new(Code::InvalidField, "query", error.body_text());
            return answer::refused(&Refusal::Rejected(rejection)).into_response();
        }
    };
    let wait = match ingest.wait(wait.as_deref(), wait_ms.as_deref(), ["wait", "wait_ms"]) {
        Ok(wait) => wait,
        Err(rejection) => return answer::refused(&Refusal::Rejected(rejection)).into_response(),
    };
    let sender = Sender { producer, key, wait };
    match ingest.read(body).await {
        Ok(bytes) => ingest.request(sender, &bytes).await.into_response(),
        Err(refusal) => answer::refused(&refusal).into_response(),
    }
}

/// For what the answer is to wait, and for how long at most, in milliseconds.
#[derive(Deserialize)]
struct Wait {
    wait: Option<String>,
    wait_ms: Option<String>,
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
}
