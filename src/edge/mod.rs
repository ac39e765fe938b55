//! The edge: transports in, sessions behind them, and what they hear.
//!
//! One task a connection. It shares the hub (who is here and what rings), the outcomes (confirmations on their way to the record), and the rules.

pub mod admission;
mod admit;
mod asking;
mod comings;
pub mod commands;
mod connection;
mod handshake;
mod hub;
mod mailbox;
mod origin;
mod outcomes;
mod patience;
mod place;
mod query;
mod refused;
mod revoked;
mod rounds;
mod routes;
pub mod sockjs;
mod sse;
pub mod tail;
mod transport;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

pub use comings::Comings;
pub use hub::Hub;
pub use origin::cross_origin;
pub use outcomes::Outcomes;
pub use place::Places;
pub use query::no_tokens;
pub use revoked::Watch;
pub use rounds::Rounds;
pub use routes::{events, routes};

use admission::Admission;

use crate::attach::{Events, Hooks};
use crate::auth::{Auth, Tickets};
use crate::session::{Disconnect, Reason, Rules};
use crate::store::Store;
use crate::topic::Topic;

/// How connections are held.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Connections at once; further ones get 503. Each takes a file descriptor.
    pub max_connections: usize,
    /// Octets of one WebSocket message, which may hold several frames.
    pub max_message: usize,
    /// Octets read at once; allocated for every connection. A larger frame is read in one piece all the same, once its head is known.
    pub read_buffer: usize,
    /// Deliveries that wait for a session's task. What has a record is read from it later; too many others end the session.
    pub mailbox: usize,
    /// How long a client may take to accept what is sent to it, in milliseconds.
    pub write_timeout_ms: u64,
    /// How long to wait for an answer about a token, or for a place among the outcomes, in milliseconds.
    pub ask_timeout_ms: u64,
    /// How long a client may take to answer a close, in milliseconds.
    pub close_timeout_ms: u64,
    /// Confirmations that wait for the record, and how many one transaction takes.
    pub max_outcomes: usize,
    pub max_outcome_batch: usize,
    /// How long confirmations are gathered before they are stored together, in milliseconds: fewer transactions leave the record to deliveries.
    pub outcome_linger_ms: u64,
    /// How often the tail looks how far the lanes have come, in milliseconds.
    pub tail_every_ms: u64,
    /// The same while bells are missing: the topic is away, or a dispatcher could not ring.
    pub tail_trouble_ms: u64,
    /// How long it may take until a stored notification is rung, in milliseconds: longer than the takeover of a lane and the time in which a broken
    /// line to the topic is noticed, together. When bells are missing the tail reads so far back.
    pub tail_grace_ms: u64,
    /// Rows that the tail reads at once.
    pub tail_batch: u32,
    /// How often to ask the record for revocations, in milliseconds.
    pub revocation_poll_ms: u64,
    /// By how much the clocks of the nodes may differ, in milliseconds: each poll reads so far back.
    pub revocation_overlap_ms: u64,
    /// Sessions that a drain closes a second.
    pub drain_per_second: u32,
    /// A drained client is asked to come back within this time, at a moment of its own, in milliseconds.
    pub return_within_ms: u64,
    pub sockjs: sockjs::Config,
    /// Origins of pages that may connect, such as `https://shop.example`, beside the server's own. In dev mode any may.
    pub origins: Vec<String>,
    /// How fast sessions are admitted.
    pub admission: admission::Config,
    /// Commands to attached plugins.
    pub commands: commands::Config,
    /// Octets of events that wait for a client to take them.
    pub sse_buffer: usize,
    /// Whether `GET /sse/notify?token=TOKEN` is served. A token in a URL ends in logs, where whoever reads them can use it; a ticket is used up by then.
    pub query_token: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 15_000,
            max_message: 1_048_576,
            read_buffer: 256,
            mailbox: 1_024,
            write_timeout_ms: 10_000,
            ask_timeout_ms: 5_000,
            close_timeout_ms: 2_000,
            max_outcomes: 16_384,
            max_outcome_batch: 500,
            outcome_linger_ms: 5,
            tail_every_ms: 1_000,
            tail_trouble_ms: 500,
            tail_grace_ms: 15_000,
            tail_batch: 2_000,
            revocation_poll_ms: 4_000,
            revocation_overlap_ms: 300_000,
            drain_per_second: 2_000,
            return_within_ms: 5_000,
            sockjs: sockjs::Config::default(),
            origins: Vec::new(),
            admission: admission::Config::default(),
            commands: commands::Config::default(),
            sse_buffer: 65_536,
            query_token: false,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `edge`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("max_connections", self.max_connections as u64, 1, 10_000_000),
            ("max_message", self.max_message as u64, 1_024, 33_554_431),
            ("read_buffer", self.read_buffer as u64, 256, 1_048_576),
            ("mailbox", self.mailbox as u64, 1, 1_000_000),
            ("write_timeout_ms", self.write_timeout_ms, 1, 600_000),
            ("ask_timeout_ms", self.ask_timeout_ms, 1, 600_000),
            ("close_timeout_ms", self.close_timeout_ms, 1, 10_000),
            ("max_outcomes", self.max_outcomes as u64, 1, 10_000_000),
            ("max_outcome_batch", self.max_outcome_batch as u64, 1, 10_000),
            ("outcome_linger_ms", self.outcome_linger_ms, 0, 1_000),
            ("tail_every_ms", self.tail_every_ms, 10, 60_000),
            ("tail_trouble_ms", self.tail_trouble_ms, 10, 60_000),
            ("tail_grace_ms", self.tail_grace_ms, 0, 600_000),
            ("tail_batch", u64::from(self.tail_batch), 1, 100_000),
            ("revocation_poll_ms", self.revocation_poll_ms, 10, 600_000),
            ("revocation_overlap_ms", self.revocation_overlap_ms, 0, 3_600_000),
            ("drain_per_second", u64::from(self.drain_per_second), 1, 1_000_000),
            ("sse_buffer", self.sse_buffer as u64, 1_024, 16_777_216),
            ("return_within_ms", self.return_within_ms, 0, 300_000),
        ];
        let sockjs = self.sockjs.problems().into_iter();
        let admission = self.admission.problems().into_iter();
        let commands = self.commands.problems().into_iter();
        let origins = self.origins.iter().enumerate();
        let origins = origins.filter(|(_, origin)| *origin != "*" && !origin::is_origin(origin));
        bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .chain(sockjs.map(|(path, reason)| (format!("sockjs.{path}"), reason)))
            .chain(origins.map(|(index, _)| (format!("origins[{index}]"), NO_ORIGIN.to_owned())))
            .chain(admission.map(|(path, reason)| (format!("admission.{path}"), reason)))
            .chain(commands.map(|(path, reason)| (format!("commands.{path}"), reason)))
            .collect()
    }
}

