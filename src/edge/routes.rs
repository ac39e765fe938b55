//! The STOMP endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::handshake::Handshake;
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
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(refused) => return refused.into_response(),
    };
    let most = edge.config.max_connections;
    if edge.open.fetch_add(1, Ordering::Relaxed) >= most {
        edge.open.fetch_sub(1, Ordering::Relaxed);
        let detail = format!("this node holds {most} connections already (edge.max_connections)");
        return (StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    }
    let offered = parts.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let offered = offered.iter().filter_map(|protocols| protocols.to_str().ok());
    let answer = handshake.answer(Version::best_subprotocol(offered));
    let tasks = edge.tasks.clone();
    tasks.spawn(async move {
        match handshake.upgrade.await {
            Ok(upgraded) => connection::serve(edge, upgraded).await,
            Err(_) => {
                edge.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
    });
    answer
}
