//! What each client frame does to a connected session.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::config::Rules;
use super::disconnect::{Disconnect, Reason};
use super::personal::{self, Personal};
use super::phase::{Connected, Leaving};
use super::subscriptions::{AckMode, Subscription};
use super::transactions::Fault;
use super::{Confirm, Output};
use crate::domain::envelope::Envelope;
use crate::domain::id::name_problem;
use crate::domain::identity::Identity;
use crate::domain::notification::topic_destination;
use crate::domain::time::Now;
use crate::stomp::{Command, Frame, FrameWriter, Offer, ServerCommand, Version};

/// Confirmation by SEND: the body is the id, as plain text.
const APP_ACK: &str = "/app/ack";
/// A fresh token by SEND: the body is the token.
const APP_TOKEN: &str = "/app/token";
/// The demo's echo to everyone.
const APP_SEND_MESSAGE: &str = "/app/sendMessage";
const DEMO_TOPIC: &str = "/topic/messages";

/// How long after DISCONNECT the session waits for its outcomes to be stored.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// A connected session while it acts.
pub(super) struct Turn<'a> {
    pub rules: &'a Rules,
    pub connected: &'a mut Connected,
    pub outputs: &'a mut VecDeque<Output>,
    pub now: Now,
}

/// Reads the first frame: the version, the client's heart-beat, and the token.
pub(super) fn connect(frame: &Frame) -> Result<(Version, Offer, String), Disconnect> {
    let receipt = frame.headers.get("receipt");
    if !matches!(frame.command, Command::Connect | Command::Stomp) {
        let detail = format!("{} before CONNECT", frame.command.as_str());
        return Err(Disconnect::new(Reason::NotConnected, detail).with_receipt(receipt));
    }
    let Some(version) = Version::negotiate(frame.headers.get("accept-version")) else {
        let detail = format!(
            "none of the versions in accept-version is served; served: {}",
            Version::SUPPORTED
        );
        return Err(Disconnect::new(Reason::UnsupportedVersion, detail).with_receipt(receipt));
    };
    let offer = Offer::parse(frame.headers.get("heart-beat"))
        .map_err(|error| Disconnect::new(Reason::MalformedFrame, error.to_string()).with_receipt(receipt))?;
    let token = frame
        .headers
        .get("Authorization")
        .or_else(|| frame.headers.get("authorization"));
    Ok((version, offer, token.unwrap_or_default().to_owned()))
}

