//! One connection: the loop that waits on transport, mailbox and timers, and does what the session wants done.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep_until, timeout, timeout_at};

use super::admit::{self, Member};
use super::asking::{self, Answered, Asking};
use super::mailbox::{Mail, Mailbox};
use super::outcomes::Job;
use super::patience::{Patience, revoked_token};
use super::place::Pass;
use super::transport::{Payload, Received, Transport};
use super::{Config, Edge, at_random};
use crate::attach::protocol::Happening;
use crate::domain::envelope::Content;
use crate::domain::facts::Facts;
use crate::domain::time::EpochMs;
use crate::lifecycle::now;
use crate::session::inbox::Read;
use crate::session::parcel::Parcel;
use crate::session::{AppCommand, Confirm, Credential, Delivered, Disconnect, Output, PageRead, Reason, Session};
use crate::store::PageQuery;
use crate::telemetry::events;

/// The farewell to a session whose token has ended takes no longer.
const AFTER_TOKEN: Duration = Duration::from_millis(750);

/// Serves one client that speaks STOMP until its session ends. The place is given up after the farewell.
pub async fn serve(edge: Arc<Edge>, pass: Pass, transport: impl Transport) {
    let session = Session::new(Arc::clone(&edge.rules), now());
    carry(edge, pass, session, transport).await;
}

/// The same for a session that has begun; answers with its end.
pub async fn carry(edge: Arc<Edge>, pass: Pass, session: Session, mut transport: impl Transport) -> Disconnect {
    events::connection_opened();
    let mut connection = Connection {
        session,
        mailbox: Arc::new(Mailbox::new(edge.config.mailbox)),
        topics: Vec::new(),
        member: None,
        reading: None,
        asking: None,
        facts: pass.facts,
        edge,
    };
    connection.edge.hub.enter_lobby(&connection.mailbox);
    if connection.edge.tasks.is_closed() {
        // The drain has begun, and may have looked around before this connection was there.
        connection.mailbox.end(connection.edge.draining(Duration::ZERO));
    }
    let end = connection.run(&mut transport).await;
    let reason = end.reason.code();
    events::connection_closed(
        reason,
        connection.member.as_deref().map(|member| &*member.identity.user),
        end.logged(),
    );
    // What was written before the token's end may still be under way; soon after it nothing is, whyever the session ends.
    let token_ends = match end.reason {
        Reason::Token(_) => Some(Instant::now()),
        _ => connection
            .member
            .as_ref()
            .and_then(|member| member.identity.expires)
            .map(|ends| Instant::from_std(now().instant_of(ends))),
    };
    // Off the roll before the farewell: a client that comes back at once finds its place free.
    let edge = connection.leave(reason);
    if end.reason != Reason::Gone {
        let limit = Instant::now() + Duration::from_millis(edge.config.close_timeout_ms);
        let limit = token_ends.map_or(limit, |ends| limit.min(ends + AFTER_TOKEN));
        let words = farewell(&end, &edge.config);
        // Boxed: what only the end needs would be carried by the idle connection.
        let _ = Box::pin(timeout_at(limit, transport.close(end.reason.close_code(), &words))).await;
    }
    drop(pass.place);
    end
}

struct Connection {
    edge: Arc<Edge>,
    session: Session,
    mailbox: Arc<Mailbox>,
    /// Topics that this connection hears; left when it ends.
    topics: Vec<Box<str>>,
    member: Option<Box<Member>>,
    facts: Option<Arc<Facts>>,
    /// The page of the inbox that is being read.
    reading: Option<BoxFuture<'static, Option<PageRead>>>,
    asking: Option<Box<Asking>>,
}

/// Why the loop goes on.
enum Happened {
    Mail(Mail),
    Received(Received),
    Page(Option<PageRead>),
    Answered(Answered),
    Time,
}

