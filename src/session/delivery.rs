//! How parcels and pages reach the client, and what time does to what is unconfirmed.

use std::sync::Arc;

use super::dialect::{self, Dialect};
use super::disconnect::{Disconnect, Reason};
use super::frames::Turn;
use super::inbox::{Bell, Gap};
use super::outbox::{Due, Outbox};
use super::output::{Attempt, Delivered, Delivery, Output, PageRead};
use super::parcel::Parcel;
use super::personal;
use super::subscriptions::{AckMode, Subscription};
use crate::domain::envelope::{Content, Envelope, Message};
use crate::domain::kind;
use crate::domain::notification::Audience;
use crate::stomp::Action;

/// Deliveries without a record that a session remembers: enough for who confirms them one by one, few for who doesn't.
const REMEMBERED: usize = 256;
const REMEMBERED_AUTO: usize = 16;

impl Turn<'_> {
    /// An envelope arrived.
    pub fn parcel(&mut self, parcel: &Arc<Parcel>) -> Result<(), Disconnect> {
        match &parcel.envelope.to {
            Audience::User(_) => self.personal_parcel(parcel),
            Audience::Everyone => self.tell_once(parcel, personal::DESTINATION),
            Audience::Topic(destination) => self.tell_once(parcel, destination),
        }
        Ok(())
    }

    /// Bells up to `seq` were lost.
    pub fn missed(&mut self, seq: u64) -> Result<(), Disconnect> {
        if let Some(personal) = &mut self.connected.personal {
            personal.inbox.ring(seq, false);
        }
        self.read_more();
        Ok(())
    }

    /// A page of the inbox came, or could not be read.
    pub fn page(&mut self, page: Option<PageRead>) -> Result<(), Disconnect> {
        let Some(personal) = &mut self.connected.personal else {
            // Unsubscribed meanwhile.
            return Ok(());
        };
        let Some(page) = page else {
            personal.read_failed(self.now.instant);
            return Ok(());
        };
        let last = page.rows.last().and_then(|row| row.seq);
        let judged = personal
            .inbox
            .page(last, page.complete, page.last_seq, page.removed_through);
        if let Some(gap) = judged.gap {
            self.tell_gap(&gap);
        }
        if judged.begins && self.connected.dialect == Dialect::Events {
            // All before it is confirmed, or told on every resume.
            self.outputs.push(Output::Send(dialect::place(judged.joined_at)));
        }
        if judged.discard && self.connected.dialect == Dialect::Events {
            // Its place means nothing here.
            self.outputs.push(Output::Send(dialect::place(0)));
        }
        if !judged.discard {
            for row in page.rows {
                let replayed = row.seq.is_some_and(|seq| seq <= judged.joined_at);
                let parcel = Arc::new(Parcel::new(Envelope {
                    to: Audience::User(row.receiver.clone()),
                    content: Content::Message(row),
                }));
                self.deliver(&parcel, replayed);
            }
        }
        self.read_more();
        Ok(())
    }

    /// Time has passed.
    pub fn timeout(&mut self) -> Result<(), Disconnect> {
        self.leave_unsettled()?;
        self.send_due();
        self.read_more();
        if !self.connected.wants_input(self.rules) {
            // The client may well be speaking: it is this side that doesn't listen.
            self.connected.heartbeat.on_received(self.now.instant);
        }
        while let Some(action) = self.connected.heartbeat.poll(self.now.instant) {
            match action {
                Action::Send => {
                    let beat = self.connected.dialect.heartbeat();
                    self.outputs.push(Output::Send(beat));
                }
                Action::Dead => {
                    let detail = "the heart-beat that CONNECT promised did not come";
                    return Err(Disconnect::new(Reason::HeartbeatMissed, detail));
                }
            }
        }
        Ok(())
    }

    pub fn check_expiry(&self) -> Result<(), Disconnect> {
        match self.connected.expires {
            Some(expires) if expires <= self.now.instant => {
                let detail = match self.connected.dialect {
                    Dialect::Stomp(_) => {
                        "the token has expired: connect with a fresh one, or send one to /app/token in time"
                    }
                    Dialect::Events => "the token has expired: open the stream again with a fresh one",
                };
                Err(Disconnect::new(Reason::Token("token-expired"), detail))
            }
            _ => Ok(()),
        }
    }

    /// Asks for the next page, if there is something to read and room for it.
    pub fn read_more(&mut self) {
        if let Some(personal) = &mut self.connected.personal
            && let Some(read) = personal.next_read(self.rules.window, self.now.instant)
        {
            self.outputs.push(Output::Read(read));
        }
    }

    /// Tells a subscription that came later what the session holds unconfirmed.
    pub fn tell_again(&mut self, subscription: &Arc<Subscription>) {
        let Some(personal) = &self.connected.personal else {
            return;
        };
        if &*subscription.destination != personal::DESTINATION {
            return;
        }
        for (parcel, number, last_sent) in personal.outbox.iter() {
            self.outputs.deliver(Delivery {
                delivered: Delivered::Again,
                parcel: Arc::clone(parcel),
                subscription: Arc::clone(subscription),
                dialect: self.connected.dialect,
                attempt: Attempt::Further { number, last_sent },
            });
        }
        self.connected.heartbeat.on_sent(self.now.instant);
    }

    fn personal_parcel(&mut self, parcel: &Arc<Parcel>) {
        if let Content::Confirmed(ids) = &parcel.envelope.content {
            self.confirmed_by_rest(ids);
            return;
        }
        let window = self.rules.window;
        let Some(personal) = &mut self.connected.personal else {
            return;
        };
        match parcel.seq() {
            Some(seq) => {
                let room = personal.room(window) > 0;
                match personal.inbox.ring(seq, room) {
                    Bell::Deliver => self.deliver(parcel, false),
                    Bell::Old => {}
                    Bell::Later => self.read_more(),
                }
            }
            None => {
                forget_changed(&mut personal.outbox, parcel, self.connected.dialect);
                if personal.outbox.transient() < window {
                    self.deliver(parcel, false);
                } else {
                    self.outputs.push(Output::Dropped);
                }
                // What was deleted has made room.
                self.read_more();
            }
        }
    }

    /// A client that can say nothing on its own session confirms by REST, and so for all of its user's sessions of that kind. Others confirm for
    /// themselves, and get a notification until they do.
    fn confirmed_by_rest(&mut self, ids: &[String]) {
        if self.connected.dialect != Dialect::Events {
            return;
        }
        if let Some(personal) = &mut self.connected.personal {
            for id in ids {
                personal.outbox.remove(id);
            }
        }
        self.read_more();
    }

    /// First delivery of what has to be confirmed, on each subscription to the personal queue.
    fn deliver(&mut self, parcel: &Arc<Parcel>, replayed: bool) {
        let Some(personal) = &mut self.connected.personal else {
            return;
        };
        self.connected.deliveries += 1;
        let number = self.connected.deliveries;
        personal
            .outbox
            .sent(Arc::clone(parcel), number, &self.rules.resend, self.now);
        let marks = parcel.seq().is_some_and(|seq| personal.inbox.is_resumed_behind(seq));
        let created = match &parcel.envelope.content {
            Content::Message(message) if !replayed => Some(message.created),
            _ => None,
        };
        let told = self.tell(
            parcel,
            personal::DESTINATION,
            Delivered::First { created },
            Attempt::First { replayed, marks },
        );
        match parcel.seq() {
            Some(seq) => self.connected.told.note(seq),
            None => self.remember(parcel, told, number),
        }
    }

    /// Delivery of what needs no confirmation.
    fn tell_once(&mut self, parcel: &Arc<Parcel>, destination: &str) {
        let attempt = Attempt::First {
            replayed: false,
            marks: false,
        };
        let told = self.tell(parcel, destination, Delivered::Once, attempt);
        // In mode `client` its ACK speaks for what came before it on the same queue.
        let number = if destination == personal::DESTINATION {
            self.connected.deliveries
        } else {
            0
        };
        self.remember(parcel, told, number);
    }

    /// One MESSAGE for each subscription to `destination`; answers with the most demanding of their ack modes, if there is any.
    fn tell(
        &mut self,
        parcel: &Arc<Parcel>,
        destination: &str,
        delivered: Delivered,
        attempt: Attempt,
    ) -> Option<AckMode> {
        let mut told = None;
        for subscription in self.connected.subscriptions.to(destination) {
            told = told.max(Some(subscription.ack));
            self.outputs.deliver(Delivery {
                delivered,
                parcel: Arc::clone(parcel),
                subscription: Arc::clone(subscription),
                dialect: self.connected.dialect,
                attempt,
            });
        }
        if told.is_some() {
            self.connected.heartbeat.on_sent(self.now.instant);
        }
        told
    }

    /// Remembers what has no record, for when it is confirmed.
    fn remember(&mut self, parcel: &Parcel, told: Option<AckMode>, number: u64) {
        let most = match told {
            None => return,
            Some(AckMode::Auto) => REMEMBERED_AUTO,
            Some(AckMode::Client | AckMode::ClientIndividual) => REMEMBERED,
        };
        self.connected.recent.note(parcel.id(), number, most);
    }

    fn tell_gap(&mut self, gap: &Gap) {
        let data = serde_json::json!({"requested": gap.requested, "from": gap.from});
        let user = &self.connected.identity.user;
        let parcel = Arc::new(Parcel::new(Envelope {
            to: Audience::User(user.to_string()),
            content: Content::Message(Message {
                id: crate::domain::id::generate(),
                kind: kind::REPLAY_GAP.into(),
                receiver: user.to_string(),
                data: serde_json::value::to_raw_value(&data).expect("numbers are JSON"),
                viewed: false,
                created: self.now.wall,
                seq: None,
            }),
        }));
        self.tell_once(&parcel, personal::DESTINATION);
    }

    fn send_due(&mut self) {
        let Some(personal) = &mut self.connected.personal else {
            return;
        };
        for due in personal.outbox.take_due(&self.rules.resend, self.now) {
            match due {
                Due::GivenUp => self.outputs.push(Output::GivenUp),
                Due::Again {
                    parcel,
                    attempt: number,
                    last_sent,
                } => {
                    let attempt = Attempt::Further { number, last_sent };
                    self.tell(&parcel, personal::DESTINATION, Delivered::Again, attempt);
                }
            }
        }
    }
}

/// What its user deleted elsewhere isn't sent again; to a client that confirms by REST, neither is what was marked as read, which confirms.
fn forget_changed(outbox: &mut Outbox, parcel: &Parcel, dialect: Dialect) {
    if let Content::Message(message) = &parcel.envelope.content
        && (message.kind == kind::NOTIFY_DELETED || message.kind == kind::NOTIFY_VIEWED && dialect == Dialect::Events)
        && let Ok(changed) = serde_json::from_str::<kind::Ids>(message.data.get())
    {
        for id in &changed.ids {
            outbox.remove(id);
        }
    }
}
