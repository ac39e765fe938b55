//! Which pages may open a session or call the API: without this check any page on the web could, in its visitor's name.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Lets pages of the `allowed` origins (in dev mode, of any) call what users call. A token goes in a header, so cookies have no part in it.
pub fn cross_origin(any: bool, allowed: &[String]) -> CorsLayer {
    let allowed = allowed.to_vec();
    let may = move |origin: &HeaderValue, _: &_| any || origin.to_str().is_ok_and(|origin| is_listed(origin, &allowed));
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(may))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("last-event-id"),
        ])
        .max_age(Duration::from_secs(600))
}

/// Whether a request with these headers may connect. A client that is no browser names no page, and has to have a token all the same.
///
/// A browser names the origin of the page with a WebSocket, with a POST and with whatever the page may read, but not with what a page may only
/// load, such as a script or a frame. There it says that the page is another site's (`Sec-Fetch-Site`), and which one as long as the page lets it
/// (`Referer`). One that keeps it to itself is taken for one that isn't listed.
pub fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let origin = match text(header::ORIGIN) {
        Some(origin) => origin,
        None if matches!(text(SEC_FETCH_SITE), None | Some("same-origin" | "none")) => return true,
        None => text(header::REFERER).map(origin_of).unwrap_or_default(),
    };
    if is_listed(origin, allowed) {
        return true;
    }
    // A page that this server served itself.
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, text(header::HOST)), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

/// Whether browsers send something like this as the origin of a page: scheme, host and maybe port, and nothing behind it. It is compared as a text,
/// and becomes part of content security policies.
pub fn is_origin(text: &str) -> bool {
    let authority = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    authority.is_some_and(|authority| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !authority.is_empty() && authority.chars().all(known)
    })
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The origin of an address: all before its path.
fn origin_of(address: &str) -> &str {
    let authority = address.find("://").map_or(0, |at| at + 3);
    let length = address[authority..].find(['/', '?', '#']);
    &address[..length.map_or(address.len(), |length| authority + length)]
}

fn is_listed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|known| known.eq_ignore_ascii_case(origin))
}
