//! Who a session or a request speaks for, and which topics that user may use.
//!
//! Enters: a user id and topic patterns, as text. Leaves: an [`Identity`], which only exists with a user id that keeps
//! the rules of [`parse_user`], so nobody behind the door asks again. Pure: no I/O and no clock; times are arguments.
//!
//! # Why patterns under `/topic/` only
//! `/user/...` and `/queue/...` are the server's to send to. A pattern that can't name them means that no token,
//! however generous, lets its bearer read somebody else's notifications.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

/// Longest user id, in characters: the width of the column `receiver`.
pub const MAX_USER_CHARS: usize = 64;
/// The `receiver` of what goes to everyone; no user's id.
pub const EVERYONE: &str = "*";
/// Longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 256;
/// Most patterns in one list, so that a check costs a bounded number of comparisons.
pub const MAX_PATTERNS: usize = 64;

/// Who a token speaks for, and until when. Cheap to clone: a session, the hub and the roll share the same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The token's subject, as [`parse_user`] let it in.
    pub user: Arc<str>,
    /// Epoch milliseconds from which the token is no longer good; `None` never ends.
    pub expires: Option<i64>,
    /// The token's `jti`, by which that one token can be revoked.
    pub token_id: Option<Arc<str>>,
    /// Epoch milliseconds at which the token was issued (`iat`), for revoking all of a user's older tokens.
    pub issued: Option<i64>,
    pub topics: Topics,
    /// Sessions that the user may have by this token's word; the configuration's bound stands beside it.
    pub max_sessions: Option<NonZeroU32>,
}

/// The topics that a user may SUBSCRIBE to and SEND to. One pointer; sessions with the same rights share the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics(Arc<Lists>);

#[derive(Debug, PartialEq, Eq)]
struct Lists {
    read: Vec<Pattern>,
    write: Vec<Pattern>,
}

impl Topics {
    pub fn new(read: Vec<Pattern>, write: Vec<Pattern>) -> Result<Self, TooManyPatterns> {
        if read.len() > MAX_PATTERNS || write.len() > MAX_PATTERNS {
            return Err(TooManyPatterns);
        }
        Ok(Self(Arc::new(Lists { read, write })))
    }

    /// Every topic, to read and to write: what dev mode gives.
    pub fn all() -> Self {
        let every = || vec![Pattern("/topic/**".into())];
        Self(Arc::new(Lists {
            read: every(),
            write: every(),
        }))
    }

    /// No topic.
    pub fn none() -> Self {
        Self(Arc::new(Lists {
            read: Vec::new(),
            write: Vec::new(),
        }))
    }

    /// Whether SUBSCRIBE to this destination is allowed. `topic` is a name; a `*` in it stands for itself.
    pub fn may_read(&self, topic: &str) -> bool {
        self.0.read.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether SEND to this destination is allowed.
    pub fn may_write(&self, topic: &str) -> bool {
        self.0.write.iter().any(|pattern| pattern.matches(topic))
    }

    pub fn read(&self) -> &[Pattern] {
        &self.0.read
    }

    pub fn write(&self) -> &[Pattern] {
        &self.0.write
    }
}

/// A set of topics: `/topic/orders.*`, `/topic/room-*/chat`, `/topic/**`.
///
/// A name is cut into segments by `.` and `/`. `*` stands for one or more characters inside one segment, at most once
/// in each; `**` stands for all that follows, at least one character, and is the last segment. So a match never has
/// to go back, and costs one walk over the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Box<str>);

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(BadPattern::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(BadPattern::Control);
        }
        let mut rest = match text.strip_prefix("/topic/") {
            Some(name) if !name.is_empty() => name,
            _ => return Err(BadPattern::NotATopic),
        };
        loop {
            let (segment, after) = cut(rest);
            let last = after.is_none();
            let stars = segment.matches('*').count();
            if stars > 1 && !(segment == "**" && last) {
                return Err(BadPattern::Stars);
            }
            match after {
                Some((_, more)) => rest = more,
                None => return Ok(Self(text.into())),
            }
        }
    }

    pub fn matches(&self, topic: &str) -> bool {
        let (mut pattern, mut topic) = (&*self.0, topic);
        loop {
            let (segment, pattern_after) = cut(pattern);
            if segment == "**" {
                return !topic.is_empty();
            }
            let (name, topic_after) = cut(topic);
            if !segment_matches(segment, name) {
                return false;
            }
            match (pattern_after, topic_after) {
                (None, None) => return true,
                (Some((ours, p)), Some((theirs, t))) if ours == theirs => (pattern, topic) = (p, t),
                _ => return false,
            }
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets a user id in: 1 to [`MAX_USER_CHARS`] characters, none of them a control character, and not [`EVERYONE`].
///
/// The only way to a user id from outside; the longest one still fits the record's column and a STOMP header.
pub fn parse_user(id: &str) -> Result<Arc<str>, BadUser> {
    if id.is_empty() {
        return Err(BadUser::Empty);
    }
    // `nth` stops at the 65th character, so a huge id costs no more than a long one.
    if id.chars().nth(MAX_USER_CHARS).is_some() {
        return Err(BadUser::TooLong);
    }
    if id.chars().any(char::is_control) {
        return Err(BadUser::Control);
    }
    if id == EVERYONE {
        return Err(BadUser::Everyone);
    }
    Ok(id.into())
}

/// Why a text is no user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    #[error("it is absent or empty")]
    Empty,
    #[error("it is longer than {MAX_USER_CHARS} characters")]
    TooLong,
    #[error("it holds a control character")]
    Control,
    #[error("it is `{EVERYONE}`, which stands for everyone")]
    Everyone,
}

/// Why a text is no topic pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPattern {
    #[error("a pattern begins with `/topic/` and says more after it")]
    NotATopic,
    #[error("a pattern has at most {MAX_PATTERN_BYTES} bytes")]
    TooLong,
    #[error("a pattern holds no control character")]
    Control,
    #[error("`*` stands at most once in a segment, and `**` only as the last whole one")]
    Stars,
}

/// More than [`MAX_PATTERNS`] patterns in one list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a list holds at most {MAX_PATTERNS} patterns")]
pub struct TooManyPatterns;

/// The text before the first separator, and, if there is one, the separator and the text behind it.
fn cut(text: &str) -> (&str, Option<(u8, &str)>) {
    match text.find(['.', '/']) {
        Some(at) => (&text[..at], Some((text.as_bytes()[at], &text[at + 1..]))),
        None => (text, None),
    }
}

fn segment_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() > before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    }
}
