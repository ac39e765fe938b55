//! One session and what stands around it: a client, a clock, a record, and somebody who knows tokens. All of it by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_notify::domain::envelope::{Content, Envelope};
use quick_notify::domain::kind;
use quick_notify::domain::notification::Audience;
use quick_notify::domain::time::Now;
use quick_notify::session::inbox::Read;
use quick_notify::session::parcel::Parcel;
use quick_notify::session::{AppCommand, Config, Confirm, Credential, Disconnect, PageRead, Rules, Session};
use quick_notify::stomp::{Command, CommandSet, Frame, FrameWriter, Limits, Parser, ServerCommand, Version};
use serde_json::Value;

use super::record::{Record, message, parcel};
use crate::harness::Event;

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Midnight of some day: wall time is this and what has passed.
pub const START: i64 = 1_750_000_000_000;

pub struct Story {
    pub session: Session,
    pub now: Now,
    start: Now,
    pub version: Version,
    pub parser: Parser<ServerCommand>,
    /// The events that came, where the client listens to events.
    pub events: Option<Vec<Event>>,
    pub lines: Vec<String>,
    pub asked: Vec<String>,
    /// The MESSAGEs, RECEIPTs and ERRORs that the client got.
    pub frames: Vec<Frame<ServerCommand>>,
    pub record: Record,
    /// What is asked stays unanswered until the story answers it.
    pub hold_reads: bool,
    pub hold_confirms: bool,
    pub hold_tokens: bool,
    pub read: Option<Read>,
    pub confirms: Vec<Confirm>,
    pub token: Option<String>,
    pub commands: Vec<AppCommand>,
}

impl Story {
    /// A session whose transport has just opened.
    pub fn open_with(config: &Config) -> Self {
        let now = Now {
            instant: Instant::now(),
            wall: START,
        };
        Self {
            session: Session::new(Arc::new(Rules::from(config)), now),
            now,
            start: now,
            version: Version::V1_2,
            parser: client(Version::V1_2),
            events: None,
            lines: Vec::new(),
            asked: Vec::new(),
            frames: Vec::new(),
            record: Record::default(),
            hold_reads: false,
            hold_confirms: false,
            hold_tokens: false,
            read: None,
            confirms: Vec::new(),
            token: None,
            commands: Vec::new(),
        }
    }

    /// Asks for events with this token, behind its Last-Event-ID.
    pub fn events_with(token: &str, last_event_id: Option<u64>, config: &Config) -> Self {
        let mut story = Self::open_with(config);
        story.resume(token, last_event_id, config);
        story
    }

    /// The same again: another session on the same record.
    pub fn resume(&mut self, token: &str, last_event_id: Option<u64>, config: &Config) {
        let credential = Credential::Token(token.to_owned());
        self.session = Session::events(Arc::new(Rules::from(config)), credential, last_event_id);
        self.events = Some(Vec::new());
        self.sent();
        self.carry_out();
    }

    pub fn open() -> Self {
        Self::open_with(&Config::default())
    }

    /// Alice, connected, without heart-beats.
    pub fn connected_with(version: &str, config: &Config) -> Self {
        let mut story = Self::open_with(config);
        story.connect(version, "alice");
        assert_eq!(story.sent(), [format!("CONNECTED {version} alice")]);
        story.asked();
        story
    }

    pub fn connected(version: &str) -> Self {
        Self::connected_with(version, &Config::default())
    }

    /// Alice, listening to her inbox: sub-0 in this mode.
    pub fn listening_with(version: &str, ack: &str, config: &Config) -> Self {
        let mut story = Self::connected_with(version, config);
        story.subscribe(ack);
        story
    }

    pub fn listening(version: &str, ack: &str) -> Self {
        Self::listening_with(version, ack, &Config::default())
    }

    pub fn connect(&mut self, version: &str, token: &str) {
        self.version = [Version::V1_0, Version::V1_1, Version::V1_2]
            .into_iter()
            .find(|known| known.as_str() == version)
            .expect("a version");
        self.parser = client(self.version);
        self.says(&format!("CONNECT accept-version:{version} Authorization:{token}"));
    }

    pub fn subscribe(&mut self, ack: &str) {
        self.says(&format!("SUBSCRIBE id:sub-0 destination:/user/queue/msg ack:{ack}"));
    }

    /// The client sends a frame: `COMMAND name:value name:value | body`.
    pub fn says(&mut self, frame: &str) {
        let bytes = self.frame(frame);
        self.sends(&bytes);
    }