impl Turn<'_> {
    /// One frame behind CONNECT. An error ends the session, and carries the frame's receipt.
    pub fn frame(&mut self, frame: Frame) -> Result<(), Disconnect> {
        let receipt = frame.headers.get("receipt").map(str::to_owned);
        self.dispatch(frame, receipt.clone())
            .map_err(|disconnect| Disconnect { receipt, ..disconnect })
    }

    fn dispatch(&mut self, frame: Frame, receipt: Option<String>) -> Result<(), Disconnect> {
        match frame.command {
            Command::Connect | Command::Stomp => {
                return Err(Disconnect::new(
                    Reason::AlreadyConnected,
                    "a second CONNECT on one session",
                ));
            }
            Command::Send | Command::Ack | Command::Nack => {
                if let Some(transaction) = frame.headers.get("transaction").map(str::to_owned) {
                    let added = self
                        .connected
                        .transactions
                        .add(&transaction, frame, &self.rules.transactions);
                    added.map_err(|fault| transaction_fault(&transaction, fault))?;
                } else if frame.command == Command::Send && frame.headers.get("destination") == Some(APP_TOKEN) {
                    return self.renew(&frame, receipt);
                } else {
                    let confirm = self.apply(&frame)?;
                    self.settle(confirm.into_iter().collect(), receipt);
                    return Ok(());
                }
            }
            Command::Subscribe => self.subscribe(&frame)?,
            Command::Unsubscribe => self.unsubscribe(&frame)?,
            Command::Begin => {
                let name = required(&frame, "transaction")?;
                let begun = self.connected.transactions.begin(name, &self.rules.transactions);
                begun.map_err(|fault| transaction_fault(name, fault))?;
            }
            Command::Abort => {
                let name = required(&frame, "transaction")?;
                self.connected
                    .transactions
                    .end(name)
                    .map_err(|fault| transaction_fault(name, fault))?;
            }
            Command::Commit => {
                let name = required(&frame, "transaction")?;
                let frames = self
                    .connected
                    .transactions
                    .end(name)
                    .map_err(|fault| transaction_fault(name, fault))?;
                let mut confirms = Vec::new();
                for frame in &frames {
                    confirms.extend(self.apply(frame)?);
                }
                self.settle(confirms, receipt);
                return Ok(());
            }
            Command::Disconnect => {
                self.connected.leaving = Some(Leaving {
                    receipt,
                    deadline: self.now.instant + LEAVE_WITHIN,
                });
                return self.leave_if_settled();
            }
        }
        self.receipt(receipt);
        // What was subscribed to is told behind the receipt.
        self.read_more();
        Ok(())
    }

    /// Carries out SEND, ACK or NACK, at once or at COMMIT.
    fn apply(&mut self, frame: &Frame) -> Result<Option<Confirm>, Disconnect> {
        match frame.command {
            Command::Ack => self.acknowledge(frame, false),
            Command::Nack => self.acknowledge(frame, true),
            _ => self.send(frame),
        }
    }

    fn send(&mut self, frame: &Frame) -> Result<Option<Confirm>, Disconnect> {
        let destination = required(frame, "destination")?;
        match destination {
            APP_ACK => Ok(std::str::from_utf8(&frame.body)
                .ok()
                .and_then(|id| self.confirm_by_send(id.trim()))),
            APP_TOKEN => Err(Disconnect::new(
                Reason::BadState,
                "a token can't be renewed within a transaction",
            )),
            APP_SEND_MESSAGE => {
                self.may_write(DEMO_TOPIC)?;
                let text = String::from_utf8_lossy(&frame.body);
                let body = serde_json::to_vec(&serde_json::json!({"payload": text})).expect("text is JSON");
                self.publish(DEMO_TOPIC.into(), Some("application/json"), body.into());
                Ok(None)
            }
            _ if destination.starts_with("/topic/") => {
                let topic = topic(destination)?;
                self.may_write(&topic)?;
                self.publish(topic, frame.headers.get("content-type"), frame.body.clone());
                Ok(None)
            }
            _ if destination.starts_with("/user/") || destination.starts_with("/queue/") => {
                let detail = format!("SEND to {}: only the server sends there", excerpt(destination));
                Err(Disconnect::new(Reason::ForbiddenDestination, detail))
            }
            _ => Err(unknown_destination("SEND", destination)),
        }
    }

    fn publish(&mut self, destination: String, content_type: Option<&str>, body: Bytes) {
        let envelope = Envelope::relay(destination, content_type.map(str::to_owned), body);
        self.outputs.push_back(Output::Publish(envelope));
    }

    fn may_write(&self, topic: &str) -> Result<(), Disconnect> {
        if self.connected.identity.topics.may_write(topic) {
            return Ok(());
        }
        let detail = format!("SEND to {}: this token does not allow it", excerpt(topic));
        Err(Disconnect::new(Reason::ForbiddenDestination, detail))
    }

    /// `/app/ack`: what is not this user's, or not known, changes nothing.
    fn confirm_by_send(&mut self, id: &str) -> Option<Confirm> {
        if let Some(personal) = &mut self.connected.personal
            && let Some(parcel) = personal.outbox.remove(id)
        {
            return parcel.seq().map(|_| Confirm::held(vec![id.to_owned()]));
        }
        if self.connected.recent.has(id) || name_problem(id).is_some() {
            return None;
        }
        Some(Confirm::held(vec![id.to_owned()]))
    }

    /// ACK and NACK. In mode `client` they speak for all deliveries before, too (STOMP 1.2, ACK).
    fn acknowledge(&mut self, frame: &Frame, negative: bool) -> Result<Option<Confirm>, Disconnect> {
        let header = if self.connected.version == Version::V1_2 {
            "id"
        } else {
            "message-id"
        };
        let id = required(frame, header)?;
        let mode = self.mode_of(frame.headers.get("subscription"));
        if let Some(personal) = &mut self.connected.personal
            && personal.outbox.contains(id)
        {
            let settled = match mode {
                AckMode::Client => personal.outbox.remove_through(id),
                AckMode::Auto | AckMode::ClientIndividual => personal.outbox.remove(id).into_iter().collect(),
            };
            let persisted = settled.iter().filter(|parcel| parcel.seq().is_some());
            let ids: Vec<_> = persisted.map(|parcel| parcel.id().to_owned()).collect();
            // A NACK ends the re-sends; the row stays open for the next session.
            return Ok((!negative && !ids.is_empty()).then(|| Confirm::held(ids)));
        }
        if self.connected.recent.may_have(id) {
            return Ok(None);
        }
        if name_problem(id).is_some() {
            return Err(unknown_message(id));
        }
        Ok(Some(Confirm {
            ids: vec![id.to_owned()],
            look_only: negative,
            must_exist: true,
            ticket: None,
        }))
    }

    fn mode_of(&self, subscription: Option<&str>) -> AckMode {
        let subscriptions = || self.connected.subscriptions.to(personal::DESTINATION);
        let named = subscriptions().find(|known| subscription.is_some() && known.id.as_deref() == subscription);
        named
            .or_else(|| subscriptions().next())
            .map_or(AckMode::Auto, |known| known.ack)
    }

    fn subscribe(&mut self, frame: &Frame) -> Result<(), Disconnect> {
        let destination = required(frame, "destination")?;
        let id = match frame.headers.get("id") {
            Some(id) => Some(id),
            None if self.connected.version == Version::V1_0 => None,
            None => return Err(missing(frame, "id")),
        };
        let most = self.rules.max_subscriptions;
        if self.connected.subscriptions.len() >= most {
            let detail = format!("SUBSCRIBE: more than {most} subscriptions (session.max_subscriptions)");
            return Err(Disconnect::new(Reason::LimitExceeded, detail));
        }
        if id.is_some_and(|id| self.connected.subscriptions.has_id(id)) {
            let detail = "SUBSCRIBE: this id is another subscription's; UNSUBSCRIBE it first";
            return Err(Disconnect::new(Reason::BadState, detail));
        }
        let ack = AckMode::of(frame)
            .map_err(|reason| Disconnect::new(Reason::MalformedFrame, format!("SUBSCRIBE: {reason}")))?;
        let subscription = Subscription {
            id: id.map(Box::from),
            destination: destination.into(),
            ack,
        };
        match destination {
            personal::DESTINATION => self.subscribe_personal(subscription, frame.headers.get("last-seq"))?,
            _ if destination.starts_with("/topic/") => {
                let topic = topic(destination)?;
                if !self.connected.identity.topics.may_read(&topic) {
                    let detail = format!("SUBSCRIBE to {}: this token does not allow it", excerpt(destination));
                    return Err(Disconnect::new(Reason::ForbiddenDestination, detail));
                }
                if self.connected.subscriptions.to(destination).next().is_none() {
                    self.outputs.push_back(Output::Listen(topic));
                }
                self.connected.subscriptions.add(subscription);
            }
            // A broker destination that only the server sends to. A pattern is not served: it would read what is other people's.
            _ if destination.starts_with("/queue/") && !destination.contains('*') => {
                self.connected.subscriptions.add(subscription);
            }
            _ if destination.starts_with("/user/") && destination.ends_with("/queue/msg")
                || destination.contains('*') =>
            {
                let detail = format!(
                    "SUBSCRIBE to {}: other queues than one's own, {}, are closed",
                    excerpt(destination),
                    personal::DESTINATION
                );
                return Err(Disconnect::new(Reason::ForbiddenDestination, detail));
            }
            _ => return Err(unknown_destination("SUBSCRIBE", destination)),
        }
        Ok(())
    }

    fn subscribe_personal(&mut self, subscription: Subscription, last_seq: Option<&str>) -> Result<(), Disconnect> {
        let last_seq = match last_seq.map(str::parse).transpose() {
            Ok(last_seq) => last_seq,
            Err(_) => {
                let detail = "SUBSCRIBE: last-seq must be a whole number, 0 or greater";
                return Err(Disconnect::new(Reason::MalformedFrame, detail));
            }
        };
        if self.connected.personal.is_some() {
            // A second subscription of the same session: it is told what the session holds, and from now on what comes.
            self.tell_again(&subscription);
        } else {
            self.connected.personal = Some(Box::new(Personal::new(last_seq)));
        }
        self.connected.subscriptions.add(subscription);
        Ok(())
    }

    fn unsubscribe(&mut self, frame: &Frame) -> Result<(), Disconnect> {
        let (id, destination) = (frame.headers.get("id"), frame.headers.get("destination"));
        if id.is_none() && (self.connected.version != Version::V1_0 || destination.is_none()) {
            return Err(missing(frame, "id"));
        }
        let Some(removed) = self.connected.subscriptions.remove(id, destination) else {
            return Err(Disconnect::new(
                Reason::BadState,
                "UNSUBSCRIBE: there is no such subscription",
            ));
        };
        if self.connected.subscriptions.to(&removed.destination).next().is_some() {
            return Ok(());
        }
        if &*removed.destination == personal::DESTINATION {
            self.connected.personal = None;
        } else if removed.destination.starts_with("/topic/") {
            self.outputs.push_back(Output::Unlisten(removed.destination.into()));
        }
        Ok(())
    }

    fn renew(&mut self, frame: &Frame, receipt: Option<String>) -> Result<(), Disconnect> {
        let Ok(token) = std::str::from_utf8(&frame.body) else {
            return Err(Disconnect::new(
                Reason::Token("token-malformed"),
                "the token is not text",
            ));
        };
        self.connected.renewing = Some(receipt);
        self.outputs.push_back(Output::Authenticate {
            token: token.trim().to_owned(),
            renewal: true,
        });
        Ok(())
    }

    /// A fresh token was found good.
    pub fn renewed(&mut self, identity: Identity) -> Result<(), Disconnect> {
        let receipt = self.connected.renewing.take().flatten();
        if identity.user != self.connected.identity.user {
            let detail = "the fresh token is another user's";
            return Err(Disconnect::new(Reason::Token("token-wrong-user"), detail).with_receipt(receipt.as_deref()));
        }
        self.connected.expires = identity.expires.map(|expires| self.now.instant_of(expires));
        self.connected.identity = identity;
        self.receipt(receipt);
        Ok(())
    }

    /// Hands confirmations on; the receipt comes when all of them are stored.
    fn settle(&mut self, confirms: Vec<Confirm>, receipt: Option<String>) {
        let must_know = receipt.is_some() || confirms.iter().any(|confirm| confirm.must_exist);
        if confirms.is_empty() {
            self.receipt(receipt);
        } else {
            let ticket = must_know.then(|| self.connected.waiting.issue(receipt, confirms.len()));
            for confirm in confirms {
                self.outputs.push_back(Output::Confirm(Confirm { ticket, ..confirm }));
            }
        }
        self.read_more();
    }

    /// The outcome of a confirmation is stored.
    pub fn confirmed(&mut self, confirm: &Confirm, seq: Option<u64>) -> Result<(), Disconnect> {
        if confirm.must_exist {
            // Delivered to this session once: in the user's inbox, and not beyond what the session has come to.
            let cursor = self
                .connected
                .personal
                .as_ref()
                .map_or(0, |personal| personal.inbox.cursor());
            if seq.is_none_or(|seq| seq > cursor) {
                let receipt = confirm
                    .ticket
                    .and_then(|ticket| self.connected.waiting.answered(ticket));
                let id = confirm.ids.first().map_or("", |id| id);
                return Err(unknown_message(id).with_receipt(receipt.as_deref()));
            }
        }
        if let Some(receipt) = confirm
            .ticket
            .and_then(|ticket| self.connected.waiting.answered(ticket))
        {
            self.receipt(Some(receipt));
        }
        self.leave_if_settled()
    }

    /// After DISCONNECT: the end, once nothing waits to be stored.
    fn leave_if_settled(&mut self) -> Result<(), Disconnect> {
        if !self.connected.waiting.is_empty() {
            return Ok(());
        }
        match self.connected.leaving.take() {
            None => Ok(()),
            Some(leaving) => Err(self.leave(leaving)),
        }
    }

    pub fn leave(&mut self, leaving: Leaving) -> Disconnect {
        self.receipt(leaving.receipt);
        Disconnect::new(Reason::Bye, "DISCONNECT")
    }

    pub fn receipt(&mut self, receipt: Option<String>) {
        if let Some(receipt) = receipt {
            let frame = FrameWriter::new(self.connected.version, ServerCommand::Receipt)
                .header("receipt-id", &receipt)
                .end();
            self.connected.heartbeat.on_sent(self.now.instant);
            self.outputs.push_back(Output::Send(frame));
        }
    }
}

