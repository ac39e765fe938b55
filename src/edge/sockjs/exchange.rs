//! One request of a session over HTTP: it opens the session, waits for what comes, or brings messages.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use tokio::time::Instant;

use super::headers::{fresh, insert, never_kept};
use super::routes::{Mount, not_found, origin_of};
use super::session::{BUSY, Receiver, Refused, Session};
use super::sessions::Found;
use super::{Options, Refusal, Service};
use crate::edge::place::Place;
use crate::edge::refused::Refused as Turned;
use crate::http::{self, Unread, Wire};
use crate::sockjs::{Callback, Format, frame, message};

/// Octets of the parts of a path that name a session.
pub const NAME_MOST: usize = 128;

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// One frame.
    Poll,
    /// Frames, in one response.
    Stream,
    Events,
    Page,
    /// One frame, as a script.
    Call,
    Send,
    /// The same by a form.
    SendForm,
}

pub struct Exchange<S> {
    pub mount: Arc<Mount<S>>,
    pub id: Arc<str>,
    pub parts: Parts,
}

impl<S: Service> Exchange<S> {
    pub async fn answer(self, verb: Verb, body: Body) -> Response {
        if matches!(verb, Verb::Send | Verb::SendForm) {
            // Boxed: what reads a body would be carried by every response that waits.
            return Box::pin(self.send(verb, body)).await;
        }
        // A body that is under way, or that nobody reads, would hide that the client has gone.
        if !body.is_end_stream()
            && let Err(refused) = Box::pin(self.read(body)).await
        {
            return refused;
        }
        // What the request held is gone before the wait.
        match self.begin(verb) {
            Ok(begun) => begun.answer().await,
            Err(refused) => *refused,
        }
    }

    /// Begins the response of a session, which is made where there is none.
    fn begin(self, verb: Verb) -> Result<Begun, Refusal> {
        let format = match verb {
            Verb::Events => Format::Events,
            Verb::Page => Format::Scripts(self.callback()?),
            Verb::Call => Format::Call(self.callback()?),
            _ => Format::Lines,
        };
        let Some(wire) = self.parts.extensions.get::<Wire>().cloned() else {
            let detail = "this connection can't be held open";
            return Err(Box::new(self.said(StatusCode::INTERNAL_SERVER_ERROR, detail)));
        };
        let session = match self.find() {
            Found::Here(session) => session,
            Found::Foreign => return Err(Box::new(not_found())),
            Found::Unknown => self.open()?,
        };
        let streams = !matches!(verb, Verb::Poll | Verb::Call);
        let mut answer = fresh(StatusCode::OK, &self.parts.headers);
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        if streams {
            // Proxies that gather a response before they pass it on would pass on nothing.
            insert(headers, header::HeaderName::from_static("x-accel-buffering"), "no");
        }
        if let Format::Scripts(_) = format {
            insert(headers, header::CONTENT_SECURITY_POLICY, &self.policy());
        }
        Ok(Begun {
            answer,
            session,
            format,
            streams,
            wire,
        })
    }

