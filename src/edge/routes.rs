//! The STOMP endpoint.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::handshake::Handshake;
use super::place::Place;
use super::websocket::WebSocket;
use super::{Edge, connection, origin};
use crate::stomp::Version;

/// The endpoint as today's clients know it; SockJS lives below it.
pub const ENDPOINT: &str = "/stomp-ws";

/// The routes of the edge.
pub fn routes(edge: Arc<Edge>) -> Router {
    Router::new()
        .route(ENDPOINT, get(websocket))
        .route(&format!("{ENDPOINT}/websocket"), get(websocket))
        .with_state(edge)
}

async fn websocket(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(refused) => return refused.into_response(),
    };
    let place = match edge.let_in(&parts.headers) {
        Ok(place) => place,
        Err(refused) => return refused,
    };
    let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|protocols| protocols.to_str().ok());
    let answer = handshake.answer(Version::best_subprotocol(offered));
    let tasks = edge.tasks.clone();
    tasks.spawn(async move {
        let Ok(upgraded) = handshake.upgrade.await else { return };
        // Boxed: what only the beginning needs would be carried by the idle connection.
        let transport = Box::pin(WebSocket::new(upgraded, &edge.config)).await;
        connection::serve(edge, place, transport).await;
    });
    answer
}

impl Edge {
    /// Whether a request with these headers may open a session now: its place, or the answer that says why not.
    pub(super) fn let_in(&self, headers: &HeaderMap) -> Result<Place, Response> {
        if self.tasks.is_closed() {
            let detail = "the server is going away; come back";
            return Err((StatusCode::SERVICE_UNAVAILABLE, detail).into_response());
        }
        if !self.any_origin && !origin::is_allowed(headers, &self.config.origins) {
            let detail = "this page's origin may not connect (edge.origins)";
            return Err((StatusCode::FORBIDDEN, detail).into_response());
        }
        self.places.take().ok_or_else(|| {
            let most = self.config.max_connections;
            let detail = format!("this node holds {most} connections already (edge.max_connections)");
            (StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
        })
    }
}
