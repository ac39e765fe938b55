//! A session as a state machine: frames, envelopes and the time go in; frames, questions and the end come out.
//!
//! Pure: no I/O, no clock, no logging. Whoever drives it calls `handle_*`, empties [`Session::poll_output`], and waits for the next of: bytes
//! (while [`Session::wants_input`]), an answer to a question, a parcel, [`Session::poll_timeout`].
//!
//! - `phase` is where the session is in its life, and owns what that phase needs;
//! - `frames` is what each client frame does, `delivery` how parcels and pages reach the client;
//! - `inbox` keeps the place in the user's inbox, `outbox` what is unconfirmed.
//!
//! An idle session holds no buffers.

mod config;
mod delivery;
pub mod disconnect;
mod frames;
pub mod inbox;
mod outbox;
pub mod parcel;
mod personal;
mod phase;
mod subscriptions;
mod transactions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

pub use config::{Config, Rules};
pub use disconnect::{Disconnect, Reason};
pub use personal::DESTINATION as PERSONAL_QUEUE;

use self::frames::Turn;
use self::parcel::Parcel;
use self::personal::Recent;
use self::phase::{Connected, Phase, Waiting};
use self::subscriptions::Subscriptions;
use self::transactions::Transactions;
use crate::domain::envelope::{Envelope, Message};
use crate::domain::identity::Identity;
use crate::domain::time::{EpochMs, Now};
use crate::stomp::{Event, FrameWriter, HeartBeat, Offer, Parser, ServerCommand, Version};

/// What a session wants done, in order.
#[derive(Debug)]
pub enum Output {
    /// Bytes for the client that deliver nothing: an answer or a heart-beat.
    Send(Bytes),
    /// A MESSAGE for the client.
    Deliver(Delivered, Bytes),
    /// The attempts or the time of a delivery are over.
    GivenUp,
    /// A delivery without a record was lost to a full window.
    Dropped,
    /// Who is this? Answer with [`Session::handle_authenticated`].
    Authenticate {
        token: String,
        renewal: bool,
    },
    /// Read this page of the user's inbox; answer with [`Session::handle_page`]. Takes the place of a read that is under way.
    Read(inbox::Read),
    /// Write these outcomes; with a ticket, answer with [`Session::handle_confirmed`].
    Confirm(Confirm),
    /// Forward to a topic.
    Publish(Envelope),
    /// Begin or stop to hear a topic.
    Listen(String),
    Unlisten(String),
    /// The end, after everything before it was sent.
    Close(Disconnect),
}

/// What a MESSAGE is, for who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The first to this session; `created` is given unless it was replayed.
    First {
        created: Option<EpochMs>,
    },
    Again,
    /// Asks for no confirmation.
    Once,
}

/// Confirmations of the session's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirm {
    pub ids: Vec<String>,
    /// Only look whether the user has it: NACK leaves the row open.
    pub look_only: bool,
    /// An ACK or NACK frame for what this session doesn't hold: it must have been delivered to it once.
    pub must_exist: bool,
    pub ticket: Option<u32>,
}

/// A page of the inbox, as it was read.
#[derive(Debug)]
pub struct PageRead {
    pub rows: Vec<Message>,
    pub complete: bool,
    pub last_seq: u64,
    pub removed_through: u64,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    parser: Parser,
    phase: Phase,
    outputs: VecDeque<Output>,
}

