//! The service's side of a session.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{Attached, EACH, Phase, Session, State, keep, wake};
use crate::edge::place::Place;
use crate::edge::transport::{Lost, Payload, Received, Transport};

/// How long what went into a response before the token's end may be under way: then the connection is broken off.
const AFTER_TOKEN: Duration = Duration::from_millis(500);

/// A [`Transport`] over whatever responses the client opens. Dropped, it ends the session.
pub struct Channel {
    session: Arc<Session>,
    /// Rings when the client has been away for too long; only made for one that is away.
    away: Option<Pin<Box<Sleep>>>,
    /// Its place among the sessions that nobody has said anything of yet.
    opening: Option<Place>,
}

impl Channel {
    pub(super) fn new(session: &Arc<Session>, opening: Place) -> Self {
        Self {
            session: Arc::clone(session),
            away: None,
            opening: Some(opening),
        }
    }

    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Received> {
        let delay = self.session.bounds.disconnect_delay;
        let mut state = self.session.lock();
        if let Some(message) = state.inbound.pop_front() {
            state.inbound_size -= message.len() + EACH;
            if state.inbound.is_empty() {
                // An idle session holds no buffer.
                state.inbound = VecDeque::new();
            }
            drop(state);
            self.session.room.notify_waiters();
            return Poll::Ready(Received::Message(Payload::Text(message.into())));
        }
        if matches!(state.phase, Phase::Closed(..)) {
            return Poll::Ready(Received::Closed);
        }
        keep(&mut state.service, context);
        match state.receiver {
            Attached::Here(..) => {
                self.away = None;
                Poll::Pending
            }
            Attached::Away(since) => {
                drop(state);
                let until = since + delay;
                let timer = self.away.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if timer.deadline() != until {
                    timer.as_mut().reset(until);
                }
                timer.as_mut().poll(context).map(|()| Received::Closed)
            }
        }
    }

    fn poll_write(&mut self, message: &mut Option<Utf8Bytes>, context: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        let mut state = self.session.lock();
        if matches!(state.phase, Phase::Closed(..)) {
            // What a lost client has sent before is heard to its end, and what is answered has nowhere to go.
            return Poll::Ready(match state.inbound.is_empty() {
                true => Err(Lost),
                false => Ok(()),
            });
        }
        let size = message.as_ref().map_or(0, |message| message.len() + EACH);
        if !state.outbound.is_empty() && state.outbound_size + size > self.session.bounds.outbound {
            keep(&mut state.service, context);
            return Poll::Pending;
        }
        state.outbound_size += size;
        state.outbound.extend(message.take());
        wake(state, State::receiver);
        Poll::Ready(Ok(()))
    }

    /// Waits until the client has taken everything. One that is away has to come for what waits, but not for the close frame, which stays.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.session.lock();
        match state.receiver {
            Attached::Away(_) if state.outbound.is_empty() => Poll::Ready(()),
            _ => {
                keep(&mut state.service, context);
                Poll::Pending
            }
        }
    }
}

impl Transport for Channel {
    async fn receive(&mut self) -> Received {
        poll_fn(|context| self.poll_receive(context)).await
    }

    async fn write(&mut self, message: Payload) -> Result<(), Lost> {
        let mut message = Some(match message {
            Payload::Text(text) => text,
            // SockJS has text alone.
            Payload::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        });
        poll_fn(|context| self.poll_write(&mut message, context)).await
    }

    /// The response takes what is written by itself.
    async fn flush(&mut self) -> Result<(), Lost> {
        Ok(())
    }

    /// What a response has taken, and its client has not, can't be taken back: its connection is given a moment, and no longer.
    fn retract(&mut self) {
        let mut state = self.session.lock();
        state.retract();
        if let Some(sent) = &state.sent {
            sent.cut_within(AFTER_TOKEN);
        }
    }

    fn established(&mut self) {
        self.opening = None;
    }

    async fn close(&mut self, code: u16, reason: &str) {
        self.session.close(code, reason);
        poll_fn(|context| self.poll_taken(context)).await;
    }
}

impl Drop for Channel {
    /// The service is gone: of the session only its close frame stays. A response that still has not taken that belongs to a client that doesn't
    /// read.
    fn drop(&mut self) {
        self.session.interrupt();
        let mut state = self.session.lock();
        state.inbound = VecDeque::new();
        if let Attached::Here(lent, _) = &state.receiver {
            lent.cut();
        }
    }
}
