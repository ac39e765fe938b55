//! A SockJS session over HTTP: what waits for the client, what waits for the service, and at most one response that is open for it.
//!
//! The client's side is a [`Receiver`] (a response) and [`Session::push`] (a request with messages); the service's side is a [`Channel`], which is
//! a [`Transport`]. Whatever one side waits for, the other wakes it.
//!
//! A response that is broken off ends the session: what was written to it may be lost, and the protocol has no way to ask. Between two responses
//! the session lives on for `disconnect_delay`.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::edge::transport::{Lost, Payload, Received, Transport};
use crate::http::Lent;
use crate::sockjs::{Format, frame};

/// The words of the protocol.
const INTERRUPTED: (u16, &str) = (1002, "Connection interrupted");
pub const BUSY: (u16, &str) = (2010, "Another connection still open");

/// How long the end of a response that was broken off may take to be noticed.
const BREAK_OFF: Duration = Duration::from_millis(100);

/// What a session may hold, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Octets that wait for the client, and octets that wait for the service. One message more may always be put in where nothing waits.
    pub outbound: usize,
    pub inbound: usize,
    /// Octets of a streaming response.
    pub response: usize,
    pub heartbeat: Duration,
    /// How long a session lives without a response.
    pub disconnect_delay: Duration,
}

pub struct Session {
    bounds: Bounds,
    state: Mutex<State>,
    /// Rung when the service has taken messages.
    room: Notify,
    /// Rung when a response is over.
    left: Notify,
}

struct State {
    phase: Phase,
    outbound: VecDeque<Utf8Bytes>,
    outbound_size: usize,
    inbound: VecDeque<String>,
    inbound_size: usize,
    receiver: Attached,
    /// The service waits for messages, or for room.
    service: Option<Waker>,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// The open frame has not been sent.
    Opening,
    Open,
    Closed(u16, String),
}

enum Attached {
    /// No response is open, since then.
    Away(Instant),
    /// One is, on this connection; its task waits.
    Here(Arc<Lent>, Option<Waker>),
}

impl Session {
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            state: Mutex::new(State {
                phase: Phase::Opening,
                outbound: VecDeque::new(),
                outbound_size: 0,
                inbound: VecDeque::new(),
                inbound_size: 0,
                receiver: Attached::Away(Instant::now()),
                service: None,
            }),
            room: Notify::new(),
            left: Notify::new(),
        })
    }

    /// The service's side. Once.
    pub fn channel(self: &Arc<Self>) -> Channel {
        Channel {
            session: Arc::clone(self),
            away: None,
        }
    }

    /// Opens a response; `None` when another is open, and stays open for a moment: a client that breaks one off and comes back at once may be heard
    /// sooner by the new one than by the old.
    pub async fn attach(self: &Arc<Self>, format: Format, streams: bool, lent: Lent) -> Option<Receiver> {
        let lent = Arc::new(lent);
        let attached = async {
            loop {
                let left = self.left.notified();
                if self.take_receiver(&lent) {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(BREAK_OFF, attached).await.ok()?;
        Some(Receiver {
            session: Arc::clone(self),
            prelude: streams.then(|| format.prelude()),
            format,
            left: if streams { self.bounds.response } else { 0 },
            heartbeat: None,
            done: false,
        })
    }

    /// Puts a response in, if none is open.
    fn take_receiver(&self, lent: &Arc<Lent>) -> bool {
        let mut state = self.lock();
        if matches!(state.receiver, Attached::Here(..)) {
            return false;
        }
        state.receiver = Attached::Here(Arc::clone(lent), None);
        // A session that waited for its client to come back waits no longer.
        wake(state, |state| state.service.take());
        true
    }

    /// Hands messages from the client in; waits for room until `deadline`. Says why it can't.
    pub async fn push(&self, messages: Vec<String>, deadline: Instant) -> Result<(), Refused> {
        let size: usize = messages.iter().map(String::len).sum();
        loop {
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if let Phase::Closed(..) = state.phase {
                    return Err(Refused::Closed);
                }
                if state.inbound.is_empty() || state.inbound_size + size <= self.bounds.inbound {
                    state.inbound_size += size;
                    state.inbound.extend(messages);
                    wake(state, |state| state.service.take());
                    return Ok(());
                }
            }
            if tokio::time::timeout_at(deadline, room).await.is_err() {
                return Err(Refused::Full);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }

    /// Ends the session, unless it has ended; the first word stands.
    fn close(&self, code: u16, reason: &str) {
        let mut state = self.lock();
        if !matches!(state.phase, Phase::Closed(..)) {
            state.phase = Phase::Closed(code, reason.to_owned());
            state.inbound = VecDeque::new();
            self.room.notify_waiters();
        }
        wake(state, State::receiver);
    }

    /// Ends a session whose client is lost, and with it what still waits: behind a gap nothing may follow.
    fn interrupt(&self) {
        {
            let mut state = self.lock();
            if !matches!(state.phase, Phase::Closed(..)) {
                state.retract();
            }
        }
        let (code, reason) = INTERRUPTED;
        self.close(code, reason);
    }
}

/// Why messages were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    Closed,
    /// The service did not take what waits for it.
    Full,
}

impl State {
    fn retract(&mut self) {
        self.outbound = VecDeque::new();
        self.outbound_size = 0;
    }

    fn receiver(&mut self) -> Option<Waker> {
        match &mut self.receiver {
            Attached::Here(_, waker) => waker.take(),
            Attached::Away(_) => None,
        }
    }
}

/// The service's side of a session.
pub struct Channel {
    session: Arc<Session>,
    /// Rings when the client has been away for too long; only made for one that is away.
    away: Option<Pin<Box<Sleep>>>,
}

impl Channel {
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Received> {
        let delay = self.session.bounds.disconnect_delay;
        let mut state = self.session.lock();
        if let Some(message) = state.inbound.pop_front() {
            state.inbound_size -= message.len();
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
            return Poll::Ready(Err(Lost));
        }
        let size = message.as_ref().map_or(0, |message| message.len());
        if !state.outbound.is_empty() && state.outbound_size + size > self.session.bounds.outbound {
            keep(&mut state.service, context);
            return Poll::Pending;
        }
        state.outbound_size += size;
        state.outbound.extend(message.take());
        wake(state, State::receiver);
        Poll::Ready(Ok(()))
    }

    /// Waits until a response has taken everything, the close frame included. One that is away will ask for it.
    fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.session.lock();
        match state.receiver {
            Attached::Away(_) => Poll::Ready(()),
            Attached::Here(..) => {
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

    fn retract(&mut self) {
        self.session.lock().retract();
    }

    async fn close(&mut self, code: u16, reason: &str) {
        self.session.close(code, reason);
        poll_fn(|context| self.poll_taken(context)).await;
    }
}

impl Drop for Channel {
    /// The service is gone. A response that still has not taken its last frame belongs to a client that doesn't read.
    fn drop(&mut self) {
        self.session.interrupt();
        if let Attached::Here(lent, _) = &self.session.lock().receiver {
            lent.cut();
        }
    }
}

/// The client's side: one response. Dropped before its end, it ends the session.
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
        if state.phase == Phase::Opening {
            state.phase = Phase::Open;
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

/// Notes who is to be woken.
fn keep(place: &mut Option<Waker>, context: &Context<'_>) {
    if place.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
        *place = Some(context.waker().clone());
    }
}

/// Wakes after the lock is gone, so that the woken task doesn't run into it.
fn wake(mut state: MutexGuard<'_, State>, who: impl FnOnce(&mut State) -> Option<Waker>) {
    let waker = who(&mut state);
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
