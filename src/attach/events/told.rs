//! One event, on its way to becoming JSON.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::attach::protocol::{Happening, VERSION};
use crate::domain::id::SessionName;
use crate::domain::time::EpochMs;
use crate::subjects;

pub struct Told {
    pub happening: Happening,
    pub at: EpochMs,
    pub what: What,
    /// Dropped without a word when it is lost, and may be told once more.
    pub handed: Option<oneshot::Sender<()>>,
}

pub enum What {
    Notification(About),
    Session {
        user: Arc<str>,
        session: SessionName,
        dialect: &'static str,
        reason: Option<&'static str>,
    },
    User(Arc<str>),
}

/// What is told of a notification: all that is known where it happens.
#[derive(Debug, Default)]
pub struct About {
    pub id: String,
    pub kind: Option<String>,
    pub receiver: String,
    pub seq: Option<u64>,
    pub created: Option<EpochMs>,
    pub data: Option<Box<RawValue>>,
    pub reason: Option<&'static str>,
    pub session: Option<SessionName>,
    /// The queue's, where there may be no id.
    pub sequence: Option<u64>,
}

/// An event as it is published.
pub struct Published {
    pub subject: String,
    pub message_id: String,
    pub payload: Bytes,
}

#[derive(Serialize)]
struct Json<'a> {
    v: u32,
    event: &'static str,
    at: EpochMs,
    node: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<EpochMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialect: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl Told {
    pub fn new(happening: Happening, at: EpochMs, what: What) -> Self {
        Self {
            happening,
            at,
            what,
            handed: None,
        }
    }

    /// Who wanted to know that it is handed over has given up, and will tell it again.
    pub fn is_given_up(&self) -> bool {
        self.handed.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Roughly what it takes while it waits.
    pub fn octets(&self) -> usize {
        let text = match &self.what {
            What::Notification(about) => {
                about.id.len() + about.receiver.len() + about.data.as_ref().map_or(0, |data| data.get().len())
            }
            What::Session { .. } | What::User(_) => 0,
        };
        size_of::<Self>() + text
    }

    pub fn publish(&self, prefix: &str, node: &str) -> Published {
        let kind = self.happening.name();
        let mut json = Json {
            v: VERSION,
            event: kind,
            at: self.at,
            node,
            id: None,
            kind: None,
            receiver: None,
            seq: None,
            created: None,
            user: None,
            session: None,
            dialect: None,
            reason: None,
            data: None,
        };
        let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let (name, message_id) = match &self.what {
            What::Notification(about) => {
                json.id = some(&about.id);
                json.kind = about.kind.as_deref();
                json.receiver = some(&about.receiver);
                json.seq = about.seq;
                json.created = about.created;
                json.data = about.data.as_deref();
                json.reason = about.reason;
                json.session = about.session.map(|session| session.to_string());
                let message_id = match (about.session, about.sequence) {
                    (Some(session), _) => format!("{kind}:{}:{session}", about.id),
                    (None, Some(sequence)) => format!("{kind}:{}:{sequence}", about.id),
                    (None, None) => format!("{kind}:{}", about.id),
                };
                (&*about.receiver, message_id)
            }
            What::Session {
                user,
                session,
                dialect,
                reason,
            } => {
                json.user = Some(user);
                json.session = Some(session.to_string());
                json.dialect = Some(dialect);
                json.reason = *reason;
                (&**user, format!("{kind}:{session}"))
            }
            What::User(user) => {
                json.user = Some(user);
                let message_id = format!("{kind}:{}:{}", subjects::token(user), self.at);
                (&**user, message_id)
            }
        };
        Published {
            subject: subjects::event(prefix, kind, name),
            message_id,
            payload: Bytes::from(serde_json::to_vec(&json).expect("strings, numbers and raw JSON are JSON")),
        }
    }
}
