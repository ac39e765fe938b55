//! One connection: the loop that waits on transport, mailbox and timers, and does what the session wants done.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hyper::upgrade::Upgraded;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::Edge;
use super::hub::Present;
use super::mailbox::{Mail, Mailbox};
use super::outcomes::Job;
use super::transport::{Lost, Received, Transport};
use super::websocket::WebSocket;
use crate::auth::{self, Refusal};
use crate::domain::identity::Identity;
use crate::domain::revocation::Revocation;
use crate::lifecycle::now;
use crate::session::inbox::Read;
use crate::session::{Confirm, Delivered, Disconnect, Output, PageRead, Reason, Session};
use crate::store::PageQuery;
use crate::telemetry::events;
use crate::topic::{Entered, Seat, TopicError};

/// Serves one client until its session ends.
pub async fn serve(edge: Arc<Edge>, upgraded: Upgraded) {
    // Boxed, here and at the farewell: what only the beginning and the end need would be carried by the idle connection.
    let mut transport = Box::pin(WebSocket::new(upgraded, &edge.config)).await;
    events::connection_opened();
    let mut connection = Connection {
        session: Session::new(Arc::clone(&edge.rules), now()),
        mailbox: Arc::new(Mailbox::new(edge.config.mailbox)),
        topics: Vec::new(),
        member: None,
        reading: None,
        edge,
    };
    connection.edge.hub.enter_lobby(&connection.mailbox);
    if connection.edge.tasks.is_closed() {
        // The drain has begun, and may have looked around before this connection was there.
        connection
            .mailbox
            .end(Disconnect::new(Reason::Draining, "the server is going away; come back"));
    }
    let end = connection.run(&mut transport).await;
    let reason = end.reason.code();
    events::connection_closed(
        reason,
        connection.member.as_deref().map(|member| &*member.identity.user),
        &end.detail,
    );
    // Off the roll before the farewell: a client that comes back at once finds its place free.
    let edge = connection.leave();
    if end.reason != Reason::Gone {
        let limit = Duration::from_millis(edge.config.close_timeout_ms);
        let words = farewell(&end, edge.config.return_within_ms);
        let _ = Box::pin(timeout(limit, transport.close(end.reason.close_code(), &words))).await;
    }
    edge.open.fetch_sub(1, Ordering::Relaxed);
}

struct Connection {
    edge: Arc<Edge>,
    session: Session,
    mailbox: Arc<Mailbox>,
    /// Topics that this connection hears; left when it ends.
    topics: Vec<Box<str>>,
    member: Option<Box<Member>>,
    /// The page of the inbox that is being read.
    reading: Option<BoxFuture<'static, Option<PageRead>>>,
}

