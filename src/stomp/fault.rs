//! Why bytes were refused, in words that the client's developer can act on.
//!
//! These words go into ERROR frames and logs. So they name the rule or the limit, and quote little: at most
//! [`EXCERPT`] characters, control characters escaped, and never the value of a header that carries a credential. A
//! line that makes no sense is not quoted at all, since it may be the second half of a token.

use super::Version;
use super::frame::is_secret;

/// How many characters of the offending text are quoted.
pub(super) const EXCERPT: usize = 32;

/// The stream cannot be read on: the parser has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    fault: Fault,
    receipt: Option<Box<str>>,
}

/// Which sort of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The frame may be right, but is larger than this server takes.
    Limit,
    /// No STOMP frame looks like this.
    Malformed,
}

impl ParseError {
    pub(super) fn new(fault: Fault, receipt: Option<&str>) -> ParseError {
        ParseError {
            fault,
            receipt: receipt.map(Box::from),
        }
    }

    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    pub fn kind(&self) -> Kind {
        self.fault.kind()
    }

    /// The frame's `receipt` header, where it stood before the fault: the ERROR frame's `receipt-id`.
    pub fn receipt(&self) -> Option<&str> {
        self.receipt.as_deref()
    }
}

/// What exactly is wrong. Lines are counted from 1, the first header being 1; octets and limits exclude line ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("header line {line} is over the limit of {limit} octets")]
    LineOverLimit { line: usize, limit: usize },
    #[error("the frame has more than the limit of {limit} headers")]
    HeadersOverLimit { limit: usize },
    #[error("content-length {declared} is over the limit of {limit} octets for a body")]
    ContentLengthOverLimit { declared: String, limit: usize },
    #[error("the body is over the limit of {limit} octets")]
    BodyOverLimit { limit: usize },

    #[error("unknown command \"{command}\"")]
    UnknownCommand { command: String },
    #[error("a NUL stands before the empty line that ends the headers")]
    NulBeforeBody,
    #[error("header line {line} is not UTF-8")]
    NotUtf8 { line: usize },
    #[error("header line {line} ({octets} octets) has no colon")]
    NoColon { line: usize, octets: usize },
    #[error("header line {line} has no name before its colon")]
    NoName { line: usize },
    #[error("header \"{name}\" has the escape \"{escape}\", which STOMP {version} does not define")]
    UndefinedEscape {
        name: String,
        escape: String,
        version: Version,
    },
    #[error("header line {line} has a carriage return that does not end the line")]
    CarriageReturn { line: usize },
    #[error("content-length \"{value}\" is not a decimal number")]
    ContentLength { value: String },
    #[error("{command} must not have a body")]
    BodyNotAllowed { command: &'static str },
    #[error("no NUL follows the {length} octets of the body that content-length says")]
    NoNulAfterBody { length: usize },
}

impl Fault {
    pub fn kind(&self) -> Kind {
        match self {
            Fault::LineOverLimit { .. }
            | Fault::HeadersOverLimit { .. }
            | Fault::ContentLengthOverLimit { .. }
            | Fault::BodyOverLimit { .. } => Kind::Limit,
            Fault::UnknownCommand { .. }
            | Fault::NulBeforeBody
            | Fault::NotUtf8 { .. }
            | Fault::NoColon { .. }
            | Fault::NoName { .. }
            | Fault::UndefinedEscape { .. }
            | Fault::CarriageReturn { .. }
            | Fault::ContentLength { .. }
            | Fault::BodyNotAllowed { .. }
            | Fault::NoNulAfterBody { .. } => Kind::Malformed,
        }
    }

    /// A line that names no command. What stands behind a colon is left out: where a client ends a frame too early,
    /// the "command" is a header, and its value may be a token.
    pub(super) fn unknown_command(line: &[u8]) -> Fault {
        let shown = line.split(|octet| *octet == b':').next().unwrap_or_default();
        let shown = &shown[..shown.len().min(EXCERPT)];
        let mut command = shown.escape_ascii().to_string();
        if shown.len() < line.len() {
            command.push('…');
        }
        Fault::UnknownCommand { command }
    }

    pub(super) fn undefined_escape(name: &str, escaped: Option<char>, version: Version) -> Fault {
        let escape = match escaped {
            _ if is_secret(name) => "***".to_owned(),
            Some(escaped) => format!("\\{}", escaped.escape_debug()),
            None => "\\".to_owned(),
        };
        Fault::UndefinedEscape {
            name: excerpt(name),
            escape,
            version,
        }
    }
}

/// The beginning of a text, fit for one line of a log.
pub(super) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        None => text.escape_debug().to_string(),
        Some((end, _)) => format!("{}…", text[..end].escape_debug()),
    }
}