    fn callback(&self) -> Result<Callback, Refusal> {
        let query = self.parts.uri.query().unwrap_or_default();
        let name = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "c" || key == "callback");
        Callback::parse(name.as_ref().map(|(_, name)| &**name))
            .map_err(|error| Box::new(self.said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())))
    }

    fn find(&self) -> Found {
        self.mount.sessions.find(&self.id, origin_of(&self.parts.headers))
    }

    /// Opens a session, and sees to its end.
    fn open(&self) -> Result<Arc<Session>, Refusal> {
        let (pass, opening) = self
            .let_in()
            .map_err(|refused| Box::new(never_kept(*refused, &self.parts.headers)))?;
        let session = Session::new(self.mount.options.bounds);
        let channel = session.channel(opening);
        let origin = origin_of(&self.parts.headers);
        if !self.mount.sessions.insert(&self.id, origin, &session) {
            // Two requests opened it at once, and this one comes second.
            return match self.find() {
                Found::Here(session) => Ok(session),
                Found::Foreign | Found::Unknown => Err(Box::new(not_found())),
            };
        }
        let (service, sessions, id) = (
            Arc::clone(&self.mount.service),
            Arc::clone(&self.mount.sessions),
            Arc::clone(&self.id),
        );
        self.mount.service.tasks().spawn(async move {
            service.serve(pass, channel).await;
            sessions.ended(id);
        });
        Ok(session)
    }

    /// What a session holds: the service's pass, and a place among those that are opening. Any client can open many by a few requests, so they have
    /// a bound of their own, and leave the rest of the node to those who say who they are.
    fn let_in(&self) -> Result<(S::Pass, Place), Refusal> {
        let opening = self.mount.opening.take().ok_or_else(|| {
            let most = self.mount.options.max_opening;
            let reason = format!("{most} sessions are opening here already (edge.sockjs.max_opening)");
            Box::new(Turned::later("unavailable", reason).into_response())
        })?;
        Ok((self.mount.service.let_in(&self.parts, "sockjs")?, opening))
    }

    /// Hands messages to a session.
    async fn send(self, verb: Verb, body: Body) -> Response {
        let Found::Here(session) = self.find() else {
            return self.said(StatusCode::NOT_FOUND, "there is no such session here");
        };
        let deadline = Instant::now() + self.mount.options.send_timeout;
        let body = match self.read(body).await {
            Ok(body) => body,
            Err(refused) => return refused,
        };
        let body = match verb == Verb::SendForm && self.is_form() {
            true => form_urlencoded::parse(&body)
                .find(|(key, _)| key == "d")
                .map(|(_, value)| Bytes::from(value.into_owned()))
                .unwrap_or_default(),
            false => body,
        };
        let messages = match message::decode(&body) {
            Ok(messages) => messages,
            Err(error) => return self.said(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        };
        match session.push(messages, deadline).await {
            Ok(()) if verb == Verb::SendForm => self.said(StatusCode::OK, "ok"),
            Ok(()) => self.said(StatusCode::NO_CONTENT, ""),
            Err(Refused::Closed) => self.said(StatusCode::NOT_FOUND, "this session has ended"),
            Err(Refused::Full) => {
                let detail = "what was sent before has not been taken yet (edge.sockjs.send_timeout_ms)";
                self.said(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }

    async fn read(&self, body: Body) -> Result<Bytes, Response> {
        let Options {
            max_body, send_timeout, ..
        } = self.mount.options;
        http::read(body, max_body, send_timeout)
            .await
            .map_err(|error| match error {
                Unread::TooLarge => {
                    let detail = format!("at most {max_body} octets are taken at once (edge.max_message)");
                    self.said(StatusCode::PAYLOAD_TOO_LARGE, &detail)
                }
                Unread::Late => {
                    let detail = "the messages did not arrive in time (edge.sockjs.send_timeout_ms)";
                    self.said(StatusCode::REQUEST_TIMEOUT, detail)
                }
                Unread::Broken(detail) => self.said(StatusCode::BAD_REQUEST, &detail),
            })
    }

    fn is_form(&self) -> bool {
        let mime = self.parts.headers.get(header::CONTENT_TYPE);
        mime.and_then(|mime| mime.to_str().ok())
            .is_some_and(|mime| mime.starts_with("application/x-www-form-urlencoded"))
    }

    /// A page of scripts that come one by one: what each says was escaped, and nothing else may be loaded by it.
    fn policy(&self) -> String {
        let ancestors = self.mount.service.frame_ancestors();
        format!(
            "default-src 'none'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
        )
    }

    fn said(&self, status: StatusCode, text: &str) -> Response {
        let mut answer = fresh(status, &self.parts.headers);
        let plain = HeaderValue::from_static("text/plain; charset=UTF-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, plain);
        if !text.is_empty() {
            *answer.body_mut() = Body::from(text.to_owned());
        }
        answer
    }
}

/// A response whose body is yet to come.
struct Begun {
    answer: Response,
    session: Arc<Session>,
    format: Format,
    streams: bool,
    wire: Wire,
}

impl Begun {
    async fn answer(mut self) -> Response {
        let refused = self.format.clone();
        *self.answer.body_mut() = match self.session.attach(self.format, self.streams, &self.wire).await {
            Some(receiver) if self.streams => Body::from_stream(Streamed(receiver)),
            Some(mut receiver) => Body::from(receiver.next().await.unwrap_or_default()),
            None => {
                let prelude = self.streams.then(|| refused.prelude());
                let pieces = [prelude, Some(refused.wrap(&frame::close(BUSY.0, BUSY.1)))];
                Body::from_stream(stream::iter(pieces.into_iter().flatten().map(Ok::<_, Infallible>)))
            }
        };
        if self.wire.is_ending() {
            let close = HeaderValue::from_static("close");
            self.answer.headers_mut().insert(header::CONNECTION, close);
        }
        self.answer
    }
}

/// A response that goes on: a piece for each frame.
struct Streamed(Receiver);

impl Stream for Streamed {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0
            .poll_next(context)
            .map(|piece| piece.map(|piece| Ok(piece.into())))
    }
}
