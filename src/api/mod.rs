//! What users and operators ask over HTTP: the inbox behind `/api/notify`, health, and what this server is.
//!
//! Every answer about a notification is for the token's user alone.

mod failure;
pub mod health;
mod history;
mod inbox;
mod plugins;
mod presence;
mod revoke;
mod schema;
mod ticket;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::http::HeaderMap;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::attach::{Events, Office};
use crate::auth::{Auth, Revocations, Tickets};
use crate::keys::Keys;
use crate::queue::Queue;
use crate::store::Store;
use crate::topic::Topic;
use failure::Failure;

/// Bounds of the answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Rows of a history page.
    pub max_page: u32,
    /// Ids of a viewed, delete or ack request.
    pub max_ids: usize,
    /// Users of a presence request.
    pub max_users: usize,
    /// Longest time that a request body may take to arrive, in milliseconds.
    pub read_timeout_ms: u64,
    /// Longest time for an answer about a token, in milliseconds.
    pub ask_timeout_ms: u64,
    /// Who may revoke sessions and disable plugins: names of `ingest.keys`. In dev mode anybody may.
    pub admins: Vec<String>,
    /// Live revocations; beyond it further ones are refused. Every node holds all of them.
    pub max_revocations: usize,
    /// How long a revocation is kept that doesn't say until when, in seconds: the longest life of a token.
    pub revocation_seconds: u64,
}

/// Whatever `max_ids` is, no larger body is read.
const MAX_BODY: usize = 33_554_431;

impl Default for Config {
    fn default() -> Self {
        Self {
            max_page: 200,
            max_ids: 1_000,
            max_users: 100,
            read_timeout_ms: 15_000,
            ask_timeout_ms: 5_000,
            admins: Vec::new(),
            max_revocations: 100_000,
            revocation_seconds: 366 * 24 * 3600,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `api`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if !(1..=10_000).contains(&self.max_page) {
            problems.push(("max_page".into(), "must lie between 1 and 10000".into()));
        }
        if !(1..=100_000).contains(&self.max_ids) {
            problems.push(("max_ids".into(), "must lie between 1 and 100000".into()));
        }
        if !(1..=10_000_000).contains(&self.max_revocations) {
            problems.push(("max_revocations".into(), "must lie between 1 and 10000000".into()));
        }
        if !(1..=10 * 366 * 24 * 3600).contains(&self.revocation_seconds) {
            let reason = "must lie between 1 and 316224000 (ten years)";
            problems.push(("revocation_seconds".into(), reason.into()));
        }
        if !(1..=1_000).contains(&self.max_users) {
            problems.push(("max_users".into(), "must lie between 1 and 1000".into()));
        }
        for (path, value) in [
            ("read_timeout_ms", self.read_timeout_ms),
            ("ask_timeout_ms", self.ask_timeout_ms),
        ] {
            if !(1..=600_000).contains(&value) {
                problems.push((path.into(), "must lie between 1 and 600000".into()));
            }
        }
        problems
    }
}

/// Everything that these routes need.
pub struct Api {
    pub config: Config,
    pub auth: Arc<dyn Auth>,
    /// Keys of producers, for what is asked by them and not by users; with `open`, as in dev mode, none is asked for.
    pub keys: Arc<Keys>,
    pub open: bool,
    pub revocations: Arc<Revocations>,
    pub tickets: Arc<Tickets>,
    pub store: Arc<dyn Store>,
    pub queue: Arc<dyn Queue>,
    pub topic: Arc<dyn Topic>,
    /// Who is attached; `None` where nobody may.
    pub attached: Option<Office>,
    pub events: Events,
    /// Whether the process takes traffic: false before everything is up, and from the drain on.
    pub ready: Arc<AtomicBool>,
    /// Something that the process can't do without is gone.
    pub failed: CancellationToken,
    pub probe: health::Probe,
    /// For the page: how users and producers say who they are.
    pub about: About,
}

/// `GET /api/about`.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    pub version: &'static str,
    /// `dev` or `jwt`.
    pub auth: &'static str,
    /// `open`, or `key` when publishing needs `X-API-Key`.
    pub publish: &'static str,
    /// Whether plugins attach.
    pub plugins: bool,
}

/// The routes of the API.
pub fn routes(api: Arc<Api>) -> Router {
    Router::new()
        .route("/api/about", get(about))
        .route("/api/notify/history", get(inbox::history))
        .route("/api/notify/unread", get(inbox::unread))
        .route("/api/notify/viewed", post(inbox::viewed))
        .route("/api/notify/delete", delete(inbox::delete))
        .route("/api/notify/ack", post(inbox::ack))
        .route("/api/ticket", post(ticket::ticket))
        .route("/api/sessions/revoke", post(revoke::revoke))
        .route("/api/plugins", get(plugins::list))
        .route("/api/plugins/{name}/disable", post(plugins::disable))
        .route("/api/plugins/{name}/enable", post(plugins::enable))
        .route("/api/plugins/schema", get(schema::index))
        .route("/api/plugins/schema/v1/{file}", get(schema::one))
        .route("/api/presence", get(presence::presence))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(api)
}

impl Api {
    /// Who asks for what only admins may do; `doing`, such as (`revoking`, `revoke`), says what that is.
    fn admin(&self, headers: &HeaderMap, (doing, may): (&str, &str)) -> Result<&str, Failure> {
        let by = self.keys.caller(headers, self.open, doing)?;
        if !self.open && !self.config.admins.iter().any(|admin| admin == by) {
            let reason = format!("{by} may not {may}: it is not among api.admins");
            return Err(Failure::forbidden("X-API-Key", reason));
        }
        Ok(by)
    }
}

async fn about(axum::extract::State(api): axum::extract::State<Arc<Api>>) -> Json<Value> {
    Json(json!(api.about))
}
