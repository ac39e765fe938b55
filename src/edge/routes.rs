//! The STOMP endpoint: over WebSockets, and over SockJS.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_util::task::TaskTracker;

use super::place::Place;
use super::sockjs::{self, Service};
use super::transport::Transport;
use super::{Edge, connection, origin};
use crate::stomp::Version;

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

impl Service for Edge {
    type Pass = Place;

    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        self.any_origin || origin::is_allowed(headers, &self.config.origins)
    }

    fn frame_ancestors(&self) -> String {
        match self.any_origin {
            true => "*".to_owned(),
            false => format!("'self' {}", self.config.origins.join(" ")),
        }
    }

    fn let_in(&self, _: &HeaderMap) -> Result<Place, Response> {
        if self.tasks.is_closed() {
            let detail = "the server is going away; come back";
            return Err((StatusCode::SERVICE_UNAVAILABLE, detail).into_response());
        }
        self.places.take().ok_or_else(|| {
            let most = self.config.max_connections;
            let detail = format!("this node holds {most} connections already (edge.max_connections)");
            (StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        })
    }

    fn subprotocol(&self, headers: &HeaderMap) -> Option<&'static str> {
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
        Version::best_subprotocol(offered.iter().filter_map(|protocols| protocols.to_str().ok()))
    }

    async fn serve(self: Arc<Self>, place: Place, transport: impl Transport + 'static) {
        connection::serve(self, place, transport).await;
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}
