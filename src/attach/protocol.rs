//! The words of the protocol, version 1: what a plugin says of itself, and the frame of every question and answer. JSON Schema files of all of it
//! are in `schema/`; both sides ignore fields that they don't know, and version 1 gains optional fields only.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The version that this server speaks.
pub const VERSION: u32 = 1;

/// The key of a service's metadata that makes it a plugin: its value is the version of the protocol.
pub const MARK: &str = "quick-notify";

/// What a plugin may be asked. Each is an endpoint of its service, by this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    Authenticate,
    Review,
    Subscribe,
    Command,
}

impl Hook {
    pub const ALL: [Self; 4] = [Self::Authenticate, Self::Review, Self::Subscribe, Self::Command];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Review => "review",
            Self::Subscribe => "subscribe",
            Self::Command => "command",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.name() == name)
    }
}

/// What plugins may be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    Accepted,
    Stored,
    Delivered,
    Acked,
    Read,
    Deleted,
    Expired,
    Dead,
    Unreached,
    SessionOpened,
    SessionClosed,
    UserOnline,
    UserOffline,
}

impl Happening {
    pub const ALL: [Self; 13] = [
        Self::Accepted,
        Self::Stored,
        Self::Delivered,
        Self::Acked,
        Self::Read,
        Self::Deleted,
        Self::Expired,
        Self::Dead,
        Self::Unreached,
        Self::SessionOpened,
        Self::SessionClosed,
        Self::UserOnline,
        Self::UserOffline,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Stored => "stored",
            Self::Delivered => "delivered",
            Self::Acked => "acked",
            Self::Read => "read",
            Self::Deleted => "deleted",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Unreached => "unreached",
            Self::SessionOpened => "session-opened",
            Self::SessionClosed => "session-closed",
            Self::UserOnline => "user-online",
            Self::UserOffline => "user-offline",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|happening| happening.name() == name)
    }

    /// Its bit in a set of happenings.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// What it means that a hook could not be asked, or did not answer as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// As if there were no such hook.
    Pass,
    /// What was asked about is refused.
    Reject,
    /// It waits, in its place, until the hook answers. Where nothing can wait, as `Reject`.
    Retry,
}

impl OnFailure {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Reject => "reject",
            Self::Retry => "retry",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        [Self::Pass, Self::Reject, Self::Retry]
            .into_iter()
            .find(|on_failure| on_failure.name() == name)
    }
}

/// Why a hook gave no answer that counts. A closed set: [`Failure::code`] is the label of the metric.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("no answer within {0} ms")]
    Timeout(u64),
    #[error("no instance of it is attached")]
    Absent,
    #[error("it failed too often of late, and is left alone for a while")]
    Open,
    #[error("too many questions are open (attach.hooks.in_flight)")]
    Busy,
    /// The question or the answer; octets, and the bound.
    #[error("{0} has {1} octets, and {2} are the most")]
    TooLarge(&'static str, usize, usize),
    #[error("the answer is no JSON as the schema has it: {0}")]
    BadJson(String),
    #[error("the answer is of version {0} of the protocol, not of {VERSION}")]
    BadVersion(String),
    #[error("the answer is to another question")]
    BadId,
    #[error("the answer makes no sense: {0}")]
    BadReply(String),
    /// The plugin's own word.
    #[error("it says that it failed: {0}")]
    Error(String),
    #[error("NATS can't be reached: {0}")]
    Unavailable(String),
    /// An operator's decision.
    #[error("it is disabled")]
    Disabled,
}

impl Failure {
    /// Every code there is.
    pub const CODES: [&'static str; 12] = [
        "timeout",
        "absent",
        "open",
        "busy",
        "too-large",
        "bad-json",
        "bad-version",
        "bad-id",
        "bad-reply",
        "error",
        "unavailable",
        "disabled",
    ];

    /// Whether it may be that one of the notifications of a question is what the plugin fails at, or that they are too many.
    pub const fn is_of_the_question(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::TooLarge(..)
            | Self::BadJson(_)
            | Self::BadId
            | Self::BadReply(_)
            | Self::Error(_) => true,
            Self::Absent | Self::Open | Self::Busy | Self::BadVersion(_) | Self::Unavailable(_) | Self::Disabled => {
                false
            }
        }
    }

    /// Whether the same question can be taken to come to the same again: the plugin is well, and what it says won't do.
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge(..) | Self::BadReply(_))
    }

    pub const fn code(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Absent => "absent",
            Self::Open => "open",
            Self::Busy => "busy",
            Self::TooLarge(..) => "too-large",
            Self::BadJson(_) => "bad-json",
            Self::BadVersion(_) => "bad-version",
            Self::BadId => "bad-id",
            Self::BadReply(_) => "bad-reply",
            Self::Error(_) => "error",
            Self::Unavailable(_) => "unavailable",
            Self::Disabled => "disabled",
        }
    }
}

/// A name, or the beginning of names: `group:*`. Only a `*` at the end stands for something else than itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pattern(Arc<str>);

impl Pattern {
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *self.0 == *name,
        }
    }

    /// Patterns with spaces between, as metadata has them.
    pub fn list(text: &str) -> Vec<Self> {
        text.split_whitespace().map(|one| Self(one.into())).collect()
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_ref().into()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The frame of a question: its version and its name, which the answer repeats.
#[derive(Debug, Serialize)]
pub struct Question<'a, T> {
    pub v: u32,
    pub request: &'a str,
    #[serde(flatten)]
    pub body: &'a T,
}

/// The frame of an answer, looked at before its body is.
#[derive(Debug, Deserialize)]
pub struct AnswerFrame<'a> {
    pub v: Option<u32>,
    #[serde(borrow)]
    pub request: Option<std::borrow::Cow<'a, str>>,
}