impl Connection {
    async fn run(&mut self, transport: &mut impl Transport) -> Disconnect {
        let mut timer = Box::pin(sleep_until(far_off()));
        loop {
            if let Err(end) = self.carry_out(transport).await {
                return end;
            }
            let deadline = self.session.poll_timeout().map_or_else(far_off, Instant::from_std);
            set(&mut timer, deadline);
            let happened = tokio::select! {
                mail = self.mailbox.take() => Happened::Mail(mail),
                received = transport.receive(), if self.session.wants_input() => Happened::Received(received),
                page = page(&mut self.reading), if self.reading.is_some() => Happened::Page(page),
                answered = asking::next(&mut self.asking), if self.asking.is_some() => Happened::Answered(answered),
                () = &mut timer => Happened::Time,
            };
            // Plugins come and go. With none there this is a look at a pointer.
            self.session.guard_topics(self.edge.hooks.guard_topics());
            match happened {
                Happened::Mail(mail) => self.sort(mail),
                Happened::Received(received) => self.receive(received),
                Happened::Page(page) => {
                    self.reading = None;
                    self.session.handle_page(page, now());
                }
                Happened::Answered(answered) => self.answered(answered),
                Happened::Time => self.session.handle_timeout(now()),
            }
            if self.asking.as_ref().is_some_and(|asking| asking.is_over(&self.edge)) {
                self.asking = None;
            }
        }
    }

    /// What was asked for the session while it went on.
    fn answered(&mut self, answered: Answered) {
        match answered {
            Answered::Renewed(answer) => {
                let is_same =
                    |member: &&mut Box<Member>| matches!(&answer, Ok(fresh) if fresh.user == member.identity.user);
                if let (Ok(fresh), Some(member)) = (&answer, self.member.as_mut().filter(is_same)) {
                    // From now on it is this token that may be revoked.
                    member.identity = fresh.clone();
                }
                self.session.handle_authenticated(answer, now());
                if self.is_revoked(now().wall) {
                    // After it was looked at, and before it was known here whose it is.
                    self.session.handle_end(revoked_token());
                }
            }
            Answered::MayRead(answer) => self.session.handle_may_read(answer, now()),
            Answered::Command(answer) => self.session.handle_answer(&answer, now()),
        }
    }

    /// A command goes to the plugin that serves it, or is answered at once.
    fn command(&mut self, command: AppCommand) {
        let (Some(member), Some(name)) = (&self.member, self.session.name()) else {
            return;
        };
        let user = Arc::clone(&member.identity.user);
        let asking = self.asking.get_or_insert_with(|| Asking::new(&self.edge));
        if let Some(answer) = asking.command(&self.edge, user, name.to_string(), command) {
            self.session.handle_answer(&answer, now());
        }
    }

    fn may_read(&mut self, topic: String) {
        let Some(member) = &self.member else { return };
        let user = Arc::clone(&member.identity.user);
        let asking = self.asking.get_or_insert_with(|| Asking::new(&self.edge));
        asking.may_read(&self.edge, user, topic);
    }

