//! What every door that speaks HTTP shares: connections within bounds, bodies within bounds, and JSON for what no route answers.
//!
//! A request's head has a time and a size, so a client that sends it drop by drop holds a place for no longer than that; one that takes nothing
//! of its answer is broken off. An upgraded connection leaves: from then on it counts as a session. A response that stays open for a session
//! is lent its connection by [`Wire`].
//!
//! # Why not `axum::serve`
//! It gives hyper no timer, and so a request's head any time; and it takes any number of connections.

mod patient;
mod wire;

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, UpgradeableConnection};
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use wire::{Lent, Sent, Wire};

use self::patient::Patient;
use crate::domain::facts::Facts;
use crate::lifecycle::Lifecycle;

/// Bounds of HTTP connections. Sessions are bounded by `edge`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// HTTP connections at once; further ones wait to be accepted. Each takes a file descriptor until it has become a session.
    pub max_connections: usize,
    /// Longest time for a request's head, in milliseconds, from the opening or from the answer before: an idle connection is closed by it, too.
    pub head_timeout_ms: u64,
    /// How long a client may take nothing of what it is sent, in milliseconds.
    pub write_timeout_ms: u64,
    /// Octets that one who can't keep up has to take a second at least, or what waits for it as a whole within `write_timeout_ms`.
    pub min_rate: u32,
    /// Connections that wait to be accepted, as far as the system lets it be so many (`net.core.somaxconn`). One that comes when they are too many
    /// is tried again by its client's system after 1 s, then 3 s, 7 s: where thousands come back at once, that is what they would wait for.
    pub backlog: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 4_000,
            head_timeout_ms: 30_000,
            write_timeout_ms: 30_000,
            min_rate: 1_024,
            backlog: 4_096,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `http`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("max_connections", self.max_connections as u64, 1, 1_000_000),
            ("head_timeout_ms", self.head_timeout_ms, 100, 600_000),
            ("write_timeout_ms", self.write_timeout_ms, 100, 600_000),
            ("min_rate", u64::from(self.min_rate), 1, 1_000_000_000),
            ("backlog", u64::from(self.backlog), 1, 65_535),
        ];
        bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .collect()
    }
}

/// Largest head of a request: its line and its headers.
const MAX_HEAD: usize = 64 * 1024;
/// Octets of a body that are made room for before they come: its size is only what the client says.
const BELIEVED: usize = 16 * 1024;
/// Octets of a body that is too large, read only so that its sender gets the answer.
const MAX_DISCARDED: usize = 64 * 1024 * 1024;
/// How long a drain waits for requests that are under way.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait when the system has no descriptor left for a new connection.
const BREATHE: Duration = Duration::from_millis(200);

/// Takes the address. From now on clients may come, and wait until they are served.
pub fn listen(address: SocketAddr, config: &Config) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Connections of the process before may still be on their way out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(config.backlog)
}

/// Serves `routes` until the drain, and then what is under way.
pub async fn serve(config: Config, listener: TcpListener, routes: Router, lifecycle: Lifecycle) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(config.head_timeout_ms))
        .max_buf_size(MAX_HEAD);
    let places = Arc::new(Semaphore::new(config.max_connections));
    let accepted = async || {
        let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
        (accept(&listener).await, place)
    };
    while let Some(((stream, address), place)) = lifecycle.drain.run_until_cancelled(accepted()).await {
        // One at a time, behind everything that is ready to go on: thousands who come at once are no reason to let those wait who are served.
        // Of 10,000 that came back to a machine with more work than cores, this took the median of a publish from 670 ms to 20 ms.
        tokio::task::yield_now().await;
        // Small frames go out when they are written, not when more of them have gathered.
        let _ = stream.set_nodelay(true);
        let patience = Duration::from_millis(config.write_timeout_ms);
        let wire = Wire::new(place, address.ip(), &places, &lifecycle.tasks, patience);
        let service = Wired {
            routes: TowerToHyperService::new(routes.clone()),
            wire: wire.clone(),
        };
        let stream = TokioIo::new(Patient::new(stream, patience, config.min_rate));
        // Boxed: it is moved twice from here, and each time would leave its room behind in the task.
        let connection = Box::pin(http.serve_connection(stream, service).with_upgrades());
        let (drain, abort) = (lifecycle.drain.clone(), lifecycle.abort.clone());
        // Not among the doors' tasks while it is lent to a session: sessions end after the doors, and have a drain of their own.
        tokio::spawn(async move { abort.run_until_cancelled(finish(connection, wire, drain)).await });
    }
}