const NO_ORIGIN: &str =
    "is no origin such as https://shop.example or http://localhost:3000: no path, no slash at its end";

/// What all connections of this node share.
pub struct Edge {
    pub config: Config,
    pub rules: Arc<Rules>,
    pub max_per_user: u32,
    /// In dev mode pages of any origin may connect.
    pub any_origin: bool,
    pub auth: Arc<dyn Auth>,
    pub tickets: Arc<Tickets>,
    pub store: Arc<dyn Store>,
    pub topic: Arc<dyn Topic>,
    pub hooks: Hooks,
    pub hub: Arc<Hub>,
    pub outcomes: Outcomes,
    pub told: Events,
    pub comings: Comings,
    pub places: Places,
    pub admission: Admission,
    /// Owns the connections' tasks, so that a drain waits for them.
    pub tasks: TaskTracker,
}

impl Edge {
    /// Closes every session, at a pace: clients that all came back at once would be a storm.
    pub async fn drain(&self) {
        const TICKS_PER_SECOND: u32 = 20;
        // First: a connection that begins now is not among `all`, and sees by this that it has to end.
        self.tasks.close();
        let mailboxes = self.hub.all();
        let per_tick = (self.config.drain_per_second / TICKS_PER_SECOND).max(1) as usize;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / TICKS_PER_SECOND);
        // Wherever they go, they are let in no faster than that.
        let within = self.config.admission.spread(mailboxes.len());
        for some in mailboxes.chunks(per_tick) {
            tick.tick().await;
            for mailbox in some {
                mailbox.end(self.draining(within));
            }
        }
        self.tasks.wait().await;
    }

    /// The end of a session of a node that goes away; its client is asked to come back within this time, or `return_within_ms` where that is longer.
    fn draining(&self, within: Duration) -> Disconnect {
        let within = within.max(Duration::from_millis(self.config.return_within_ms));
        Disconnect::new(Reason::Draining, "the server is going away; come back").with_retry_after(at_random(within))
    }
}

/// A moment of one's own within this time.
fn at_random(within: Duration) -> Duration {
    let dice = uuid::Uuid::new_v4().as_fields().0;
    within.mul_f64(f64::from(dice) / f64::from(u32::MAX))
}
