//! Why a session ended: one closed set, for the ERROR frame's `code` header, the close frame, the log and the metric's label.

use std::borrow::Cow;
use std::time::Duration;

use crate::stomp::{Fault, ParseError};

/// The end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    pub reason: Reason,
    /// A sentence for the browser's developer; never holds a token or a body.
    pub detail: Cow<'static, str>,
    /// The receipt that the offending frame asked for.
    pub receipt: Option<String>,
    /// When the client is asked to come back, in milliseconds from now.
    pub retry_after: Option<u32>,
}

/// The closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The client sent DISCONNECT.
    Bye,
    /// The transport went away under the session.
    Gone,
    MalformedFrame,
    LimitExceeded,
    /// A frame came before CONNECT.
    NotConnected,
    AlreadyConnected,
    ConnectTimeout,
    UnsupportedVersion,
    /// A token was missing or refused; the code is the refusal's own.
    Token(&'static str),
    TooManySessions,
    ForbiddenDestination,
    UnknownDestination,
    /// An ACK or NACK for a message that this session never got.
    UnknownMessage,
    /// An id of a subscription or transaction that isn't there, or is there already.
    BadState,
    HeartbeatMissed,
    /// The client did not take what was sent in time.
    SlowConsumer,
    Draining,
    /// Something that the server needs is away.
    Unavailable,
}

impl Disconnect {
    /// The end of a session whose client sent what can't be read on. A limit is named as the configuration names it.
    pub fn of(error: &ParseError) -> Self {
        let limit = match error.fault() {
            Fault::LineOverLimit { .. } => "session.max_header_line",
            Fault::HeadersOverLimit { .. } => "session.max_headers",
            Fault::ContentLengthOverLimit { .. } | Fault::BodyOverLimit { .. } => "session.max_body",
            _ => return Self::new(Reason::MalformedFrame, error.to_string()).with_receipt(error.receipt()),
        };
        Self::new(Reason::LimitExceeded, format!("{error} ({limit})")).with_receipt(error.receipt())
    }

    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            receipt: None,
            retry_after: None,
        }
    }

    /// The sentence for the log. A plugin's words about a token may have the token in them: they are for the one who brought it.
    pub fn logged(&self) -> &str {
        match self.reason {
            Reason::Token("token-refused") => "the plugin that knows tokens refused it",
            _ => &self.detail,
        }
    }

    pub fn with_receipt(mut self, receipt: Option<&str>) -> Self {
        self.receipt = receipt.map(str::to_owned);
        self
    }

    pub fn with_retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self
    }
}

impl Reason {
    /// The name of this reason: the ERROR frame's `code` and the metric's label.
    pub fn code(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::Gone => "gone",
            Self::MalformedFrame => "malformed-frame",
            Self::LimitExceeded => "limit-exceeded",
            Self::NotConnected => "not-connected",
            Self::AlreadyConnected => "already-connected",
            Self::ConnectTimeout => "connect-timeout",
            Self::UnsupportedVersion => "unsupported-version",
            Self::Token(code) => code,
            Self::TooManySessions => "too-many-sessions",
            Self::ForbiddenDestination => "forbidden-destination",
            Self::UnknownDestination => "unknown-destination",
            Self::UnknownMessage => "unknown-message",
            Self::BadState => "bad-state",
            Self::HeartbeatMissed => "heartbeat-missed",
            Self::SlowConsumer => "slow-consumer",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether an ERROR frame tells the client. A client that said goodbye or that doesn't read is told nothing, and a drain is no error.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::Bye | Self::Gone | Self::Draining | Self::SlowConsumer)
    }

    /// The WebSocket close code (RFC 6455, section 7.4).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Bye | Self::Gone => 1000,
            Self::Draining => 1001,
            Self::MalformedFrame => 1002,
            Self::LimitExceeded => 1009,
            Self::Unavailable | Self::SlowConsumer => 1013,
            _ => 1008,
        }
    }
}
