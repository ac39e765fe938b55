//! The page at `/`, and the browser client with its bell below `/sdk/`, from within the binary: it works offline, and there is nothing to build.
//!
//! A browser asks each time whether a file is still the same, by its `ETag`: after an update nobody runs modules of two versions, and
//! as long as there is none, nothing is sent twice.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

macro_rules! files {
    ($($path:literal => $file:literal as $mime:literal;)*) => {
        /// Every file that is served, with its path and its type.
        const FILES: &[(&str, &str, &str)] = &[$(($path, include_str!($file), $mime)),*];
    };
}

const HTML: &str = "text/html; charset=utf-8";

files! {
    "/" => "index.html" as "text/html; charset=utf-8";
    "/page.css" => "page.css" as "text/css; charset=utf-8";
    "/page.js" => "page.js" as "text/javascript; charset=utf-8";
    "/plugins.js" => "plugins.js" as "text/javascript; charset=utf-8";
    "/icon.svg" => "icon.svg" as "image/svg+xml";
    "/sdk/quick-notify.d.ts" => "sdk/quick-notify.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/quick-notify.js" => "sdk/quick-notify.js" as "text/javascript; charset=utf-8";
    "/sdk/addresses.js" => "sdk/addresses.js" as "text/javascript; charset=utf-8";
    "/sdk/bell.d.ts" => "sdk/bell.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/bell.js" => "sdk/bell.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/announcer.js" => "sdk/bell/announcer.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/clients.js" => "sdk/bell/clients.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/dom.js" => "sdk/bell/dom.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/feed.js" => "sdk/bell/feed.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/item.d.ts" => "sdk/bell/item.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/bell/item.js" => "sdk/bell/item.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/panel.js" => "sdk/bell/panel.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/place.js" => "sdk/bell/place.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/rows.d.ts" => "sdk/bell/rows.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/bell/rows.js" => "sdk/bell/rows.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/style.js" => "sdk/bell/style.js" as "text/javascript; charset=utf-8";
    "/sdk/bell/texts.d.ts" => "sdk/bell/texts.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/bell/texts.js" => "sdk/bell/texts.js" as "text/javascript; charset=utf-8";
    "/sdk/connection.js" => "sdk/connection.js" as "text/javascript; charset=utf-8";
    "/sdk/error.d.ts" => "sdk/error.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/error.js" => "sdk/error.js" as "text/javascript; charset=utf-8";
    "/sdk/inbox.js" => "sdk/inbox.js" as "text/javascript; charset=utf-8";
    "/sdk/ledger.js" => "sdk/ledger.js" as "text/javascript; charset=utf-8";
    "/sdk/place.js" => "sdk/place.js" as "text/javascript; charset=utf-8";
    "/sdk/reconnect.js" => "sdk/reconnect.js" as "text/javascript; charset=utf-8";
    "/sdk/stomp.js" => "sdk/stomp.js" as "text/javascript; charset=utf-8";
    "/sdk/token.js" => "sdk/token.js" as "text/javascript; charset=utf-8";
    "/sdk/topics.js" => "sdk/topics.js" as "text/javascript; charset=utf-8";
    "/sdk/types.d.ts" => "sdk/types.d.ts" as "application/typescript; charset=utf-8";
    "/sdk/types.js" => "sdk/types.js" as "text/javascript; charset=utf-8";
    "/sdk/unread.js" => "sdk/unread.js" as "text/javascript; charset=utf-8";
    "/sdk/wakes.js" => "sdk/wakes.js" as "text/javascript; charset=utf-8";
}

/// What a notification says is text, and stays text: nothing runs and nothing is asked for but what this server serves, no text becomes
/// HTML, no form is sent past our scripts (a token would end in the address), and no other page may frame this one. `'self'` is also
/// this host's WebSocket (CSP 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Today's demo page leads here.
const OLD_PAGE: &str = "/stomp-websocket-sockjs.html";

/// The routes of the page and the client.
pub fn routes() -> Router {
    let routes = Router::new().route(OLD_PAGE, get(|| async { Redirect::permanent("/") }));
    FILES.iter().fold(routes, |routes, (path, text, mime)| {
        let etag = etag(text);
        routes.route(path, get(async move |asked: HeaderMap| serve(text, mime, etag, &asked)))
    })
}

/// The same on every node of a version.
fn etag(text: &str) -> HeaderValue {
    let digest = Sha256::digest(text);
    let tag: String = digest[..12].iter().map(|octet| format!("{octet:02x}")).collect();
    HeaderValue::try_from(format!("\"{tag}\"")).expect("quoted hex digits")
}

/// Whether the browser has this very file (RFC 9110, 13.1.2: the weak comparison).
fn has(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok());
    known
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

fn serve(text: &'static str, mime: &'static str, etag: HeaderValue, asked: &HeaderMap) -> Response {
    let mut response = if has(asked, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        text.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(mime));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if mime == HTML {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    } else {
        // The client is made for other pages to import.
        let name = HeaderName::from_static("access-control-allow-origin");
        headers.insert(name, HeaderValue::from_static("*"));
    }
    response
}
