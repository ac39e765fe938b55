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

/// Whether a request with these headers may connect. A client that is no browser sends no Origin, and has to have a token all the same.
pub fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else { return false };
    if is_listed(origin, allowed) {
        return true;
    }
    // A page that this server served itself.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}

fn is_listed(origin: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|known| known.eq_ignore_ascii_case(origin))
}

/// Whether browsers send something like this as the origin of a page: scheme, host and maybe port, and nothing behind it.
pub fn is_origin(text: &str) -> bool {
    let authority = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    authority.is_some_and(|authority| {
        let known = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !authority.is_empty() && authority.chars().all(known)
    })
}
