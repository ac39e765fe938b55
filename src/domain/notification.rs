//! A notification on its way in: the draft as a producer sent it, and what it becomes once accepted.
//!
//! [`Draft::accept`] is the only validation there is: whoever holds a [`Notification`] holds the proof that it passed.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::id::{self, name_problem};
use super::identity::EVERYONE;
use super::kind::{self, Kinds};
use super::time::EpochMs;

/// What a producer sends. Exactly one of `receiver`, `topic` and `everyone` says for whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    pub receiver: Option<String>,
    /// A topic's name: `orders`, or as a destination, `/topic/orders`.
    pub topic: Option<String>,
    pub everyone: Option<bool>,
    /// `STRING_MSG` unless said otherwise.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub data: Option<Box<RawValue>>,
    pub id: Option<String>,
    pub persist: Option<bool>,
}

/// For whom a notification is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// One user, on every session.
    User(String),
    /// Who subscribed to this destination (`/topic/...`).
    Topic(String),
    /// Every user who is online.
    Everyone,
}

impl Audience {
    /// The value of `receiver` in a MESSAGE body.
    pub fn receiver(&self) -> &str {
        match self {
            Self::User(user) => user,
            Self::Topic(destination) => destination,
            Self::Everyone => EVERYONE,
        }
    }
}

/// An accepted notification, as the queue carries it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Notification {
    pub id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub to: Audience,
    pub data: Box<RawValue>,
    /// Whether it enters the record. What does not is told once to who is there.
    pub persist: bool,
    pub created: EpochMs,
    pub hash: BodyHash,
    /// A copy's: which plugin routed it here. Those up to that one have seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<Router>>,
    /// The node at whose door its producer waits for the record's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<Box<str>>,
}

/// The plugin that routed a notification to others, and its place among the plugins then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Router {
    pub order: u16,
    pub plugin: String,
}

impl Notification {
    /// The copy for `receiver` of what `router` routed, with `kind` and `data` as they had become. The same receiver gets the same id and the
    /// same hash, however often it is routed.
    pub fn copy(&self, receiver: &str, kind: &str, data: &RawValue, router: &Router) -> Self {
        Self {
            id: id::of_copy(&self.id, receiver),
            kind: kind.to_owned(),
            to: Audience::User(receiver.to_owned()),
            data: data.to_owned(),
            persist: self.persist,
            created: self.created,
            hash: self.hash.of_copy(receiver),
            after: Some(Box::new(router.clone())),
            wait: None,
        }
    }
}

/// A fingerprint of what a notification says and to whom: tells a retry from another notification under the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BodyHash(pub [u8; 16]);

/// Why a draft is refused: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Rejection {
    pub code: Code,
    pub field: String,
    pub reason: String,
}

/// The kinds of refusal, a closed set that producers may match on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    BadJson,
    InvalidField,
    UnknownType,
    DataMismatch,
    TooLarge,
    Conflict,
}

impl Rejection {
    pub fn new(code: Code, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            code,
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// The body is no JSON, or none that could be a notification.
    pub fn bad_json(error: &serde_json::Error) -> Self {
        Self::new(Code::BadJson, "body", format!("is no notification in JSON: {error}"))
    }

    fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::new(Code::InvalidField, field, reason)
    }
}

impl Draft {
    /// A draft for one user, as the demo endpoints and tools make it.
    pub fn text(to: Audience, text: &str) -> Self {
        let (receiver, topic, everyone) = match to {
            Audience::User(user) => (Some(user), None, None),
            Audience::Topic(topic) => (None, Some(topic), None),
            Audience::Everyone => (None, None, Some(true)),
        };
        Self {
            receiver,
            topic,
            everyone,
            kind: Some(kind::STRING_MSG.into()),
            data: serde_json::value::to_raw_value(text).ok(),
            id: None,
            persist: None,
        }
    }

