//! Which pages may open a session: without this check any page on the web could, in its visitor's name.

use axum::http::{HeaderMap, header};

/// Whether a request with these headers may connect. A client that is no browser sends no Origin, and has to have a token all the same.
pub fn is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return true;
    };
    let Ok(origin) = origin.to_str() else { return false };
    if allowed
        .iter()
        .any(|known| known == "*" || known.eq_ignore_ascii_case(origin))
    {
        return true;
    }
    // A page that this server served itself.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, host), (Some(authority), Some(host)) if authority.eq_ignore_ascii_case(host))
}
