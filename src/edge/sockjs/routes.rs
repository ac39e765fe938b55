//! Sorts requests by path and method, and opens WebSockets.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::exchange::{self, Exchange, Verb};
use super::pages::{self, Frame};
use super::sessions::Sessions;
use super::websocket::Framed;
use super::{Options, Refusal, Service, headers};
use crate::edge::handshake::{Handshake, is_asked};
use crate::edge::place::Places;
use crate::edge::websocket::WebSocket;

/// A service below its path.
pub struct Mount<S> {
    pub service: Arc<S>,
    pub options: Options,
    pub sessions: Arc<Sessions>,
    /// Sessions over HTTP whose client has not said yet who it is.
    pub opening: Places,
    frame: Frame,
}

impl<S: Service> Mount<S> {
    fn new(options: Options, service: Arc<S>) -> Self {
        Self {
            sessions: Arc::new(Sessions::new(options.bounds.disconnect_delay, options.max_ended)),
            frame: Frame::new(&options.client_url, &service.frame_ancestors()),
            opening: Places::new(options.max_opening),
            service,
            options,
        }
    }
}

/// The routes of a service.
pub fn mount<S: Service>(options: Options, service: Arc<S>) -> Router {
    let base = options.base;
    let mount = Arc::new(Mount::new(options, service));
    Router::new()
        .route(base, any(base_path::<S>))
        .route(&format!("{base}/"), any(base_path::<S>))
        .route(&format!("{base}/info"), any(info::<S>))
        .route(&format!("{base}/websocket"), any(raw_websocket::<S>))
        .route(&format!("{base}/{{page}}"), any(page::<S>))
        .route(
            &format!("{base}/{{server}}/{{session}}/{{transport}}"),
            any(transport::<S>),
        )
        .with_state(mount)
}

/// A service without SockJS: plain WebSockets at the path itself, and where SockJS has its own.
pub fn websockets<S: Service>(options: Options, service: Arc<S>) -> Router {
    let base = options.base;
    let mount = Arc::new(Mount::new(options, service));
    Router::new()
        .route(base, any(raw_websocket::<S>))
        .route(&format!("{base}/websocket"), any(raw_websocket::<S>))
        .with_state(mount)
}

async fn base_path<S: Service>(State(mount): State<Arc<Mount<S>>>, request: Request) -> Response {
    if mount.options.websocket_at_base && is_asked(request.headers()) {
        return open(&mount, request, false);
    }
    match *request.method() {
        Method::GET | Method::HEAD => pages::greeting(),
        _ => headers::wrong_method("GET"),
    }
}

async fn info<S: Service>(State(mount): State<Arc<Mount<S>>>, request: Request) -> Response {
    if !mount.service.allows_origin(request.headers()) {
        return foreign();
    }
    match *request.method() {
        Method::GET | Method::HEAD => pages::info(&mount.options, request.headers()),
        Method::OPTIONS => headers::preflight("OPTIONS, GET", request.headers()),
        _ => headers::wrong_method("OPTIONS, GET"),
    }
}

async fn page<S: Service>(State(mount): State<Arc<Mount<S>>>, Path(name): Path<String>, request: Request) -> Response {
    match (Frame::is_named(&name), request.method()) {
        (true, _) if mount.options.client_url.is_empty() => pages::no_frame(),
        (true, &Method::GET | &Method::HEAD) => mount.frame.answer(request.headers()),
        (true, _) => headers::wrong_method("GET"),
        (false, _) => not_found(),
    }
}

async fn raw_websocket<S: Service>(State(mount): State<Arc<Mount<S>>>, request: Request) -> Response {
    match *request.method() {
        _ if !mount.options.websocket => not_found(),
        Method::GET => open(&mount, request, false),
        _ => headers::wrong_method("GET"),
    }
}