impl Session {
    /// A session whose transport has just opened.
    pub fn new(rules: Arc<Rules>, now: Now) -> Self {
        let deadline = now.instant + rules.connect_timeout;
        Self {
            parser: Parser::new(rules.frame),
            rules,
            phase: Phase::Opening { deadline },
            outputs: VecDeque::new(),
        }
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // An idle session gives its buffer back.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call [`Session::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening { deadline } => Some(*deadline),
            Phase::Authenticating { .. } | Phase::Closed => None,
            Phase::Connected(connected) => connected.poll_timeout(),
        }
    }

    /// Whether bytes may be handed in. While a question about who this is stands open, what the client sends has to wait.
    pub fn wants_input(&self) -> bool {
        match &self.phase {
            Phase::Opening { .. } => true,
            Phase::Connected(connected) => connected.renewing.is_none() && connected.leaving.is_none(),
            Phase::Authenticating { .. } | Phase::Closed => false,
        }
    }

    /// Who this is, once connected.
    pub fn identity(&self) -> Option<&Identity> {
        match &self.phase {
            Phase::Connected(connected) => Some(&connected.identity),
            _ => None,
        }
    }

    /// The version that was negotiated, once connected.
    pub fn version(&self) -> Option<Version> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected.version),
            _ => None,
        }
    }

    /// Bytes came from the client.
    pub fn handle_bytes(&mut self, bytes: Bytes, now: Now) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.heartbeat.on_received(now.instant);
        }
        self.parser.feed(bytes);
        self.read_frames(now);
    }

    /// The answer to [`Output::Authenticate`].
    pub fn handle_authenticated(&mut self, answer: Result<Identity, Disconnect>, now: Now) {
        match (&mut self.phase, answer) {
            (Phase::Authenticating { .. } | Phase::Connected(_), Err(disconnect)) => {
                self.close(disconnect);
                return;
            }
            (Phase::Authenticating { version, offer }, Ok(identity)) => {
                let (version, offer) = (*version, *offer);
                self.connect(version, offer, identity, now);
            }
            (Phase::Connected(_), Ok(identity)) => self.turn(now, |turn| turn.renewed(identity)),
            (Phase::Opening { .. } | Phase::Closed, _) => return,
        }
        self.read_frames(now);
    }

    /// An envelope for this session arrived at its node.
    pub fn handle_parcel(&mut self, parcel: &Arc<Parcel>, now: Now) {
        self.turn(now, |turn| turn.parcel(parcel));
    }

    /// Bells up to `seq` were lost to a full mailbox; the record has what they rang for.
    pub fn handle_missed(&mut self, seq: u64, now: Now) {
        self.turn(now, |turn| turn.missed(seq));
    }

    /// The answer to [`Output::Read`]; `None` when the record could not be read.
    pub fn handle_page(&mut self, page: Option<PageRead>, now: Now) {
        self.turn(now, |turn| turn.page(page));
    }

    /// The answer to one [`Output::Confirm`] with a ticket: `seq` is the place of its (first) id in the user's inbox, if it is there.
    pub fn handle_confirmed(&mut self, confirm: &Confirm, seq: Option<u64>, now: Now) {
        self.turn(now, |turn| turn.confirmed(confirm, seq));
    }

    /// An instant of [`Session::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        match &self.phase {
            Phase::Opening { deadline } if *deadline <= now.instant => {
                let limit = self.rules.connect_timeout.as_millis();
                let detail = format!("no CONNECT within {limit} ms (session.connect_timeout_ms)");
                self.close(Disconnect::new(Reason::ConnectTimeout, detail));
            }
            Phase::Connected(_) => self.turn(now, |turn| turn.timeout()),
            _ => {}
        }
    }

    /// Ends the session from outside: a drain, a slow client, a transport that is gone.
    pub fn handle_end(&mut self, disconnect: Disconnect) {
        self.close(disconnect);
    }

    /// Reads frames for as long as nothing stands in the way.
    fn read_frames(&mut self, now: Now) {
        while self.wants_input() {
            let frame = match self.parser.next() {
                Ok(Some(Event::Frame(frame))) => frame,
                Ok(Some(Event::HeartBeat)) => continue,
                Ok(None) => return,
                Err(error) => {
                    let reason = match error.kind() {
                        crate::stomp::Kind::Limit => Reason::LimitExceeded,
                        crate::stomp::Kind::Malformed => Reason::MalformedFrame,
                    };
                    let disconnect = Disconnect::new(reason, error.to_string()).with_receipt(error.receipt());
                    self.close(disconnect);
                    return;
                }
            };
            match &self.phase {
                Phase::Opening { .. } => match frames::connect(&frame) {
                    Ok((version, offer, token)) => {
                        self.parser.set_version(version);
                        self.phase = Phase::Authenticating { version, offer };
                        self.outputs.push_back(Output::Authenticate { token, renewal: false });
                    }
                    Err(disconnect) => self.close(disconnect),
                },
                _ => self.turn(now, |turn| turn.frame(frame)),
            }
        }
    }

    fn connect(&mut self, version: Version, offer: Offer, identity: Identity, now: Now) {
        let ours = Offer {
            can_send: self.rules.heartbeat,
            wants: self.rules.heartbeat,
        };
        let ms = self.rules.heartbeat.as_millis();
        let frame = FrameWriter::new(version, ServerCommand::Connected)
            .header("version", version.as_str())
            // The same whatever the client offers; what holds is the longer of the two intervals, and nothing where the client said 0.
            .header("heart-beat", &format!("{ms},{ms}"))
            .header("user-name", &identity.user)
            .header("session", &crate::domain::id::session())
            .header("server", concat!("quick-notify/", env!("CARGO_PKG_VERSION")))
            .end();
        self.outputs.push_back(Output::Send(frame));
        self.phase = Phase::Connected(Box::new(Connected {
            version,
            expires: identity.expires.map(|expires| now.instant_of(expires)),
            identity,
            heartbeat: HeartBeat::negotiate(ours, offer, self.rules.heartbeat_grace, now.instant),
            subscriptions: Subscriptions::default(),
            personal: None,
            recent: Recent::default(),
            transactions: Transactions::default(),
            waiting: Waiting::default(),
            renewing: None,
            leaving: None,
        }));
    }

    /// Lets the connected session act; a disconnect that comes of it ends the session.
    fn turn(&mut self, now: Now, act: impl FnOnce(&mut Turn<'_>) -> Result<(), Disconnect>) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let mut turn = Turn {
            rules: &self.rules,
            connected,
            outputs: &mut self.outputs,
            now,
        };
        // A token that has ended ends the session, whatever it is about to do.
        let done = turn.check_expiry().and_then(|()| act(&mut turn));
        if let Err(disconnect) = done {
            self.close(disconnect);
        }
    }

    fn close(&mut self, disconnect: Disconnect) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if disconnect.reason.is_error() {
            self.outputs.push_back(Output::Send(self.error(&disconnect)));
        }
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Close(disconnect));
    }

    fn error(&self, disconnect: &Disconnect) -> Bytes {
        // Before a version is agreed on: 1.0, which every client reads.
        let version = match &self.phase {
            Phase::Authenticating { version, .. } => *version,
            Phase::Connected(connected) => connected.version,
            Phase::Opening { .. } | Phase::Closed => Version::V1_0,
        };
        let mut frame = FrameWriter::new(version, ServerCommand::Error)
            .header("message", &disconnect.detail)
            .header("code", disconnect.reason.code())
            .header("content-type", "text/plain");
        if let Some(receipt) = &disconnect.receipt {
            frame = frame.header("receipt-id", receipt);
        }
        if disconnect.reason == Reason::UnsupportedVersion {
            frame = frame.header("version", Version::SUPPORTED);
        }
        frame.body(disconnect.detail.as_bytes())
    }
}
