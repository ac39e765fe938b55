//! What travels between nodes, as bytes: `{"v":1,"to":{"user":"alice"},"message":{…}}`. Pure.
//!
//! A node that is newer may say what this one doesn't know: another version is told apart from what can't be read at all, and both are
//! dropped by whoever reads, who counts them. Unknown fields of this version are passed over.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::envelope::{Content, Envelope, Message, Relay};
use crate::domain::notification::Audience;
use crate::domain::revocation::Revocation;
use crate::domain::time::EpochMs;

/// What one node tells the others.
#[derive(Debug)]
pub enum Told {
    Envelope(Envelope),
    Revoked(Revocation),
    /// Places on the roll that are over the user's cap, each as its node named it.
    Over(Over),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Over {
    pub user: String,
    pub places: Vec<String>,
}

/// Why bytes say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Of a version that this node doesn't know.
    Version,
    TooLarge,
    Malformed,
}

impl Unread {
    pub fn code(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
        }
    }
}

const VERSION: u32 = 1;

pub fn envelope(envelope: &Envelope) -> Vec<u8> {
    let (mut message, mut relay, mut confirmed) = (None, None, None);
    match &envelope.content {
        Content::Message(content) => {
            message = Some(MessageOut {
                id: &content.id,
                r#type: &content.kind,
                data: &content.data,
                viewed: content.viewed,
                created: content.created,
                seq: content.seq,
            });
        }
        Content::Relay(content) => {
            let text = std::str::from_utf8(&content.body).ok();
            relay = Some(RelayOut {
                id: &content.id,
                content_type: content.content_type.as_deref(),
                text,
                base64: text.is_none().then(|| BASE64_STANDARD.encode(&content.body)),
            });
        }
        Content::Confirmed(ids) => confirmed = Some(&**ids),
    }
    write(&Out {
        v: VERSION,
        to: Some(&envelope.to),
        message,
        relay,
        confirmed,
        ..Out::default()
    })
}

pub fn revocation(revocation: &Revocation) -> Vec<u8> {
    write(&Out {
        v: VERSION,
        revoked: Some(revocation),
        ..Out::default()
    })
}

pub fn over(over: &Over) -> Vec<u8> {
    write(&Out {
        v: VERSION,
        over: Some(over),
        ..Out::default()
    })
}

/// Reads what a node told, `most` bytes at most.
pub fn read(bytes: &[u8], most: usize) -> Result<Told, Unread> {
    if bytes.len() > most {
        return Err(Unread::TooLarge);
    }
    let told: In = serde_json::from_slice(bytes).map_err(|_| {
        // It may be right in a version of its own.
        match serde_json::from_slice::<Version>(bytes) {
            Ok(Version { v }) if v != VERSION => Unread::Version,
            _ => Unread::Malformed,
        }
    })?;
    if told.v != VERSION {
        return Err(Unread::Version);
    }
    if let Some(revoked) = told.revoked {
        return Ok(Told::Revoked(revoked));
    }
    if let Some(over) = told.over {
        return Ok(Told::Over(over));
    }
    let to = told.to.ok_or(Unread::Malformed)?;
    let content = match (told.message, told.relay, told.confirmed) {
        (Some(message), ..) => Content::Message(Message {
            id: message.id,
            kind: message.r#type,
            receiver: to.receiver().to_owned(),
            data: message.data,
            viewed: message.viewed,
            created: message.created,
            seq: message.seq,
        }),
        (None, Some(relay), _) => Content::Relay(Relay {
            id: relay.id,
            content_type: relay.content_type,
            body: match (relay.text, relay.base64) {
                (Some(text), _) => Bytes::from(text),
                (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|_| Unread::Malformed)?.into(),
                (None, None) => return Err(Unread::Malformed),
            },
        }),
        (None, None, Some(ids)) => Content::Confirmed(ids),
        (None, None, None) => return Err(Unread::Malformed),
    };
    Ok(Told::Envelope(Envelope { to, content }))
}

fn write(out: &Out<'_>) -> Vec<u8> {
    serde_json::to_vec(out).expect("strings, numbers and raw JSON are JSON")
}

#[derive(Default, Serialize)]
struct Out<'a> {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Audience>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<MessageOut<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<RelayOut<'a>>,
    /// A node that is older counts it as malformed and goes on: some deliveries are repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<&'a Revocation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<&'a Over>,
}

#[derive(Serialize)]
struct MessageOut<'a> {
    id: &'a str,
    r#type: &'a str,
    data: &'a RawValue,
    viewed: bool,
    created: EpochMs,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

#[derive(Serialize)]
struct RelayOut<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Deserialize)]
struct In {
    v: u32,
    to: Option<Audience>,
    message: Option<MessageIn>,
    relay: Option<RelayIn>,
    confirmed: Option<Vec<String>>,
    revoked: Option<Revocation>,
    over: Option<Over>,
}

#[derive(Deserialize)]
struct MessageIn {
    id: String,
    r#type: String,
    data: Box<RawValue>,
    viewed: bool,
    created: EpochMs,
    seq: Option<u64>,
}

#[derive(Deserialize)]
struct RelayIn {
    id: String,
    content_type: Option<String>,
    text: Option<String>,
    base64: Option<String>,
}