/// Reads a request body of at most `limit` octets within `time`. What is too large is read to its end all the same, within bounds and without
/// being kept: a client that is still writing when its connection closes never sees the answer.
pub async fn read(mut body: Body, limit: usize, time: Duration) -> Result<Bytes, Unread> {
    let declared = body.size_hint().lower();
    let mut kept = BytesMut::with_capacity(declared.min(limit.min(BELIEVED) as u64) as usize);
    let mut too_large = declared > limit as u64;
    let mut seen = 0;
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            seen += data.len();
            too_large |= seen > limit;
            if !too_large {
                kept.extend_from_slice(&data);
            } else if seen > limit + MAX_DISCARDED {
                break;
            }
        }
        Ok::<_, axum::Error>(())
    };
    match tokio::time::timeout(time, reading).await {
        _ if too_large => Err(Unread::TooLarge),
        Ok(Ok(())) => Ok(kept.freeze()),
        Ok(Err(error)) => Err(Unread::Broken(error.to_string())),
        Err(_) => Err(Unread::Late),
    }
}

/// What is known of a request, beside its token.
pub fn facts(headers: &HeaderMap, extensions: &Extensions, transport: &'static str) -> Facts {
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    Facts {
        transport,
        origin: origin.map(Box::from),
        address: extensions.get::<Wire>().map(Wire::address),
    }
}

/// Why a body could not be read.
#[derive(Debug)]
pub enum Unread {
    TooLarge,
    Late,
    Broken(String),
}

/// Answers with JSON, as everything else does, what no route takes.
pub fn complete(routes: Router) -> Router {
    routes.fallback(not_found).method_not_allowed_fallback(wrong_method)
}

/// An answer that says what is wrong with a request: the status, and JSON that names the field and the reason.
pub fn error(status: StatusCode, code: &str, field: Option<&str>, reason: &str) -> Response {
    let error = json!({"code": code, "field": field, "reason": reason});
    (status, Json(json!({"code": status.as_u16(), "error": error}))).into_response()
}

async fn not_found(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    let error = json!({"code": "not-found", "field": "path", "reason": format!("{path} is not served here")});
    (StatusCode::NOT_FOUND, Json(json!({"error": error}))).into_response()
}

async fn wrong_method(method: Method) -> Response {
    let reason = format!("{method} is not served here; the header Allow says what is");
    let error = json!({"code": "wrong-method", "field": "method", "reason": reason});
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({"error": error}))).into_response()
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client went away before it was accepted.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!(%error, "a connection can't be accepted");
                tokio::time::sleep(BREATHE).await;
            }
        }
    }
}

type Connection = Pin<Box<UpgradeableConnection<TokioIo<Patient>, Wired>>>;

/// Serves a connection to its end. A drain lets the request that is under way finish. Errors are the client's: it broke off, or was too slow.
async fn finish(mut connection: Connection, wire: Wire, drain: CancellationToken) {
    let _over = wire.over_with_this();
    tokio::select! {
        _ = connection.as_mut() => return,
        () = drain.cancelled() => {}
        () = wire.last() => {}
    }
    connection.as_mut().graceful_shutdown();
    let late = async {
        // Told to end, and lent to nobody.
        wire.returned().await;
        tokio::time::sleep(LEAVE_WITHIN).await;
    };
    tokio::select! {
        _ = connection => {}
        () = wire.broken_off() => {}
        () = late => {}
    }
}

/// The routes, as one connection sees them.
struct Wired {
    routes: TowerToHyperService<Router>,
    wire: Wire,
}

impl Service<axum::http::Request<Incoming>> for Wired {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<Router> as Service<axum::http::Request<Incoming>>>::Future;

    fn call(&self, mut request: axum::http::Request<Incoming>) -> Self::Future {
        self.wire.asked();
        request.extensions_mut().insert(self.wire.clone());
        self.routes.call(request)
    }
}
