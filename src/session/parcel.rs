//! What is handed to sessions, with its MESSAGE or its event encoded once for all who get the same bytes.

use std::sync::OnceLock;

use bytes::Bytes;

use super::dialect::{self, Dialect};
use crate::domain::envelope::{Content, Envelope};
use crate::domain::notification::Audience;
use crate::domain::time::EpochMs;
use crate::stomp::{FrameWriter, ServerCommand, Version};

/// An envelope that arrived at this node. Sessions share it; the frame of its first delivery is made by the first session that needs it.
#[derive(Debug)]
pub struct Parcel {
    pub envelope: Envelope,
    first: OnceLock<Encoded>,
    first_event: OnceLock<Bytes>,
}

/// The frame of a first delivery, and for whom it is right: nearly all clients name their subscription alike.
#[derive(Debug)]
struct Encoded {
    version: Version,
    subscription: Option<Box<str>>,
    frame: Bytes,
}

/// One delivery of a parcel to one subscription.
#[derive(Debug, Clone, Copy)]
pub struct Address<'a> {
    pub dialect: Dialect,
    /// `None`: a subscription of STOMP 1.0 without an id.
    pub subscription: Option<&'a str>,
    pub destination: &'a str,
}

impl Parcel {
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            first: OnceLock::new(),
            first_event: OnceLock::new(),
        }
    }

    pub fn id(&self) -> &str {
        self.envelope.content.id()
    }

    pub fn seq(&self) -> Option<u64> {
        self.envelope.content.seq()
    }

    /// Whether a session has to confirm it: broadcasts and topics are told once.
    pub fn wants_confirmation(&self) -> bool {
        matches!(self.envelope.to, Audience::User(_))
    }

    /// The MESSAGE, or the event, of a first delivery. `marks`: the client resumes behind it from now on; an event says so by its id.
    pub fn first(&self, to: Address<'_>, replayed: bool, marks: bool) -> Bytes {
        match to.dialect {
            Dialect::Stomp(version) if replayed => self.frame(version, to, 1, None, true),
            Dialect::Stomp(version) => self.first_frame(version, to),
            Dialect::Events if replayed || (self.seq().is_some() && !marks) => self.event(1, None, replayed, marks),
            Dialect::Events => self
                .first_event
                .get_or_init(|| self.event(1, None, false, true))
                .clone(),
        }
    }

    /// The same of a further delivery, encoded anew: its body says which attempt it is and when the last one went out. Its event has no id: it is
    /// an older one than the last, and the client would resume too early.
    pub fn again(&self, to: Address<'_>, attempt: u32, last_sent: EpochMs) -> Bytes {
        match to.dialect {
            Dialect::Stomp(version) => self.frame(version, to, attempt, Some(last_sent), false),
            Dialect::Events => self.event(attempt, Some(last_sent), false, false),
        }
    }

    fn first_frame(&self, version: Version, to: Address<'_>) -> Bytes {
        let encoded = self.first.get_or_init(|| Encoded {
            version,
            subscription: to.subscription.map(Box::from),
            frame: self.frame(version, to, 1, None, false),
        });
        if encoded.version == version && encoded.subscription.as_deref() == to.subscription {
            encoded.frame.clone()
        } else {
            self.frame(version, to, 1, None, false)
        }
    }

    fn frame(
        &self,
        version: Version,
        to: Address<'_>,
        attempt: u32,
        last_sent: Option<EpochMs>,
        replayed: bool,
    ) -> Bytes {
        let id = self.id();
        let mut frame = FrameWriter::new(version, ServerCommand::Message).header("destination", to.destination);
        if let Some(subscription) = to.subscription {
            frame = frame.header("subscription", subscription);
        }
        frame = frame.header("message-id", id).header("ack", id);
        match &self.envelope.content {
            Content::Message(message) => {
                if let Some(seq) = message.seq {
                    frame = frame.header("seq", decimal(seq, &mut [0; 20]));
                }
                frame = frame.header("attempt", decimal(attempt.into(), &mut [0; 20]));
                if replayed {
                    frame = frame.header("replayed", "true");
                }
                frame
                    .header("content-type", "application/json")
                    .body(&message.body(attempt, last_sent.unwrap_or(message.created)))
            }
            Content::Relay(relay) => {
                if let Some(content_type) = &relay.content_type {
                    frame = frame.header("content-type", content_type);
                }
                frame.body(&relay.body)
            }
            Content::Confirmed(_) => Bytes::new(),
        }
    }

    fn event(&self, attempt: u32, last_sent: Option<EpochMs>, replayed: bool, marks: bool) -> Bytes {
        match &self.envelope.content {
            Content::Message(message) => {
                let data = message.event(attempt, last_sent.unwrap_or(message.created), replayed);
                dialect::event(message.seq.filter(|_| marks), "notification", &data)
            }
            // Sent to a topic, to which no stream of events listens.
            Content::Relay(_) | Content::Confirmed(_) => Bytes::new(),
        }
    }
}

/// A number as text without an allocation.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &str {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return std::str::from_utf8(&digits[start..]).expect("digits are ASCII");
        }
    }
}
