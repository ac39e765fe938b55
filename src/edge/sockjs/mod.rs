//! SockJS (protocol 0.3.3): a session of messages for browsers and networks where a WebSocket does not get through.
//!
//! A [`Service`] is mounted below a path and gets a [`Transport`] for each session, whatever it travels by. Nothing here knows what the messages
//! mean: the feature `test-echo` mounts the services that the protocol's public test suite asks for, on the same code.
//!
//! - `session` is a session over HTTP, `sessions` finds it by its id;
//! - `websocket` puts the frames over a WebSocket;
//! - `routes` sorts requests, `exchange` answers those of a session, `pages` the others; `headers` are what answers share.
//!
//! # In a cluster
//! A session over HTTP lives on one node, so a load balancer has to send all of its requests there: by the part of the path that names it
//! (`/stomp-ws/SERVER/SESSION/…`). A request that reaches another node gets 404, or an open frame where the client expects none: it gives the
//! session up at once, opens a new one, and resumes by `last-seq`.

#[cfg(all(feature = "test-echo", debug_assertions))]
pub mod echo;
mod exchange;
mod headers;
mod pages;
mod routes;
mod session;
mod sessions;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

pub use routes::{mount, websockets};

use self::session::Bounds;
use super::transport::Transport;
use super::websocket::Limits;

/// SockJS below `/stomp-ws`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Without it there are WebSockets alone.
    pub enabled: bool,
    /// How often a client hears something at least, in milliseconds, so that proxies keep its connection.
    pub heartbeat_ms: u64,
    /// How long a session lives between two of its requests, in milliseconds.
    pub disconnect_delay_ms: u64,
    /// Octets of a streaming response; the client then opens the next one.
    pub response_limit: usize,
    /// Octets that wait for a client between two of its requests.
    pub max_outbound: usize,
    /// How long the messages of one request may take to arrive, and to be taken, in milliseconds.
    pub send_timeout_ms: u64,
    /// Asks for the cookie JSESSIONID, for load balancers that go by it.
    pub cookie_needed: bool,
    /// Sessions over HTTP whose client has not said yet who it is.
    pub max_opening: usize,
    /// Where the page that old browsers put into a frame finds `sockjs-client`: an address, or a path on this server's host. Without one there is no
    /// such page, for the script runs in this server's name.
    pub client_url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            heartbeat_ms: 25_000,
            disconnect_delay_ms: 30_000,
            response_limit: 131_072,
            max_outbound: 131_072,
            send_timeout_ms: 15_000,
            cookie_needed: false,
            max_opening: 2_000,
            client_url: String::new(),
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `edge.sockjs`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("heartbeat_ms", self.heartbeat_ms, 100, 600_000),
            ("disconnect_delay_ms", self.disconnect_delay_ms, 100, 600_000),
            ("response_limit", self.response_limit as u64, 1, 1_073_741_824),
            ("max_outbound", self.max_outbound as u64, 1_024, 33_554_432),
            ("send_timeout_ms", self.send_timeout_ms, 1, 600_000),
            ("max_opening", self.max_opening as u64, 1, 10_000_000),
        ];
        let mut problems: Vec<_> = bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .collect();
        let begins = ["/", "https://", "http://"]
            .iter()
            .any(|begin| self.client_url.starts_with(begin));
        let is_plain = |letter: u8| letter.is_ascii_graphic() && !b"\"'<>;,".contains(&letter);
        if !self.client_url.is_empty() && (!begins || !self.client_url.bytes().all(is_plain)) {
            let reason = "must be a path or an address, without spaces, quotes, <, >, commas and semicolons";
            problems.push(("client_url".to_owned(), reason.to_owned()));
        }
        problems
    }
}

/// An answer that says why not. Boxed: it is seldom, and every result would have its size.
pub type Refusal = Box<Response>;

/// What is served over SockJS.
pub trait Service: Send + Sync + 'static {
    /// What a session holds for as long as it lives, such as a place on the node.
    type Pass: Send + 'static;

    /// Whether the page that sent these headers may talk to this service.
    fn allows_origin(&self, headers: &HeaderMap) -> bool;

    /// The sources that may put this service's pages into a frame, as a content security policy lists them.
    fn frame_ancestors(&self) -> String;

    /// Whether a session may be opened now; else the answer that says why not.
    fn let_in(&self, parts: &Parts, transport: &'static str) -> Result<Self::Pass, Refusal>;

    /// The subprotocol of a WebSocket, among those that its client offers.
    fn subprotocol(&self, headers: &HeaderMap) -> Option<&'static str>;

    /// Serves one session to its end.
    fn serve(
        self: Arc<Self>,
        pass: Self::Pass,
        transport: impl Transport + 'static,
    ) -> impl Future<Output = ()> + Send + 'static;

    /// Owns the sessions' tasks.
    fn tasks(&self) -> &TaskTracker;
}

/// How a service is mounted.
#[derive(Debug, Clone)]
pub struct Options {
    /// The path, without a slash at its end.
    pub base: &'static str,
    /// Whether WebSockets are offered.
    pub websocket: bool,
    /// Whether a plain WebSocket is taken at the path itself, too.
    pub websocket_at_base: bool,
    pub cookie_needed: bool,
    pub client_url: String,
    pub bounds: Bounds,
    /// Octets of a request's body.
    pub max_body: usize,
    pub send_timeout: Duration,
    /// Sessions over HTTP whose client the service doesn't know yet.
    pub max_opening: usize,
    /// Sessions that are remembered after their end.
    pub max_ended: usize,
    pub limits: Limits,
}

impl Options {
    pub fn new(base: &'static str, config: &super::Config) -> Self {
        let sockjs = &config.sockjs;
        Self {
            base,
            websocket: true,
            websocket_at_base: false,
            cookie_needed: sockjs.cookie_needed,
            client_url: sockjs.client_url.clone(),
            bounds: Bounds {
                outbound: sockjs.max_outbound,
                inbound: config.max_message,
                response: sockjs.response_limit,
                heartbeat: Duration::from_millis(sockjs.heartbeat_ms),
                disconnect_delay: Duration::from_millis(sockjs.disconnect_delay_ms),
            },
            max_body: config.max_message,
            send_timeout: Duration::from_millis(sockjs.send_timeout_ms),
            max_opening: sockjs.max_opening,
            max_ended: config.max_connections,
            limits: Limits::from(config),
        }
    }
}
