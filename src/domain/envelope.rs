//! What travels to the sessions: a notification as it is told, or what a browser sent to a topic.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::id;
use super::kind;
use super::notification::{Audience, Notification};
use super::time::EpochMs;

/// One parcel on the topic port: for whom, and what.
#[derive(Debug, Clone)]
pub struct Envelope {
    pub to: Audience,
    pub content: Content,
}

/// What a session hands to its browser.
#[derive(Debug, Clone)]
pub enum Content {
    Message(Message),
    Relay(Relay),
    /// The user confirmed these by REST, which speaks for sessions that can't do so themselves. Hidden from the browser.
    Confirmed(Vec<String>),
}

/// A notification as a MESSAGE tells it.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    pub kind: String,
    pub receiver: String,
    pub data: Box<RawValue>,
    pub viewed: bool,
    pub created: EpochMs,
    /// The place in the receiver's inbox; `None` for what is not persisted.
    pub seq: Option<u64>,
}

/// What a client SENT to a topic, passed on as it came.
#[derive(Debug, Clone)]
pub struct Relay {
    pub id: String,
    pub content_type: Option<String>,
    pub body: Bytes,
}

impl Envelope {
    /// The envelope of a notification; `seq` is its place in the receiver's inbox, if it has one.
    pub fn of(notification: Notification, seq: Option<u64>) -> Self {
        let message = Message {
            id: notification.id,
            kind: notification.kind,
            receiver: notification.to.receiver().to_owned(),
            data: notification.data,
            viewed: false,
            created: notification.created,
            seq,
        };
        Self {
            to: notification.to,
            content: Content::Message(message),
        }
    }

    /// Tells a user's sessions that some of their notifications changed (`kind` is `NOTIFY_VIEWED` or `NOTIFY_DELETED`).
    pub fn change(user: &str, kind: &str, ids: Vec<String>, now: EpochMs) -> Self {
        let data = serde_json::value::to_raw_value(&kind::Ids { ids }).expect("strings are JSON");
        Self {
            to: Audience::User(user.to_owned()),
            content: Content::Message(Message {
                id: id::generate(),
                kind: kind.to_owned(),
                receiver: user.to_owned(),
                data,
                viewed: false,
                created: now,
                seq: None,
            }),
        }
    }

    /// Tells a user's sessions what the user confirmed by REST.
    pub fn confirmed(user: &str, ids: Vec<String>) -> Self {
        Self {
            to: Audience::User(user.to_owned()),
            content: Content::Confirmed(ids),
        }
    }

    /// Passes on what a client sent to `destination`.
    pub fn relay(destination: String, content_type: Option<String>, body: Bytes) -> Self {
        Self {
            to: Audience::Topic(destination),
            content: Content::Relay(Relay {
                id: id::generate(),
                content_type,
                body,
            }),
        }
    }
}

impl Content {
    pub fn id(&self) -> &str {
        match self {
            Self::Message(message) => &message.id,
            Self::Relay(relay) => &relay.id,
            // It is told to nobody, so nobody names it.
            Self::Confirmed(_) => "",
        }
    }

    /// The place in the receiver's inbox; `None` for what is not persisted.
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::Message(message) => message.seq,
            Self::Relay(_) | Self::Confirmed(_) => None,
        }
    }
}

/// A notification as its receiver reads it.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    r#type: &'a str,
    receiver: &'a str,
    data: &'a RawValue,
    viewed: bool,
    created: EpochMs,
    ack_retry_count: u32,
    ack_last_sent: EpochMs,
}

impl Message {
    /// The MESSAGE body of one attempt (1 is the first). `last_sent` is when the attempt before this one went out; the first says `created`.
    pub fn body(&self, attempt: u32, last_sent: EpochMs) -> Vec<u8> {
        serde_json::to_vec(&self.read(attempt, last_sent)).expect("strings, numbers and raw JSON are JSON")
    }

    /// The same with what a MESSAGE says in its headers: where there are none.
    pub fn event(&self, attempt: u32, last_sent: EpochMs, replayed: bool) -> Vec<u8> {
        #[derive(Serialize)]
        struct Event<'a> {
            #[serde(flatten)]
            body: Body<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq: Option<u64>,
            attempt: u32,
            replayed: bool,
        }
        let event = Event {
            body: self.read(attempt, last_sent),
            seq: self.seq,
            attempt,
            replayed,
        };
        serde_json::to_vec(&event).expect("strings, numbers and raw JSON are JSON")
    }

    fn read(&self, attempt: u32, last_sent: EpochMs) -> Body<'_> {
        Body {
            id: &self.id,
            r#type: &self.kind,
            receiver: &self.receiver,
            data: &self.data,
            viewed: self.viewed,
            created: self.created,
            ack_retry_count: attempt.saturating_sub(1),
            ack_last_sent: last_sent,
        }
    }

    /// The same, as REST answers list it.
    pub fn as_listed(&self) -> Box<RawValue> {
        let text = String::from_utf8(self.body(1, self.created)).expect("JSON is UTF-8");
        RawValue::from_string(text).expect("just written as JSON")
    }
}
