//! The endpoints at which sessions are opened: STOMP over WebSockets and over SockJS, and server-sent events.

use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::task::TaskTracker;

use super::place::{Pass, Place};
use super::refused::Refused;
use super::sockjs::{self, Refusal, Service};
use super::transport::Transport;
use super::{Edge, connection, origin, sse};
use crate::http;
use crate::stomp::Version;
use crate::telemetry::events;

/// The endpoint as today's clients know it; SockJS lives below it.
pub const ENDPOINT: &str = "/stomp-ws";

/// The routes of the edge. They answer for other origins themselves.
pub fn routes(edge: Arc<Edge>) -> Router {
    #[cfg(all(feature = "test-echo", debug_assertions))]
    let echo = sockjs::echo::routes(&edge.config);
    let options = sockjs::Options {
        websocket_at_base: true,
        ..sockjs::Options::new(ENDPOINT, &edge.config)
    };
    let routes = match edge.config.sockjs.enabled {
        true => sockjs::mount(options, edge),
        false => sockjs::websockets(options, edge),
    };
    #[cfg(all(feature = "test-echo", debug_assertions))]
    let routes = routes.merge(echo);
    routes
}

/// The route of server-sent events.
pub fn events(edge: Arc<Edge>) -> Router {
    Router::new().route(sse::ENDPOINT, get(sse::notify)).with_state(edge)
}

impl Edge {
    /// A pass for a session that opens now, or the answer that says why there is none.
    pub(super) fn pass(&self, parts: &Parts, transport: &'static str) -> Result<Pass, Refused> {
        let place = self.place()?;
        let wants = self.auth.wants_facts();
        let facts = wants.then(|| Arc::new(http::facts(&parts.headers, &parts.extensions, transport)));
        Ok(Pass { place, facts })
    }

    fn place(&self) -> Result<Place, Refused> {
        if self.tasks.is_closed() {
            events::session_refused("draining");
            return Err(Refused::later("draining", "the server is going away; come back"));
        }
        self.places.take().ok_or_else(|| {
            events::session_refused("no-place");
            let most = self.config.max_connections;
            let reason = format!("this node holds {most} connections already (edge.max_connections)");
            Refused::later("unavailable", reason)
        })
    }
}

impl Service for Edge {
    type Pass = Pass;

    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let allowed = self.any_origin || origin::is_allowed(headers, &self.config.origins);
        if !allowed {
            events::session_refused("origin");
        }
        allowed
    }

    fn frame_ancestors(&self) -> String {
        match self.any_origin {
            true => "*".to_owned(),
            false => format!("'self' {}", self.config.origins.join(" ")),
        }
    }

    fn let_in(&self, parts: &Parts, transport: &'static str) -> Result<Pass, Refusal> {
        self.pass(parts, transport)
            .map_err(|refused| Box::new(refused.into_response()))
    }

    fn subprotocol(&self, headers: &HeaderMap) -> Option<&'static str> {
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        Version::best_subprotocol(offered.iter().filter_map(|protocols| protocols.to_str().ok()))
    }

    async fn serve(self: Arc<Self>, pass: Pass, transport: impl Transport + 'static) {
        connection::serve(self, pass, transport).await;
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}