/// What an authenticated session holds besides its state: places that free themselves.
struct Member {
    identity: Identity,
    _present: Present,
    _entered: Entered,
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
            tokio::select! {
                mail = self.mailbox.take() => self.sort(mail),
                received = transport.receive(), if self.session.wants_input() => self.receive(received),
                page = page(&mut self.reading), if self.reading.is_some() => {
                    self.reading = None;
                    self.session.handle_page(page, now());
                }
                () = &mut timer => self.session.handle_timeout(now()),
            }
        }
    }

    /// Does everything that the session wants done. An error is the session's end.
    async fn carry_out(&mut self, transport: &mut impl Transport) -> Result<(), Disconnect> {
        let limit = Duration::from_millis(self.edge.config.write_timeout_ms);
        let mut wrote = false;
        // One look at the clock a turn, and another after a write that had to wait.
        let mut time = now();
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(bytes) => {
                    if in_time(limit, transport.write(bytes)).await? {
                        time = now();
                    }
                    wrote = true;
                }
                Output::Deliver(delivered, bytes) => {
                    if self.session.has_expired(time) {
                        // The client took its time for what came before, and its token ended meanwhile.
                        self.session.handle_timeout(time);
                        continue;
                    }
                    if in_time(limit, transport.write(bytes)).await? {
                        time = now();
                    }
                    wrote = true;
                    match delivered {
                        Delivered::First { created } => events::delivered(created, time.wall),
                        Delivered::Again => events::resent(),
                        Delivered::Once => events::broadcast(),
                    }
                }
                Output::GivenUp => events::given_up(),
                Output::Dropped => events::dropped(),
                // Boxed: seldom, and its state would be carried by every idle connection.
                Output::Authenticate { token, renewal } => Box::pin(self.authenticate(&token, renewal)).await,
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
                Output::Close(disconnect) => {
                    in_time(limit, transport.flush()).await?;
                    return Err(disconnect);
                }
            }
        }
        if wrote {
            in_time(limit, transport.flush()).await?;
        }
        Ok(())
    }

    fn receive(&mut self, received: Received) {
        match received {
            Received::Message(bytes) => self.session.handle_bytes(bytes, now()),
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
        let covered = |revocation: &Arc<Revocation>| {
            self.member
                .as_ref()
                .is_some_and(|member| revocation.covers(&member.identity))
        };
        if mail.revoked.iter().any(covered) {
            let detail = "the token was revoked";
            self.session
                .handle_end(Disconnect::new(Reason::Token("token-revoked"), detail));
        }
        if let Some(end) = mail.end {
            self.session.handle_end(end);
        }
    }

    async fn authenticate(&mut self, token: &str, renewal: bool) {
        let answer = self.admit(token, renewal).await;
        let opened = answer.is_ok() && !renewal;
        self.session.handle_authenticated(answer, now());
        if opened && let (Some(member), Some(version)) = (&self.member, self.session.version()) {
            events::session_opened(&member.identity.user, version.as_str());
        }
    }

    /// Checks the token and, at CONNECT, takes a place on the roll and in the hub.
    async fn admit(&mut self, token: &str, renewal: bool) -> Result<Identity, Disconnect> {
        let limit = Duration::from_millis(self.edge.config.ask_timeout_ms);
        let asking = self.edge.auth.authenticate(auth::bearer(token), now().wall);
        let identity = match timeout(limit, asking).await.unwrap_or(Err(Refusal::Unavailable)) {
            Ok(identity) => identity,
            Err(refusal) => return Err(Disconnect::new(Reason::Token(refusal.code()), refusal.to_string())),
        };
        if renewal {
            return Ok(identity);
        }
        let cap = self.edge.max_per_user;
        let seat = Arc::clone(&self.mailbox) as Arc<dyn Seat>;
        let entered = match timeout(limit, self.edge.topic.enter(&identity.user, seat, cap)).await {
            Ok(Ok(entered)) => entered,
            Ok(Err(TopicError::Full(_))) => {
                let detail = format!("this user has {cap} sessions already (session.max_per_user)");
                return Err(Disconnect::new(Reason::TooManySessions, detail));
            }
            Ok(Err(TopicError::Unavailable(_) | TopicError::Refused(_))) | Err(_) => {
                return Err(Disconnect::new(
                    Reason::Unavailable,
                    "sessions can't be counted now; try again",
                ));
            }
        };
        self.member = Some(Box::new(Member {
            _present: self.edge.hub.enter_user(&identity.user, &self.mailbox),
            _entered: entered,
            identity: identity.clone(),
        }));
        self.edge.hub.leave_lobby(&self.mailbox);
        Ok(identity)
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
    fn leave(self) -> Arc<Edge> {
        for topic in &self.topics {
            self.edge.hub.leave_topic(topic, &self.mailbox);
        }
        if self.member.is_some() {
            events::session_ended();
        } else {
            self.edge.hub.leave_lobby(&self.mailbox);
        }
        self.edge
    }
}

/// Writes, and says whether it had to wait; or why the session ends: the client is gone, or does not take what is sent.
async fn in_time(limit: Duration, write: impl Future<Output = Result<(), Lost>>) -> Result<bool, Disconnect> {
    let mut write = pin!(write);
    // Nearly every write is done at once: a timer is for the others.
    let at_once = poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await;
    let (waited, done) = match at_once {
        Poll::Ready(done) => (false, Ok(done)),
        Poll::Pending => (true, timeout(limit, write).await),
    };
    match done {
        Ok(Ok(())) => Ok(waited),
        Ok(Err(Lost)) => Err(Disconnect::new(Reason::Gone, "the transport broke")),
        Err(_) => {
            let detail = "the client did not take what was sent (edge.write_timeout_ms)";
            Err(Disconnect::new(Reason::SlowConsumer, detail))
        }
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

/// The close frame's reason: the code, and for a drained client when to come back, each at a moment of its own.
fn farewell(end: &Disconnect, return_within_ms: u64) -> String {
    match end.reason {
        Reason::Draining | Reason::Unavailable => {
            let spread = u64::from(uuid::Uuid::new_v4().as_fields().0) % (return_within_ms + 1);
            format!("{}; retry-after={spread}", end.reason.code())
        }
        reason => reason.code().to_owned(),
    }
}