    /// The same with several frames in one message.
    pub fn says_all(&mut self, frames: &[&str]) {
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| self.frame(frame)).collect();
        self.sends(&bytes);
    }

    pub fn sends(&mut self, bytes: &[u8]) {
        assert!(self.session.wants_input(), "the session doesn't want to read");
        self.session.handle_bytes(bytes.to_vec().into(), self.now);
        self.carry_out();
    }

    pub fn frame(&self, text: &str) -> Vec<u8> {
        let (head, body) = text.split_once(" | ").unwrap_or((text, ""));
        let mut words = head.split(' ');
        let command = words.next().and_then(Command::read).expect("a command");
        let headers = words.map(|word| word.split_once(':').expect("a header"));
        let writer = FrameWriter::new(self.version, command);
        let writer = headers.fold(writer, |writer, (name, value)| writer.header(name, value));
        writer.body(body.as_bytes()).to_vec()
    }

    /// Lets time pass: every timer rings when it should.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.after(by);
        let mut rung = 0;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end.instant) {
            if due > self.now.instant {
                self.now = self.now.after(due - self.now.instant);
                rung = 0;
            }
            self.session.handle_timeout(self.now);
            self.carry_out();
            rung += 1;
            assert!(rung < 1_000, "a timer that has rung rings on");
        }
        self.now = end;
    }

    /// The process is frozen: no timer rings until it is over.
    pub fn freeze(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.advance(Duration::ZERO);
    }

    /// Stores a notification for Alice and rings.
    pub fn notify(&mut self, id: &str) {
        let seq = self.record.store(id);
        self.bell(seq);
    }

    /// Rings for what is in the record.
    pub fn bell(&mut self, seq: u64) {
        let row = self.record.rows.iter().find(|row| row.seq == seq).expect("a row");
        let parcel = parcel(
            Audience::User("alice".into()),
            Content::Message(message(&row.id, Some(seq))),
        );
        self.hear(&parcel);
    }

    /// A notification for Alice that isn't persisted.
    pub fn whisper(&mut self, id: &str) {
        let parcel = parcel(Audience::User("alice".into()), Content::Message(message(id, None)));
        self.hear(&parcel);
    }

    pub fn broadcast(&mut self, id: &str) {
        let parcel = parcel(Audience::Everyone, Content::Message(message(id, None)));
        self.hear(&parcel);
    }

    pub fn topic(&mut self, topic: &str, id: &str) {
        let parcel = parcel(Audience::Topic(topic.into()), Content::Message(message(id, None)));
        self.hear(&parcel);
    }

    /// Alice confirms by REST.
    pub fn confirms(&mut self, ids: &[&str]) {
        for id in ids {
            if let Some(row) = self.record.row(id) {
                row.open = false;
            }
        }
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.hear(&Arc::new(Parcel::new(Envelope::confirmed("alice", ids))));
    }

    /// Alice deletes notifications by REST, or in another tab.
    pub fn deletes(&mut self, ids: &[&str]) {
        for id in ids {
            let row = self.record.row(id).expect("a row");
            (row.deleted, row.open) = (true, false);
        }
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let envelope = Envelope::change("alice", kind::NOTIFY_DELETED, ids, self.now.wall);
        self.hear(&Arc::new(Parcel::new(envelope)));
    }

    /// Alice marks notifications as read by REST.
    pub fn views(&mut self, ids: &[&str]) {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let envelope = Envelope::change("alice", kind::NOTIFY_VIEWED, ids, self.now.wall);
        self.hear(&Arc::new(Parcel::new(envelope)));
    }

    pub fn hear(&mut self, parcel: &Arc<Parcel>) {
        self.session.handle_parcel(parcel, self.now);
        self.carry_out();
    }

    pub fn missed(&mut self, seq: u64) {
        self.session.handle_missed(seq, self.now);
        self.carry_out();
    }

    /// Answers the read that is held.
    pub fn answer_read(&mut self) {
        let read = self.read.take().expect("a read is under way");
        let page = self.record.page(read);
        self.give_page(Some(page));
    }

    pub fn fail_read(&mut self) {
        self.read.take().expect("a read is under way");
        self.give_page(None);
    }

    pub fn give_page(&mut self, page: Option<PageRead>) {
        self.session.handle_page(page, self.now);
        self.carry_out();
    }

    /// Answers the confirmations that are held, in their order.
    pub fn answer_confirms(&mut self) {
        while !self.confirms.is_empty() {
            let confirm = self.confirms.remove(0);
            self.store_outcome(&confirm);
            self.carry_out();
        }
    }

    pub fn answer_token(&mut self) {
        let token = self.token.take().expect("a token is being looked at");
        self.judge(&token);
        self.carry_out();
    }

    pub fn ends(&mut self, disconnect: Disconnect) {
        self.session.handle_end(disconnect);
        self.carry_out();
    }

    /// What the client got since the last look, and what became of the session.
    pub fn sent(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    /// What the session wanted of others since the last look.
    pub fn asked(&mut self) -> Vec<String> {
        std::mem::take(&mut self.asked)
    }

    /// What comes while time passes, with the second at which it comes.
    pub fn sent_during(&mut self, by: Duration) -> Vec<String> {
        let begin = self.now;
        let end = begin.after(by);
        let mut timed: Vec<_> = self.sent().into_iter().map(|line| format!("0s {line}")).collect();
        while self.now.instant < end.instant {
            let next = self.session.poll_timeout().filter(|due| *due <= end.instant);
            let step = next.map_or(end.instant, |due| due.max(self.now.instant)) - self.now.instant;
            self.advance(step);
            let passed = self.now.instant - begin.instant;
            timed.extend(
                self.sent()
                    .into_iter()
                    .map(|line| format!("{}s {line}", passed.as_secs_f64())),
            );
        }
        timed
    }

    /// The body of the last MESSAGE.
    pub fn body(&self) -> Value {
        let frame = self
            .frames
            .iter()
            .rfind(|frame| frame.command == ServerCommand::Message);
        serde_json::from_slice(&frame.expect("a MESSAGE").body).expect("JSON")
    }

    /// A header of the last frame.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.frames.last().expect("a frame").headers.get(name)
    }

    pub fn is_closed(&self) -> bool {
        self.lines.iter().any(|line| line.starts_with("close "))
    }

    /// Milliseconds of wall time, as bodies have them, `after` the start of the story.
    pub fn wall(&self, after: Duration) -> i64 {
        self.start.after(after).wall
    }
}

fn client(version: Version) -> Parser<ServerCommand> {
    let mut parser = Parser::of_server(Limits::default());
    parser.set_version(version);
    parser
}
