//! What is no session: the greeting, what the service offers, and the page that old browsers put into a frame.

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Options;
use super::headers::{bare, fresh, insert, lasting};

/// Says that there is SockJS here.
pub fn greeting() -> Response<Body> {
    let mut answer = Response::new(Body::from("Welcome to SockJS!\n"));
    typed(&mut answer, "text/plain; charset=UTF-8");
    answer
}

/// What a client asks first. `entropy` seeds clients that have no good source of their own.
pub fn info(options: &Options, asked: &HeaderMap) -> Response<Body> {
    let Ok(entropy) = getrandom::u32() else {
        return fresh(StatusCode::SERVICE_UNAVAILABLE, asked);
    };
    let info = json!({
        "websocket": options.websocket,
        "origins": ["*:*"],
        "cookie_needed": options.cookie_needed,
        "entropy": entropy,
    });
    let mut answer = fresh(StatusCode::OK, asked);
    typed(&mut answer, "application/json; charset=UTF-8");
    *answer.body_mut() = Body::from(info.to_string());
    answer
}

/// Instead of the page for a hidden frame.
pub fn no_frame() -> Response<Body> {
    let mut answer = bare(StatusCode::NOT_FOUND);
    typed(&mut answer, "text/plain; charset=UTF-8");
    let detail = "there is no page for frames here: its script runs in this server's name, so you choose where it comes from (edge.sockjs.client_url)";
    *answer.body_mut() = Body::from(detail);
    answer
}

/// The page for a hidden frame, which lets a browser without cross-origin requests talk to this server from within.
pub struct Frame {
    html: String,
    tag: String,
    policy: String,
}

/// The page's own script, as the protocol has it.
const SCRIPT: &str = "\n    document.domain = document.domain;\n    SockJS.bootstrap_iframe();\n  ";

impl Frame {
    /// `ancestors`: the sources that may frame it.
    pub fn new(client_url: &str, ancestors: &str) -> Self {
        let html = format!(
            "<!DOCTYPE html>\n<html>\n<head>\n  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />\n  \
             <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />\n  \
             <script src=\"{client_url}\"></script>\n  <script>{SCRIPT}</script>\n</head>\n<body>\n  \
             <h2>Don't panic!</h2>\n  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>\n</body>\n</html>"
        );
        let client = match client_url.starts_with('/') {
            true => "'self'",
            false => client_url,
        };
        let hash = BASE64.encode(Sha256::digest(SCRIPT));
        let policy = format!(
            "default-src 'none'; script-src {client} 'sha256-{hash}'; connect-src 'self'; frame-src 'self'; base-uri 'none'; \
             form-action 'self'; frame-ancestors {ancestors}"
        );
        // Whoever keeps the page keeps the policy that came with it.
        let whole = Sha256::digest(format!("{policy}\n{html}"));
        Self {
            tag: format!("\"{}\"", BASE64.encode(&whole[..18])),
            html,
            policy,
        }
    }

    /// Whether `name` is one of the names that clients know the page by: `iframe.html`, or with a version behind a dash.
    pub fn is_named(name: &str) -> bool {
        let Some(version) = name.strip_prefix("iframe").and_then(|name| name.strip_suffix(".html")) else {
            return false;
        };
        let is_fine = |letter: u8| letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_' | b'.');
        version.is_empty() || (version.starts_with('-') && version.bytes().all(is_fine))
    }

    pub fn answer(&self, asked: &HeaderMap) -> Response<Body> {
        let known = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
        let is_known = known.is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == self.tag || tag.trim() == "*"));
        let mut answer = match is_known {
            true => lasting(StatusCode::NOT_MODIFIED),
            false => {
                let mut answer = lasting(StatusCode::OK);
                typed(&mut answer, "text/html; charset=UTF-8");
                *answer.body_mut() = Body::from(self.html.clone());
                answer
            }
        };
        insert(answer.headers_mut(), header::CONTENT_SECURITY_POLICY, &self.policy);
        insert(answer.headers_mut(), header::ETAG, &self.tag);
        answer
    }
}

fn typed(answer: &mut Response<Body>, mime: &'static str) {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
}
