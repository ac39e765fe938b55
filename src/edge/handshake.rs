//! The opening handshake of a WebSocket (RFC 6455, section 4.2), as far as hyper leaves it to us.
//!
//! # Why not axum's extractor
//! Its socket can't be read below the WebSocket's framing. A client that sent too much would then be cut off by a reset, which takes the
//! ERROR that tells it so along; see `websocket`.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A request that asks for a WebSocket, rightly.
#[derive(Debug)]
pub struct Handshake {
    /// The connection, once the answer has gone out.
    pub upgrade: OnUpgrade,
    accept: String,
}

impl Handshake {
    /// Checks the request, or says what is wrong with it.
    pub fn of(parts: &mut Parts) -> Result<Self, Refused> {
        let bad = |reason| Err(Refused(StatusCode::BAD_REQUEST, reason));
        if parts.method != Method::GET || !is_asked(&parts.headers) {
            let reason = "this is a WebSocket endpoint: send a GET with Upgrade: websocket";
            return Err(Refused(StatusCode::UPGRADE_REQUIRED, reason));
        }
        if !has_token(&parts.headers, header::CONNECTION, "upgrade") {
            return bad("the header Connection must name upgrade");
        }
        if !has_token(&parts.headers, header::SEC_WEBSOCKET_VERSION, "13") {
            return Err(Refused(
                StatusCode::UPGRADE_REQUIRED,
                "Sec-WebSocket-Version must be 13",
            ));
        }
        let Some(key) = parts.headers.get(header::SEC_WEBSOCKET_KEY) else {
            return bad("the header Sec-WebSocket-Key is missing");
        };
        let accept = derive_accept_key(key.as_bytes());
        match parts.extensions.remove::<OnUpgrade>() {
            Some(upgrade) => Ok(Self { upgrade, accept }),
            None => bad("this connection can't be upgraded"),
        }
    }

    /// The answer that opens the WebSocket, with the subprotocol that was agreed on.
    pub fn answer(&self, protocol: Option<&'static str>) -> Response<Body> {
        let mut answer = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "websocket")
            .header(header::SEC_WEBSOCKET_ACCEPT, &self.accept);
        if let Some(protocol) = protocol {
            answer = answer.header(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        answer.body(Body::empty()).expect("the accept key is base64")
    }
}

/// Whether a request with these headers wants a WebSocket.
pub fn is_asked(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// Why a request opens no WebSocket.
#[derive(Debug)]
pub struct Refused(StatusCode, &'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> axum::response::Response {
        let Self(status, reason) = self;
        if status != StatusCode::UPGRADE_REQUIRED {
            return (status, reason).into_response();
        }
        let served = [
            (header::CONNECTION, "upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
        ];
        (status, served, reason).into_response()
    }
}

/// Whether one of the comma-separated values is `token`, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let texts = values.iter().filter_map(|value| value.to_str().ok());
    texts
        .flat_map(|text| text.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}
