//! A session as a state machine: frames, envelopes and the time go in; frames or events, questions and the end come out.
//!
//! Pure: no I/O, no clock, no logging. Whoever drives it calls `handle_*`, empties [`Session::poll_output`], and waits for the next of: bytes
//! (while [`Session::wants_input`]), an answer to a question, a parcel, [`Session::poll_timeout`].
//!
//! A client speaks STOMP, or only listens to server-sent events (see `dialect`): the inbox, its order, its window and its re-sends are the same.
//!
//! - `phase` is where the session is in its life, and owns what that phase needs;
//! - `frames` sorts what the client says; `subscribing`, `sending` and `confirming` do it;
//! - `delivery` is how parcels and pages reach the client;
//! - `inbox` keeps the place in the user's inbox, `outbox` what is unconfirmed, `told` and `recent` what was delivered before;
//! - `output` is what the session wants done.
//!
//! An idle session holds no buffers.

pub mod commanding;
mod config;
mod confirming;
mod delivery;
mod dialect;
pub mod disconnect;
mod frames;
pub mod inbox;
mod outbox;
mod output;
pub mod parcel;
mod personal;
mod phase;
mod recent;
mod sending;
mod subscribing;
mod subscriptions;
mod told;
mod transactions;
mod waiting;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use commanding::{AppCommand, CommandAnswer, Said};
pub use config::{Config, Rules};
pub use dialect::Dialect;
pub use disconnect::{Disconnect, Reason};
pub use output::{Confirm, Credential, Delivered, Output, PageRead};
pub use personal::DESTINATION as PERSONAL_QUEUE;

use self::frames::Turn;
use self::output::Outputs;
use self::parcel::Parcel;
use self::phase::{Connected, Hello, Phase};
use crate::domain::id::SessionName;
use crate::domain::identity::Identity;
use crate::domain::time::Now;
use crate::stomp::{Event, FrameWriter, HeartBeat, Offer, Parser, ServerCommand, Version};

/// So many outputs wait at most before what they answer is read on: a chunk may hold a hundred thousand frames.
const AT_ONCE: usize = 256;

/// One session.
#[derive(Debug)]
pub struct Session {
    rules: Arc<Rules>,
    parser: Parser,
    phase: Phase,
    outputs: Outputs,
    /// Frames that came are left for when the outputs have been taken.
    paused: Option<Instant>,
    /// Whether somebody else has a say about topics.
    topics_guarded: bool,
}

impl Session {
    /// A session whose transport has just opened.
    pub fn new(rules: Arc<Rules>, now: Now) -> Self {
        let deadline = now.instant + rules.connect_timeout;
        Self {
            parser: Parser::new(rules.frame),
            rules,
            phase: Phase::Opening { deadline },
            outputs: Outputs::default(),
            paused: None,
            topics_guarded: false,
        }
    }

    /// A session of a client that asks for events, behind its Last-Event-ID if it has one. It is subscribed to the personal queue as soon as it is
    /// known who it is; until then it says nothing, so that the answer to the request may still be any.
    pub fn events(rules: Arc<Rules>, credential: Credential, last_event_id: Option<u64>) -> Self {
        let mut outputs = Outputs::default();
        outputs.push(Output::Authenticate {
            credential,
            renewal: false,
        });
        Self {
            parser: Parser::new(rules.frame),
            rules,
            phase: Phase::Authenticating(Hello::Events { last_event_id }),
            outputs,
            paused: None,
            topics_guarded: false,
        }
    }

    /// Whether somebody is to be asked, from now on, before a topic is read that the token allows.
    pub fn guard_topics(&mut self, guarded: bool) {
        self.topics_guarded = guarded;
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.take()
    }

