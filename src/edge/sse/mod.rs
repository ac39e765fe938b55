//! Server-sent events: `GET /sse/notify`, for those who want no STOMP.
//!
//! Who it is, is said by the header `Authorization`, or by `?ticket=`, since an `EventSource` has no headers of its own. `Last-Event-ID` (or
//! `?last_event_id=`; the header is the newer one) resumes behind that `seq`. The answer waits for the session's fate: a stream, or the status
//! and the JSON that say why there is none.
//!
//! What comes, each as one event:
//!
//! | event | data |
//! | --- | --- |
//! | `connected` | `{"user", "session", "server"}`, at once |
//! | `notification` | a MESSAGE's body with `seq` (what is in the inbox), `attempt` and `replayed` |
//! | `closed` | `{"code", "reason"}`, before the server ends the stream |
//!
//! `id:` is a place in the inbox to resume behind, and never goes back: re-sends have none. Confirmations go to `POST /api/notify/ack`, and speak
//! for all event streams of the user. The names `open` and `error` would be taken for those of the `EventSource` itself.

mod stream;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use self::stream::{Fate, pipe};
use super::refused::Refused;
use super::sockjs::Service;
use super::{Edge, at_random, connection};
use crate::auth::Refusal;
use crate::http::Wire;
use crate::session::{Credential, Disconnect, Reason, Session};

pub const ENDPOINT: &str = "/sse/notify";

const LAST_EVENT_ID: &str = "last-event-id";
/// A browser whose stream broke comes back by itself after this time, and a moment of its own.
const LEAST_RETRY: Duration = Duration::from_secs(1);

pub async fn notify(State(edge): State<Arc<Edge>>, request: Request) -> Response {
    if request.method() == Method::HEAD {
        // It would open a session, and use up a ticket.
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let (parts, _) = request.into_parts();
    open(&edge, &parts).await.unwrap_or_else(IntoResponse::into_response)
}

async fn open(edge: &Arc<Edge>, parts: &Parts) -> Result<Response, Refused> {
    let asked = Asked::of(parts)?;
    let field = asked.field();
    if !edge.allows_origin(&parts.headers) {
        let reason = "this page's origin may not connect (edge.origins)";
        return Err(Refused::forbidden("Origin", reason));
    }
    let pass = edge.pass(parts, "sse")?;
    let lent = parts.extensions.get::<Wire>().map(Wire::lend);
    let retry = LEAST_RETRY + at_random(Duration::from_millis(edge.config.return_within_ms));
    let (stream, mut events) = pipe(edge.config.sse_buffer, retry.as_millis(), lent);
    let session = Session::events(Arc::clone(&edge.rules), asked.credential, asked.last_event_id);
    let fate = events.fate();
    let serving = Arc::clone(edge);
    edge.tasks.spawn(async move {
        let end = connection::carry(serving, pass, session, stream).await;
        // Unless it was open.
        fate.refuse(end);
    });
    match events.decided().await {
        Fate::Open => Ok(answer(Body::new(events))),
        Fate::Refused(end) => Err(Refused::by(end, field)),
    }
}

fn answer(events: Body) -> Response {
    let mut response = events.into_response();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Its end is the session's: a client that doesn't take the last words is cut off.
        (header::CONNECTION, "close"),
        // nginx would gather events before it passes them on.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a request asks for.
struct Asked {
    credential: Credential,
    last_event_id: Option<u64>,
}

impl Asked {
    fn of(parts: &Parts) -> Result<Self, Refused> {
        let Query(said) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| Refused::bad("invalid-field", "query", "is not made of NAME=VALUE, joined by &"))?;
        let (mut ticket, mut token, mut last_event_id) = (None, None, None);
        for (name, value) in said.into_iter().filter(|(_, value)| !value.is_empty()) {
            match &*name {
                "ticket" => ticket = Some(value),
                // Refused before it comes here, unless the configuration lets it (`query`).
                "token" => token = Some(value),
                "last_event_id" => last_event_id = Some(seq("last_event_id", &value)?),
                // Others are somebody else's: those of balancers, and `_`, by which answers are kept from being cached.
                _ => {}
            }
        }
        if let Some(header) = parts.headers.get(LAST_EVENT_ID).filter(|header| !header.is_empty()) {
            last_event_id = Some(seq("Last-Event-ID", header.to_str().unwrap_or_default())?);
        }
        let header = parts.headers.get(header::AUTHORIZATION);
        let header = header.map(|header| std::str::from_utf8(header.as_bytes()).map(str::to_owned));
        let credential = match (header, ticket, token) {
            (Some(Ok(token)), None, None) | (None, None, Some(token)) => Credential::Token(token),
            (None, Some(ticket), None) => Credential::Ticket(ticket),
            (Some(Err(_)), ..) => return Err(unknown(&Refusal::Malformed("it is not UTF-8 text"))),
            (None, None, None) => return Err(unknown(&Refusal::Missing)),
            _ => {
                let reason = "say who you are once: by the header Authorization, or by a ticket";
                return Err(Refused::bad("invalid-field", "ticket", reason));
            }
        };
        Ok(Self {
            credential,
            last_event_id,
        })
    }

    /// Where the client said who it is.
    fn field(&self) -> &'static str {
        match self.credential {
            Credential::Token(_) => AUTHORIZATION,
            Credential::Ticket(_) => "ticket",
        }
    }
}

const AUTHORIZATION: &str = "Authorization";

fn unknown(refusal: &Refusal) -> Refused {
    let end = Disconnect::new(Reason::Token(refusal.code()), refusal.to_string());
    Refused::by(end, AUTHORIZATION)
}

/// Digits only: a sign or a space is no event id of ours.
fn seq(field: &'static str, text: &str) -> Result<u64, Refused> {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let reason = "must be the id of an event of this stream: a whole number, 0 or greater";
        Refused::bad("invalid-field", field, reason)
    })
}
