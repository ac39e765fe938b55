//! SUBSCRIBE and UNSUBSCRIBE: who may hear what.

use std::sync::Arc;

use super::commanding;
use super::disconnect::{Disconnect, Reason};
use super::frames::{Turn, excerpt, missing, required};
use super::output::Output;
use super::personal::{self, Personal};
use super::phase::Judging;
use super::sending::{topic, unknown_destination};
use super::subscriptions::{AckMode, Subscription};
use crate::stomp::{Frame, Version};

impl Turn<'_> {
    pub fn subscribe(&mut self, frame: &Frame, receipt: Option<String>) -> Result<(), Disconnect> {
        let subscription = Arc::new(self.check(frame)?);
        let destination = &*subscription.destination;
        if destination == personal::DESTINATION {
            let is_first = self.connected.subscriptions.to(destination).next().is_none();
            let last_seq = last_seq(frame)?;
            if is_first {
                self.connected.personal = Some(Box::new(Personal::new(last_seq)));
            } else if last_seq.is_some() {
                let detail =
                    "SUBSCRIBE: only the session's first subscription to this queue can resume; leave last-seq out";
                return Err(Disconnect::new(Reason::BadState, detail));
            }
        } else if self.topics_guarded && destination.starts_with("/topic/") {
            self.outputs.push(Output::MayRead(destination.to_owned()));
            self.connected.judging = Some(Box::new(Judging { subscription, receipt }));
            return Ok(());
        }
        self.take_in(subscription, receipt);
        Ok(())
    }

    /// Somebody else had a say about a topic. A refusal ends the session, as that of a token does.
    pub fn judged(&mut self, answer: Result<(), Disconnect>) -> Result<(), Disconnect> {
        let Some(judging) = self.connected.judging.take() else {
            return Ok(());
        };
        let Judging { subscription, receipt } = *judging;
        answer.map_err(|end| end.with_receipt(receipt.as_deref()))?;
        self.take_in(subscription, receipt);
        Ok(())
    }

    fn take_in(&mut self, subscription: Arc<Subscription>, receipt: Option<String>) {
        let destination = &*subscription.destination;
        let is_first = self.connected.subscriptions.to(destination).next().is_none();
        if is_first && destination.starts_with("/topic/") {
            self.outputs.push(Output::Listen(destination.to_owned()));
        }
        self.connected.subscriptions.add(Arc::clone(&subscription));
        self.receipt(receipt);
        // What was subscribed to is told behind the receipt.
        if is_first {
            self.read_more();
        } else {
            // It is told what the session holds, and from now on what comes.
            self.tell_again(&subscription);
        }
    }

    /// A stream of events is subscribed from its beginning: to the personal queue, behind the client's Last-Event-ID.
    pub fn listen(&mut self, last_event_id: Option<u64>) {
        self.connected.personal = Some(Box::new(Personal::new(last_event_id)));
        self.connected.subscriptions.add(Arc::new(Subscription {
            id: None,
            destination: personal::DESTINATION.into(),
            ack: AckMode::ClientIndividual,
        }));
        self.read_more();
    }

    /// The subscription that SUBSCRIBE asks for, if the session may have it.
    fn check(&self, frame: &Frame) -> Result<Subscription, Disconnect> {
        let destination = required(frame, "destination")?;
        let id = frame.headers.get("id");
        if id.is_none() && self.connected.dialect.version() != Version::V1_0 {
            return Err(missing(frame, "id"));
        }
        let most = self.rules.max_subscriptions;
        if self.connected.subscriptions.len() >= most {
            let detail = format!("SUBSCRIBE: more than {most} subscriptions (session.max_subscriptions)");
            return Err(Disconnect::new(Reason::LimitExceeded, detail));
        }
        if self.connected.subscriptions.has(id, destination) {
            let detail = match id {
                Some(_) => "SUBSCRIBE: this id is another subscription's; UNSUBSCRIBE it first",
                None => "SUBSCRIBE: there is a subscription to this destination; a further one needs an id",
            };
            return Err(Disconnect::new(Reason::BadState, detail));
        }
        let ack = AckMode::of(frame)
            .map_err(|reason| Disconnect::new(Reason::MalformedFrame, format!("SUBSCRIBE: {reason}")))?;
        self.may_read(destination)?;
        commanding::check_ack(destination, ack)?;
        Ok(Subscription {
            id: id.map(Box::from),
            destination: destination.into(),
            ack,
        })
    }

    fn may_read(&self, destination: &str) -> Result<(), Disconnect> {
        if destination == personal::DESTINATION || commanding::is_queue(destination) {
            return Ok(());
        }
        if destination.starts_with("/topic/") {
            if self.connected.identity.topics.may_read(&topic(destination)?) {
                return Ok(());
            }
            let detail = format!("SUBSCRIBE to {}: this token does not allow it", excerpt(destination));
            return Err(Disconnect::new(Reason::ForbiddenDestination, detail));
        }
        // A pattern is not served: it would read what is other people's.
        let is_pattern = destination.contains('*');
        if destination.starts_with("/queue/") && !is_pattern {
            // A broker destination that only the server sends to.
            return Ok(());
        }
        if is_pattern || destination.starts_with("/user/") && destination.ends_with("/queue/msg") {
            let detail = format!(
                "SUBSCRIBE to {}: other queues than one's own, {}, are closed",
                excerpt(destination),
                personal::DESTINATION
            );
            return Err(Disconnect::new(Reason::ForbiddenDestination, detail));
        }
        Err(unknown_destination("SUBSCRIBE", destination))
    }

    pub fn unsubscribe(&mut self, frame: &Frame) -> Result<(), Disconnect> {
        let (id, destination) = (frame.headers.get("id"), frame.headers.get("destination"));
        if id.is_none() && (self.connected.dialect.version() != Version::V1_0 || destination.is_none()) {
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
            self.outputs.push(Output::Unlisten(removed.destination.to_string()));
        }
        Ok(())
    }
}

fn last_seq(frame: &Frame) -> Result<Option<u64>, Disconnect> {
    let parsed = frame.headers.get("last-seq").map(str::parse).transpose();
    parsed.map_err(|_| {
        let detail = "SUBSCRIBE: last-seq must be a whole number, 0 or greater";
        Disconnect::new(Reason::MalformedFrame, detail)
    })
}