    /// When to call [`Session::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening { deadline } => Some(*deadline),
            Phase::Authenticating(_) | Phase::Closed => None,
            // Frames that were left are read at once.
            Phase::Connected(connected) => self.paused.or_else(|| connected.poll_timeout()),
        }
    }

    /// Whether bytes may be handed in. While a question about who this is stands open, what the client sends has to wait; so it has while what it
    /// sent before is still being answered.
    pub fn wants_input(&self) -> bool {
        self.paused.is_none() && self.can_read()
    }

    /// What its client speaks, once connected.
    pub fn dialect(&self) -> Option<Dialect> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected.dialect),
            _ => None,
        }
    }

    /// What it is called, once connected.
    pub fn name(&self) -> Option<SessionName> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected.name),
            _ => None,
        }
    }

    /// Whether the token has ended, so that nothing more may be delivered. [`Session::handle_timeout`] then ends the session.
    pub fn has_expired(&self, now: Now) -> bool {
        self.expires().is_some_and(|expires| expires <= now.instant)
    }

    /// When the token ends, if it does.
    pub fn expires(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Connected(connected) => connected.expires,
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
            (Phase::Authenticating(hello), Err(disconnect)) => {
                let receipt = match hello {
                    Hello::Connect { receipt, .. } => receipt.take(),
                    Hello::Events { .. } => None,
                };
                self.close(Disconnect { receipt, ..disconnect });
            }
            (Phase::Connected(connected), Err(disconnect)) => {
                let receipt = connected.renewing.take().flatten();
                self.close(Disconnect { receipt, ..disconnect });
            }
            (Phase::Authenticating(Hello::Connect { version, offer, .. }), Ok(identity)) => {
                let (version, offer) = (*version, *offer);
                self.connect(version, offer, identity, now);
            }
            (Phase::Authenticating(Hello::Events { last_event_id }), Ok(identity)) => {
                let last_event_id = *last_event_id;
                self.open(last_event_id, identity, now);
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
        self.read_frames(now);
    }

    /// The answer to [`Output::MayRead`].
    pub fn handle_may_read(&mut self, answer: Result<(), Disconnect>, now: Now) {
        self.turn(now, |turn| turn.judged(answer));
        self.read_frames(now);
    }

    /// The answer to one [`Output::Command`].
    pub fn handle_answer(&mut self, answer: &CommandAnswer, now: Now) {
        self.turn(now, |turn| {
            turn.answer(answer);
            Ok(())
        });
    }

    /// An instant of [`Session::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Now) {
        match &self.phase {
            Phase::Opening { deadline } if *deadline <= now.instant => {
                let limit = self.rules.connect_timeout.as_millis();
                let detail = format!("no CONNECT within {limit} ms (session.connect_timeout_ms)");
                self.close(Disconnect::new(Reason::ConnectTimeout, detail));
            }
            Phase::Connected(_) => {
                self.turn(now, |turn| turn.timeout());
                self.read_frames(now);
            }
            _ => {}
        }
    }

    /// Ends the session from outside: a drain, a slow client, a transport that is gone.
    pub fn handle_end(&mut self, disconnect: Disconnect) {
        self.close(disconnect);
    }

    /// Whether frames that have come may be read.
    fn can_read(&self) -> bool {
        match &self.phase {
            Phase::Opening { .. } => true,
            Phase::Connected(connected) => connected.wants_input(&self.rules),
            Phase::Authenticating(_) | Phase::Closed => false,
        }
    }

    /// Reads frames for as long as nothing stands in the way.
    fn read_frames(&mut self, now: Now) {
        self.paused = None;
        while self.can_read() {
            if self.outputs.len() >= AT_ONCE {
                self.paused = Some(now.instant);
                return;
            }
            let frame = match self.parser.next() {
                Ok(Some(Event::Frame(frame))) => frame,
                Ok(Some(Event::HeartBeat)) => continue,
                Ok(None) => return,
                Err(error) => {
                    self.close(Disconnect::of(&error));
                    return;
                }
            };
            match &self.phase {
                Phase::Opening { .. } => match frames::connect(&frame) {
                    Ok((version, offer, token)) => {
                        self.parser.set_version(version);
                        self.phase = Phase::Authenticating(Hello::Connect {
                            version,
                            offer,
                            receipt: frame.headers.get("receipt").map(str::to_owned),
                        });
                        self.outputs.push(Output::Authenticate {
                            credential: Credential::Token(token),
                            renewal: false,
                        });
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
        let name = SessionName::generate();
        let frame = FrameWriter::new(version, ServerCommand::Connected)
            .header("version", version.as_str())
            // The same whatever the client offers; what holds is the longer of the two intervals, and nothing where the client said 0.
            .header("heart-beat", &format!("{ms},{ms}"))
            .header("user-name", &identity.user)
            .header("session", &name.to_string())
            .header("server", concat!("quick-notify/", env!("CARGO_PKG_VERSION")))
            .end();
        self.outputs.push(Output::Send(frame));
        let heartbeat = HeartBeat::negotiate(ours, offer, self.rules.heartbeat_grace, now.instant);
        let connected = Connected::new(name, Dialect::Stomp(version), identity, heartbeat, now);
        self.phase = Phase::Connected(Box::new(connected));
    }

    /// Opens a stream of events.
    fn open(&mut self, last_event_id: Option<u64>, identity: Identity, now: Now) {
        let every = self.rules.heartbeat;
        let ours = Offer {
            can_send: every,
            wants: every,
        };
        // It would like to hear something, and has no way to beat itself.
        let theirs = Offer {
            can_send: Duration::ZERO,
            wants: every,
        };
        let heartbeat = HeartBeat::negotiate(ours, theirs, self.rules.heartbeat_grace, now.instant);
        let name = SessionName::generate();
        self.outputs.push(Output::Send(dialect::connected(name, &identity)));
        let connected = Connected::new(name, Dialect::Events, identity, heartbeat, now);
        self.phase = Phase::Connected(Box::new(connected));
        self.turn(now, |turn| {
            turn.listen(last_event_id);
            Ok(())
        });
    }

    /// Lets the connected session act; a disconnect that comes of it ends the session.
    fn turn(&mut self, now: Now, act: impl FnOnce(&mut Turn<'_>) -> Result<(), Disconnect>) {
        let Phase::Connected(connected) = &mut self.phase else {
            return;
        };
        let mut turn = Turn {
            rules: &self.rules,
            topics_guarded: self.topics_guarded,
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
            // What was about to be delivered isn't: the record has it for the next session, and a token may have ended.
            self.outputs.retract_deliveries();
            if matches!(disconnect.reason, Reason::Token(_)) {
                self.outputs.push(Output::Retract);
            }
        }
        if let Some(farewell) = self.farewell(&disconnect) {
            self.outputs.push(Output::Send(farewell));
        }
        self.phase = Phase::Closed;
        self.outputs.push(Output::Close(disconnect));
    }

    /// What the client is told of the end.
    fn farewell(&self, end: &Disconnect) -> Option<Bytes> {
        let dialect = match &self.phase {
            // The answer to its request says it.
            Phase::Authenticating(Hello::Events { .. }) => return None,
            Phase::Authenticating(Hello::Connect { version, .. }) => Dialect::Stomp(*version),
            Phase::Connected(connected) => connected.dialect,
            // Before a version is agreed on: 1.0, which every client reads.
            Phase::Opening { .. } | Phase::Closed => Dialect::Stomp(Version::V1_0),
        };
        match dialect {
            Dialect::Stomp(version) => end.reason.is_error().then(|| error(version, end)),
            // There is no close frame that could say the rest.
            Dialect::Events => (end.reason.is_error() || end.reason == Reason::Draining).then(|| dialect::closed(end)),
        }
    }
}

fn error(version: Version, disconnect: &Disconnect) -> Bytes {
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
