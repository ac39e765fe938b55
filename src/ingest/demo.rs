//! The demo endpoints that today's pages post to (the contract's section 3). The body is plain text, taken as it comes: a form's content type,
//! which is what curl says by default, changes nothing.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::door::{Refusal, Sender};
use super::{Demo, Ingest, answer};
use crate::domain::notification::{Audience, Code, Draft, Rejection};
use crate::keys::NoKey;

pub(super) fn routes() -> Router<Arc<Ingest>> {
    Router::new()
        .route("/vh-stomp-wsend/push_all_obj", post(everyone))
        .route("/vh-stomp-wsend/push_all_obj/{receiver}", post(receiver))
        .route("/vh-stomp-wsend/cluster/notify/{receiver}", post(receiver))
}

async fn everyone(State(ingest): State<Arc<Ingest>>, request: Request<Body>) -> Response {
    push(&ingest, Audience::Everyone, request).await
}

async fn receiver(
    State(ingest): State<Arc<Ingest>>,
    receiver: Result<Path<String>, PathRejection>,
    request: Request<Body>,
) -> Response {
    match receiver {
        Ok(Path(receiver)) => push(&ingest, Audience::User(receiver), request).await,
        Err(_) => not_text("receiver"),
    }
}

async fn push(ingest: &Ingest, to: Audience, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let producer = match ingest.producer(&parts.headers) {
        Ok(producer) => producer,
        Err(_) if ingest.config.demo == Demo::Open => "anonymous",
        Err(NoKey(reason)) => return answer::unauthorized(&reason),
    };
    let bytes = match ingest.read(body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return answer::refused(&refusal).into_response(),
    };
    let Ok(text) = std::str::from_utf8(&bytes) else {
        return not_text("body");
    };
    let sender = Sender {
        producer,
        key: None,
        wait: None,
    };
    let mut results = ingest.take(sender, vec![Ok(Draft::text(to, text))]).await;
    match results.pop().expect("one answer a draft") {
        Ok(_) => "Message pushed successfully".into_response(),
        Err(refusal) => answer::refused(&refusal).into_response(),
    }
}

fn not_text(field: &str) -> Response {
    let rejection = Rejection::new(Code::InvalidField, field, "is not UTF-8 text");
    answer::refused(&Refusal::Rejected(rejection)).into_response()
}
