//! The STOMP endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

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
    if edge.tasks.is_closed() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server is going away; come back").into_response();
    }
    let (mut parts, _) = request.into_parts();
    if !edge.any_origin && !origin::is_allowed(&parts.headers, &edge.config.origins) {
        return (
            StatusCode::FORBIDDEN,
            "this page's origin may not connect (edge.origins)",
        )
            .into_response();
    }
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(rejection) => return rejection.into_response(),
    };
    let most = edge.config.max_connections;
    if edge.open.fetch_add(1, Ordering::Relaxed) >= most {
        edge.open.fetch_sub(1, Ordering::Relaxed);
        let detail = format!("this node holds {most} connections already (edge.max_connections)");
        return (StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    }
    let mut upgrade = upgrade
        .read_buffer_size(edge.config.read_buffer)
        // Several small frames that go out together are one write; the buffer stays with the connection, so it is small.
        // Small frames that go out together are one write; the buffer stays with the connection, so it is small, too.
        .write_buffer_size(4 * 1024)
        .max_message_size(edge.config.max_message)
        .max_frame_size(edge.config.max_message);
    let offered: Vec<_> = upgrade.requested_protocols().cloned().collect();
    let offered = offered.iter().filter_map(|protocol| protocol.to_str().ok());
    if let Some(protocol) = Version::best_subprotocol(offered) {
        upgrade.set_selected_protocol(HeaderValue::from_static(protocol));
    }
    let failed = Arc::clone(&edge);
    upgrade
        .on_failed_upgrade(move |_| {
            failed.open.fetch_sub(1, Ordering::Relaxed);
        })
        .on_upgrade(move |socket| {
            let tasks = edge.tasks.clone();
            tasks.track_future(connection::serve(edge, socket))
        })
}