async fn transport<S: Service>(
    State(mount): State<Arc<Mount<S>>>,
    Path((server, session, transport)): Path<(String, String, String)>,
    request: Request,
) -> Response {
    let is_name = |part: &str| !part.is_empty() && !part.contains('.') && part.len() <= exchange::NAME_MOST;
    if !is_name(&server) || !is_name(&session) {
        return not_found();
    }
    let (verb, methods) = match &*transport {
        "websocket" if mount.options.websocket => {
            return match *request.method() {
                Method::GET if !is_asked(request.headers()) => {
                    let detail = "Can \"Upgrade\" only to \"WebSocket\".";
                    (StatusCode::BAD_REQUEST, detail).into_response()
                }
                Method::GET => open(&mount, request, true),
                _ => headers::wrong_method("GET"),
            };
        }
        "xhr" => (Verb::Poll, "OPTIONS, POST"),
        "xhr_streaming" => (Verb::Stream, "OPTIONS, POST"),
        "xhr_send" => (Verb::Send, "OPTIONS, POST"),
        "eventsource" => (Verb::Events, "OPTIONS, GET"),
        "htmlfile" => (Verb::Page, "OPTIONS, GET"),
        "jsonp" => (Verb::Call, "OPTIONS, GET"),
        "jsonp_send" => (Verb::SendForm, "OPTIONS, POST"),
        _ => return not_found(),
    };
    if !mount.service.allows_origin(request.headers()) {
        return foreign();
    }
    if request.method() == Method::OPTIONS {
        return headers::preflight(methods, request.headers());
    }
    if !methods.split(", ").any(|method| method == request.method().as_str()) {
        return headers::wrong_method(methods);
    }
    let (parts, body) = request.into_parts();
    let cookie = mount.options.cookie_needed.then(|| headers::cookie(&parts.headers));
    let exchange = Exchange {
        mount,
        id: session.into(),
        parts,
    };
    let mut answer = exchange.answer(verb, body).await;
    if let Some(cookie) = cookie {
        headers::insert(answer.headers_mut(), header::SET_COOKIE, &cookie);
    }
    answer
}

/// Opens a WebSocket, with SockJS frames or raw.
fn open<S: Service>(mount: &Arc<Mount<S>>, request: Request, framed: bool) -> Response {
    let (mut parts, _) = request.into_parts();
    let handshake = match Handshake::of(&mut parts) {
        Ok(handshake) => handshake,
        Err(refused) => return refused.into_response(),
    };
    let pass = match let_in(mount, &parts, framed) {
        Ok(pass) => pass,
        Err(refused) => return *refused,
    };
    // Within frames there is nothing to agree on.
    let protocol = (!framed).then(|| mount.service.subprotocol(&parts.headers)).flatten();
    let answer = handshake.answer(protocol);
    let (service, limits, every) = (
        Arc::clone(&mount.service),
        mount.options.limits,
        mount.options.bounds.heartbeat,
    );
    mount.service.tasks().spawn(async move {
        let Ok(upgraded) = handshake.upgrade.await else { return };
        // Boxed: what only the beginning needs would be carried by the idle connection.
        let wire = Box::pin(WebSocket::new(upgraded, limits)).await;
        if !framed {
            service.serve(pass, wire).await;
        } else if let Ok(framed) = Box::pin(Framed::open(wire, every)).await {
            // Boxed, for the other kind of connection shares this task's type.
            Box::pin(service.serve(pass, framed)).await;
        }
    });
    answer
}

/// A pass, if the origin and the service allow it.
fn let_in<S: Service>(mount: &Mount<S>, parts: &Parts, framed: bool) -> Result<S::Pass, Refusal> {
    if !mount.service.allows_origin(&parts.headers) {
        return Err(Box::new(foreign()));
    }
    let transport = if framed { "sockjs" } else { "websocket" };
    mount.service.let_in(parts, transport)
}

fn foreign() -> Response {
    let detail = "this page's origin may not connect (edge.origins)";
    (StatusCode::FORBIDDEN, detail).into_response()
}

pub fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "there is no such page or session here").into_response()
}

/// The origin that a request names.
pub fn origin_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok())
}
