//! The client's side of a session.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Attached, Phase, Session, keep, wake};
use crate::sockjs::{Format, frame};

/// One response. Dropped before its end, it ends the session.
pub struct Receiver {
    session: Arc<Session>,
    format: Format,
    prelude: Option<String>,
    /// Octets that this response may yet take; a poll takes one frame.
    left: usize,
    heartbeat: Option<Pin<Box<Sleep>>>,
    done: bool,
}

impl Receiver {
    pub(super) fn new(session: &Arc<Session>, format: Format, streams: bool) -> Self {
        Self {
            session: Arc::clone(session),
            prelude: streams.then(|| format.prelude()),
            format,
            left: if streams { session.bounds.response } else { 0 },
            heartbeat: None,
            done: false,
        }
    }

    /// The next piece of the response, wrapped; `None` at its end.
    pub async fn next(&mut self) -> Option<String> {
        poll_fn(|context| self.poll_next(context)).await
    }

    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<String>> {
        if let Some(prelude) = self.prelude.take() {
            return Poll::Ready(Some(prelude));
        }
        if self.done {
            return Poll::Ready(None);
        }
        let Some((text, is_last)) = self.take(context) else {
            return Poll::Pending;
        };
        let wrapped = self.format.wrap(&text);
        self.heartbeat = None;
        self.left = self.left.saturating_sub(wrapped.len());
        if is_last || self.left == 0 {
            self.done = true;
            self.detach();
        }
        Poll::Ready(Some(wrapped))
    }

    /// The next frame, and whether it ends the session.
    fn take(&mut self, context: &mut Context<'_>) -> Option<(String, bool)> {
        let mut state = self.session.lock();
        if !state.greeted {
            // Also where the service has closed already: a client takes nothing before it.
            state.greeted = true;
            return Some((frame::OPEN.to_owned(), false));
        }
        if !state.outbound.is_empty() {
            // An idle session holds no buffer.
            let messages = std::mem::take(&mut state.outbound);
            state.outbound_size = 0;
            wake(state, |state| state.service.take());
            return Some((frame::messages(messages.iter().map(Utf8Bytes::as_str)), false));
        }
        if let Phase::Closed(code, reason) = &state.phase {
            return Some((frame::close(*code, reason), true));
        }
        if let Attached::Here(_, waker) = &mut state.receiver {
            keep(waker, context);
        }
        drop(state);
        let every = self.session.bounds.heartbeat;
        let timer = self
            .heartbeat
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + every)));
        let rang = timer.as_mut().poll(context).is_ready();
        rang.then(|| (frame::HEARTBEAT.to_owned(), false))
    }

    /// The response is whole: the next one may be opened.
    fn detach(&self) {
        let mut state = self.session.lock();
        state.receiver = Attached::Away(Instant::now());
        wake(state, |state| state.service.take());
        self.session.left.notify_waiters();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !self.done {
            self.session.interrupt();
            self.detach();
        }
    }
}
