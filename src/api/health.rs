//! For load balancers and orchestrators: alive, and ready to take traffic.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Api;
use crate::queue::Queue;
use crate::store::Store;

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
    if api.failed.is_cancelled() {
        let body = json!({"ready": false, "reason": "a task that everything depends on is gone"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body));
    }
    let probe = api.probe.ask(&*api.store, &*api.queue).await;
    if probe.record.is_none() && probe.queue.is_none() {
        return (StatusCode::OK, Json(json!({"ready": true})));
    }
    let body = json!({"ready": false, "record": probe.record, "queue": probe.queue});
    (StatusCode::SERVICE_UNAVAILABLE, Json(body))
}

/// When what this server needs answered last. A probe writes, so however many ask, it is made once in a while; a failure is asked about anew.
#[derive(Debug, Default)]
pub struct Probe(Mutex<Option<Instant>>);

/// What did not answer, and why.
#[derive(Debug, Default)]
struct Probed {
    record: Option<String>,
    queue: Option<String>,
}

/// How old a good answer may be.
const FRESH: Duration = Duration::from_millis(250);

impl Probe {
    async fn ask(&self, store: &dyn Store, queue: &dyn Queue) -> Probed {
        let mut last = self.0.lock().await;
        if last.is_some_and(|answered| answered.elapsed() < FRESH) {
            return Probed::default();
        }
        let probed = Probed {
            record: store.ping().await.map_err(|error| error.to_string()).err(),
            queue: queue.ping().await.map_err(|error| error.to_string()).err(),
        };
        *last = (probed.record.is_none() && probed.queue.is_none()).then(Instant::now);
        probed
    }
}
