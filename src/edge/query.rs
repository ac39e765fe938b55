//! A token in a URL is refused: URLs end in the logs of every proxy on the way, and in the browser's history.

use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::refused::Refused;
use super::sse;

/// Under these names people put tokens into URLs.
const NAMES: [&str; 4] = ["token", "access_token", "authorization", "jwt"];

/// Refuses a request whose query has a token; `may_open` lets one open a stream of events (`edge.query_token`).
pub async fn no_tokens(State(may_open): State<bool>, request: Request, next: Next) -> Response {
    let uri = request.uri();
    if uri.query().is_some()
        && let Ok(Query(said)) = Query::<Vec<(String, String)>>::try_from_uri(uri)
    {
        let named = |name: &&str| said.iter().any(|(said, _)| said.eq_ignore_ascii_case(name));
        let is_served = |name: &&str| may_open && *name == "token" && uri.path() == sse::ENDPOINT;
        if let Some(name) = NAMES.iter().copied().filter(|name| !is_served(name)).find(named) {
            return Refused::bad("token-in-query", name, reason(uri.path())).into_response();
        }
    }
    next.run(request).await
}

fn reason(path: &str) -> &'static str {
    match path {
        sse::ENDPOINT => {
            "a token in a URL ends in logs: send it as the header Authorization, or get a ticket from POST /api/ticket and open ?ticket=TICKET"
        }
        _ if path.starts_with("/stomp-ws") => {
            "a token in a URL ends in logs: send it as the header Authorization of the CONNECT frame"
        }
        _ => "a token in a URL ends in logs: send it as the header Authorization",
    }
}