    /// Does everything that the session wants done. An error is the session's end.
    async fn carry_out(&mut self, transport: &mut impl Transport) -> Result<(), Disconnect> {
        let mut wrote = false;
        // One look at the clock a turn, and another after a write that had to wait.
        let mut time = now();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    if self.write(transport, bytes).await? {
                        time = now();
                    }
                    wrote = true;
                }
                Output::Deliver(delivered, bytes, parcel) => {
                    if self.session.has_expired(time) {
                        // The client took its time for what came before, and its token ended meanwhile.
                        self.session.handle_timeout(time);
                        continue;
                    }
                    if self.write(transport, bytes).await? {
                        time = now();
                    }
                    wrote = true;
                    match delivered {
                        Delivered::First { created } => {
                            events::delivered(created, time.wall);
                            self.tell_delivered(&parcel);
                        }
                        Delivered::Again => events::resent(),
                        Delivered::Once => events::broadcast(),
                    }
                }
                Output::Answer(_) if self.session.has_expired(time) => self.session.handle_timeout(time),
                Output::Answer(bytes) => {
                    if self.write(transport, bytes).await? {
                        time = now();
                    }
                    wrote = true;
                }
                Output::GivenUp => events::given_up(),
                Output::Dropped => events::dropped(),
                // The session goes on with the token that it has.
                Output::Authenticate {
                    credential,
                    renewal: true,
                } => {
                    let asking = self.asking.get_or_insert_with(|| Asking::new(&self.edge));
                    asking.renew(&self.edge, credential, self.facts.clone());
                }
                // Boxed: seldom, and its state would be carried by every idle connection.
                Output::Authenticate { credential, .. } => {
                    Box::pin(self.authenticate(&credential)).await;
                    if self.member.is_some() {
                        transport.established();
                    }
                }
                Output::MayRead(topic) => self.may_read(topic),
                Output::Command(command) => self.command(*command),
                Output::Read(read) => self.read(read),
                Output::Confirm(confirm) => self.confirm(confirm).await,
                Output::Publish(envelope) => {
                    if let Err(error) = self.edge.topic.publish(vec![envelope]).await {
                        tracing::warn!(%error, "a message to a topic was lost");
                    }
                }
                Output::Listen(topic) => {
                    self.edge.hub.enter_topic(&topic, &self.mailbox);
                    self.topics.push(topic.into());
                }
                Output::Unlisten(topic) => {
                    self.edge.hub.leave_topic(&topic, &self.mailbox);
                    self.topics.retain(|other| **other != *topic);
                }
                Output::Retract => transport.retract(),
                Output::Close(disconnect) => {
                    self.flush(transport).await?;
                    return Err(disconnect);
                }
            }
        }
        if wrote {
            self.flush(transport).await?;
        }
        Ok(())
    }

    /// Writes one frame, and says whether it had to wait.
    async fn write(&mut self, transport: &mut impl Transport, frame: Bytes) -> Result<bool, Disconnect> {
        // STOMP is text; a body that isn't goes out as what it is.
        let written = self.patience().with(transport.write(Payload::of(frame))).await;
        written.inspect_err(|end| retract(transport, end))
    }

    async fn flush(&mut self, transport: &mut impl Transport) -> Result<(), Disconnect> {
        let flushed = self.patience().with(transport.flush()).await;
        flushed.map(|_| ()).inspect_err(|end| retract(transport, end))
    }

    fn receive(&mut self, received: Received) {
        match received {
            Received::Message(message) => self.session.handle_bytes(message.into_bytes(), now()),
            Received::TooLarge(detail) => {
                let detail = format!("{detail} (edge.max_message)");
                self.session.handle_end(Disconnect::new(Reason::LimitExceeded, detail));
            }
            Received::Malformed(detail) => {
                self.session.handle_end(Disconnect::new(Reason::MalformedFrame, detail));
            }
            Received::Closed => {
                self.session
                    .handle_end(Disconnect::new(Reason::Gone, "the client closed the transport"));
            }
        }
    }

    fn sort(&mut self, mail: Mail) {
        let now = now();
        for (confirm, seq) in &mail.confirmed {
            self.session.handle_confirmed(confirm, *seq, now);
        }
        for parcel in &mail.parcels {
            self.session.handle_parcel(parcel, now);
        }
        if mail.missed > 0 {
            self.session.handle_missed(mail.missed, now);
        }
        if mail.revoked && self.is_revoked(now.wall) {
            self.session.handle_end(revoked_token());
        }
        if let Some(end) = mail.end {
            self.session.handle_end(end);
        }
    }

    async fn authenticate(&mut self, credential: &Credential) {
        let answer = admit::admit(&self.edge, &self.mailbox, credential, self.facts.as_deref()).await;
        let answer = answer.map(|member| {
            self.edge.hub.leave_lobby(&self.mailbox);
            let member = self.member.insert(Box::new(member));
            member.identity.clone()
        });
        self.session.handle_authenticated(answer, now());
        if let (Some(member), Some(name), Some(dialect)) =
            (&mut self.member, self.session.name(), self.session.dialect())
        {
            let (user, dialect) = (&member.identity.user, dialect.name());
            member.opened = Some((name, dialect));
            events::session_opened(user, dialect);
            self.edge.told.session_opened(user, name, dialect);
            self.edge.comings.came(user);
        }
    }

    /// Tells that this session got it for the first time.
    fn tell_delivered(&self, parcel: &Parcel) {
        if self.edge.told.wants(Happening::Delivered)
            && let Content::Message(message) = &parcel.envelope.content
            && let Some((name, _)) = self.member.as_ref().and_then(|member| member.opened)
        {
            self.edge.told.delivered(message, name);
        }
    }

    fn is_revoked(&self, now: EpochMs) -> bool {
        let revocations = self.edge.hub.revocations();
        self.member
            .as_ref()
            .is_some_and(|member| revocations.cover(&member.identity, now))
    }

    /// For one write.
    fn patience(&self) -> Patience<'_> {
        Patience {
            limit: Duration::from_millis(self.edge.config.write_timeout_ms),
            token_ends: self.session.expires().map(Instant::from_std),
            identity: self.member.as_ref().map(|member| &member.identity),
            mailbox: &self.mailbox,
            revocations: self.edge.hub.revocations(),
        }
    }

    fn read(&mut self, read: Read) {
        let Some(member) = &self.member else { return };
        let store = Arc::clone(&self.edge.store);
        let query = PageQuery {
            user: member.identity.user.to_string(),
            after: read.after,
            all_after: read.all_after,
            limit: read.limit as u32,
        };
        self.reading = Some(Box::pin(async move {
            match store.page(&query).await {
                Ok(page) => Some(PageRead {
                    rows: page.rows,
                    complete: page.complete,
                    last_seq: page.last_seq,
                    removed_through: page.removed_through,
                }),
                Err(error) => {
                    events::record_failed("page", &error, 0);
                    None
                }
            }
        }));
    }

    async fn confirm(&mut self, confirm: Confirm) {
        let Some(member) = &self.member else { return };
        let job = Job {
            user: Arc::clone(&member.identity.user),
            reply: confirm.ticket.map(|_| Arc::clone(&self.mailbox)),
            confirm,
        };
        let limit = Duration::from_millis(self.edge.config.ask_timeout_ms);
        if !matches!(timeout(limit, self.edge.outcomes.hand(job)).await, Ok(true)) {
            let detail = "the record is away and too many confirmations wait for it (edge.max_outcomes)";
            self.session.handle_end(Disconnect::new(Reason::Unavailable, detail));
        }
    }

    /// Gives up every place that the connection held.
    fn leave(self, reason: &'static str) -> Arc<Edge> {
        for topic in &self.topics {
            self.edge.hub.leave_topic(topic, &self.mailbox);
        }
        if let Some(member) = self.member {
            events::session_ended();
            let user = Arc::clone(&member.identity.user);
            let opened = member.opened;
            // Out of the hub and off the roll.
            drop(member);
            if let Some((name, dialect)) = opened {
                self.edge.told.session_closed(&user, name, dialect, reason);
                self.edge.comings.went(&user);
            }
        } else {
            self.edge.hub.leave_lobby(&self.mailbox);
        }
        self.edge
    }
}

/// A token that ended while the client was waited for takes what waits along.
fn retract(transport: &mut impl Transport, end: &Disconnect) {
    if matches!(end.reason, Reason::Token(_)) {
        transport.retract();
    }
}

async fn page(reading: &mut Option<BoxFuture<'static, Option<PageRead>>>) -> Option<PageRead> {
    match reading {
        Some(reading) => reading.await,
        None => std::future::pending().await,
    }
}

/// Moves the timer only when it would ring too late; one that rings early finds nothing to do and is set anew.
fn set(timer: &mut Pin<Box<Sleep>>, deadline: Instant) {
    if deadline < timer.deadline() || timer.is_elapsed() {
        timer.as_mut().reset(deadline);
    }
}

fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// The close frame's reason: the code, and for who may come back, when, each at a moment of its own.
fn farewell(end: &Disconnect, config: &Config) -> String {
    let code = end.reason.code();
    let within = Duration::from_millis(config.return_within_ms);
    match (end.retry_after, end.reason) {
        (Some(ms), _) => format!("{code}; retry-after={ms}"),
        (None, Reason::Draining | Reason::Unavailable) => {
            format!("{code}; retry-after={}", at_random(within).as_millis())
        }
        (None, _) => code.to_owned(),
    }
}