impl Confirm {
    /// Of ids that the session held, or that its user may have.
    fn held(ids: Vec<String>) -> Self {
        Self {
            ids,
            look_only: false,
            must_exist: false,
            ticket: None,
        }
    }
}

fn required<'a>(frame: &'a Frame, header: &'static str) -> Result<&'a str, Disconnect> {
    frame.headers.get(header).ok_or_else(|| missing(frame, header))
}

fn missing(frame: &Frame, header: &'static str) -> Disconnect {
    let detail = format!("{} without the header {header}", frame.command.as_str());
    Disconnect::new(Reason::MalformedFrame, detail)
}

/// The destination of a topic, by the rules that producers keep, too.
fn topic(destination: &str) -> Result<String, Disconnect> {
    topic_destination(destination).map_err(|reason| {
        let detail = format!("destination {}: the topic {reason}", excerpt(destination));
        Disconnect::new(Reason::UnknownDestination, detail)
    })
}

fn unknown_destination(command: &str, destination: &str) -> Disconnect {
    let detail = format!(
        "{command} to {}: there is no such destination; served: {}, /topic/..., /queue/..., {APP_ACK}, {APP_TOKEN}, {APP_SEND_MESSAGE}",
        excerpt(destination),
        personal::DESTINATION,
    );
    Disconnect::new(Reason::UnknownDestination, detail)
}

fn unknown_message(id: &str) -> Disconnect {
    let detail = format!("{}: no MESSAGE with this id was delivered to this session", excerpt(id));
    Disconnect::new(Reason::UnknownMessage, detail)
}

fn transaction_fault(name: &str, fault: Fault) -> Disconnect {
    let name = excerpt(name);
    match fault {
        Fault::Exists => Disconnect::new(Reason::BadState, format!("BEGIN: transaction {name} has begun already")),
        Fault::Unknown => Disconnect::new(Reason::BadState, format!("transaction {name} was not begun")),
        Fault::Full(limit, most) => {
            let detail = format!("transaction {name}: more than {most} ({limit})");
            Disconnect::new(Reason::LimitExceeded, detail)
        }
    }
}

/// What a client wrote, short and without control characters, for an answer or a log.
fn excerpt(text: &str) -> String {
    let shown: String = text
        .chars()
        .take(80)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect();
    if shown.len() < text.len() {
        format!("{shown}…")
    } else {
        shown
    }
}
