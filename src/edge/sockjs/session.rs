//! A SockJS session over HTTP: what waits for the client, what waits for the service, and at most one response that is open for it.
//!
//! The client's side is a [`Receiver`] (a response) and [`Session::push`] (a request with messages); the service's side is a [`Channel`], which is
//! a [`Transport`]. Whatever one side waits for, the other wakes it.
//!
//! A response that is broken off ends the session: what was written to it may be lost, and the protocol has no way to ask. Between two responses
//! the session lives on for `disconnect_delay`.

mod channel;
mod receiver;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

pub use channel::Channel;
pub use receiver::Receiver;

use crate::edge::place::Place;
use crate::http::{Lent, Sent, Wire};
use crate::sockjs::Format;

/// The words of the protocol.
const INTERRUPTED: (u16, &str) = (1002, "Connection interrupted");
pub const BUSY: (u16, &str) = (2010, "Another connection still open");

/// How long the end of a response that was broken off may take to be noticed.
const BREAK_OFF: Duration = Duration::from_millis(100);

/// What a message takes besides its text.
const EACH: usize = size_of::<Utf8Bytes>();

/// What a session may hold, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Octets that wait for the client, and octets that wait for the service, with what each message takes besides. One message more may always be
    /// put in where nothing waits.
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
    /// The open frame has been sent, or never will be.
    greeted: bool,
    phase: Phase,
    outbound: VecDeque<Utf8Bytes>,
    outbound_size: usize,
    inbound: VecDeque<String>,
    inbound_size: usize,
    receiver: Attached,
    /// The last response, which its client may not have taken yet.
    sent: Option<Sent>,
    /// The service waits for messages, or for room.
    service: Option<Waker>,
}

#[derive(Debug)]
enum Phase {
    Open,
    Closed(u16, String),
}

enum Attached {
    /// No response is open, since then.
    Away(Instant),
    /// One is, on this connection; its task waits.
    Here(Lent, Option<Waker>),
}

impl Session {
    pub fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            state: Mutex::new(State {
                greeted: false,
                phase: Phase::Open,
                outbound: VecDeque::new(),
                outbound_size: 0,
                inbound: VecDeque::new(),
                inbound_size: 0,
                receiver: Attached::Away(Instant::now()),
                sent: None,
                service: None,
            }),
            room: Notify::new(),
            left: Notify::new(),
        })
    }

    /// The service's side. Once. `opening` is given up when the service knows its client.
    pub fn channel(self: &Arc<Self>, opening: Place) -> Channel {
        Channel::new(self, opening)
    }

    /// Opens a response; `None` when another is open, and stays open for a moment: a client that breaks one off and comes back at once may be heard
    /// sooner by the new one than by the old. Only a response that is opened has its connection lent.
    pub async fn attach(self: &Arc<Self>, format: Format, streams: bool, wire: &Wire) -> Option<Receiver> {
        let attached = async {
            loop {
                let left = self.left.notified();
                if self.take_receiver(wire) {
                    return;
                }
                left.await;
            }
        };
        tokio::time::timeout(BREAK_OFF, attached).await.ok()?;
        Some(Receiver::new(self, format, streams))
    }

    /// Puts a response in, if none is open.
    fn take_receiver(&self, wire: &Wire) -> bool {
        let mut state = self.lock();
        if matches!(state.receiver, Attached::Here(..)) {
            return false;
        }
        let lent = wire.lend();
        state.sent = Some(lent.sent());
        state.receiver = Attached::Here(lent, None);
        // A session that waited for its client to come back waits no longer.
        wake(state, |state| state.service.take());
        true
    }

    /// Hands messages from the client in; waits for room until `deadline`. Says why it can't.
    pub async fn push(&self, messages: Vec<String>, deadline: Instant) -> Result<(), Refused> {
        let size: usize = messages.iter().map(|message| message.len() + EACH).sum();
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

    /// The service ends the session: it takes nothing more.
    fn close(&self, code: u16, reason: &str) {
        let mut state = self.lock();
        state.inbound = VecDeque::new();
        self.end(state, code, reason);
    }

    /// Ends a session whose client is lost, or its service, and with it what waits for the client: behind a gap nothing may follow.
    fn interrupt(&self) {
        let mut state = self.lock();
        state.retract();
        // One that has ended tells its client so in the usual order.
        state.greeted |= matches!(state.phase, Phase::Open);
        let (code, reason) = INTERRUPTED;
        self.end(state, code, reason);
    }

    /// Ends the session, unless it has ended; the first word stands.
    fn end(&self, mut state: MutexGuard<'_, State>, code: u16, reason: &str) {
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closed(code, reason.to_owned());
        }
        self.room.notify_waiters();
        wake(state, State::receiver);
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
