//! For load balancers and orchestrators: alive, and ready to take traffic.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Api;

/// The process runs and answers.
pub async fn live() -> &'static str {
    "live"
}

/// Everything that is needed answers, too; else 503 and what doesn't.
pub async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, Json<Value>) {
    if !api.ready.load(Ordering::Acquire) {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(json!({"ready": false, "reason": "draining or starting"})),
        );
    }
    let store = api.store.ping().await.map_err(|error| error.to_string()).err();
    let queue = api.queue.ping().await.map_err(|error| error.to_string()).err();
    match (store, queue) {
        (None, None) => (StatusCode::OK, Json(json!({"ready": true}))),
        (store, queue) => {
            let body = json!({"ready": false, "record": store, "queue": queue});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body))
        }
    }
}