    /// Reads one from JSON; a field of the wrong type is named.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(&mut reader, &mut track);
        let draft = tracked.deserialize_map(Object).map_err(|error| {
            let path = track.path().to_string();
            if error.is_data() && path != "." {
                Rejection::new(Code::InvalidField, path, error.to_string())
            } else {
                Rejection::bad_json(&error)
            }
        })?;
        reader.end().map_err(|error| Rejection::bad_json(&error))?;
        Ok(draft)
    }

    /// Checks everything that can be known without the record. `fallback_id` is taken when the draft names none.
    pub fn accept(
        self,
        fallback_id: impl FnOnce() -> String,
        now: EpochMs,
        kinds: &Kinds,
    ) -> Result<Notification, Rejection> {
        let to = audience(self.receiver, self.topic, self.everyone)?;
        let kind = self.kind.unwrap_or_else(|| kind::STRING_MSG.to_owned());
        let Some(data) = self.data else {
            return Err(Rejection::field("data", "is missing"));
        };
        kinds.check(&kind, &data)?;
        let id = match self.id {
            Some(id) => match name_problem(&id) {
                Some(reason) => return Err(Rejection::field("id", reason)),
                None => id,
            },
            None => fallback_id(),
        };
        // What tells of a change or is for whoever is there has no place in an inbox.
        let transient =
            !matches!(to, Audience::User(_)) || matches!(&*kind, kind::NOTIFY_VIEWED | kind::NOTIFY_DELETED);
        if transient && self.persist == Some(true) {
            return Err(Rejection::field(
                "persist",
                "only a notification for one `receiver` can be persisted, and not NOTIFY_VIEWED or NOTIFY_DELETED",
            ));
        }
        let persist = self.persist.unwrap_or(true) && !transient;
        let hash = BodyHash::of(&kind, &to, &data, persist);
        Ok(Notification {
            id,
            kind,
            to,
            data,
            persist,
            created: now,
            hash,
            after: None,
            wait: None,
        })
    }
}

/// Reads a draft from an object alone: what serde derives would also read an array, by the order of the fields.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object such as {"receiver":"alice","data":"Hello"}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Draft, A::Error> {
        Draft::deserialize(MapAccessDeserializer::new(map))
    }
}

impl BodyHash {
    fn of(kind: &str, to: &Audience, data: &RawValue, persist: bool) -> Self {
        let audience: &[u8] = match to {
            Audience::User(_) => b"user",
            Audience::Topic(_) => b"topic",
            Audience::Everyone => b"everyone",
        };
        let mut hash = Sha256::new();
        for part in [
            kind.as_bytes(),
            audience,
            to.receiver().as_bytes(),
            data.get().as_bytes(),
        ] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update([u8::from(persist)]);
        let digest = hash.finalize();
        Self(std::array::from_fn(|i| digest[i]))
    }
}

impl BodyHash {
    /// That of a copy, which says the same of the same original even where a plugin changes it anew each time.
    fn of_copy(self, receiver: &str) -> Self {
        let digest = Sha256::new_with_prefix(self.0).chain_update(receiver).finalize();
        Self(std::array::from_fn(|i| digest[i]))
    }
}

impl fmt::Debug for BodyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// A topic's destination from its name or the destination itself; the same rules hold for SUBSCRIBE and SEND.
pub fn topic_destination(topic: &str) -> Result<String, String> {
    let name = topic.strip_prefix("/topic/").unwrap_or(topic);
    if let Some(reason) = name_problem(name) {
        return Err(reason);
    }
    if name.starts_with('/') {
        return Err("is a topic's name, such as orders, or its destination, such as /topic/orders".into());
    }
    if name.contains('*') {
        return Err("must name one topic; wildcards are not served".into());
    }
    Ok(format!("/topic/{name}"))
}

fn audience(receiver: Option<String>, topic: Option<String>, everyone: Option<bool>) -> Result<Audience, Rejection> {
    match (receiver, topic, everyone) {
        (Some(user), None, None | Some(false)) => match name_problem(&user) {
            Some(reason) => Err(Rejection::field("receiver", reason)),
            None if user == EVERYONE => Err(Rejection::field(
                "receiver",
                "names one user; to reach everyone who is online say `everyone`: true",
            )),
            None => Ok(Audience::User(user)),
        },
        (None, Some(topic), None | Some(false)) => topic_destination(&topic)
            .map(Audience::Topic)
            .map_err(|reason| Rejection::field("topic", reason)),
        (None, None, Some(true)) => Ok(Audience::Everyone),
        (None, None, _) => Err(Rejection::field(
            "receiver",
            "is missing; say `receiver`, `topic` or `everyone`",
        )),
        _ => Err(Rejection::field(
            "receiver",
            "say only one of `receiver`, `topic` and `everyone`",
        )),
    }
}
