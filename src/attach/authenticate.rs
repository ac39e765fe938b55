//! The hook `authenticate`: a plugin says who a token speaks for.
//!
//! In: a token, and what is known of the connection that it came by. Out: who it is, until when, and what the user may do; or that the token is no
//! good; or that it can't be known now. One plugin alone decides; whatever it does but answer rightly counts as not knowing, so nobody gets in by a
//! failure.
//!
//! Each CONNECT, each request with a token and each renewal is one question: nothing is remembered, so what a plugin takes back is back at the next
//! one. The token is in the question and nowhere else.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Hooks;
use super::line::{Line, excerpt};
use super::protocol::Hook;
use crate::domain::facts::Facts;
use crate::domain::id::name_problem;
use crate::domain::identity::{Pattern, Topics, parse_user};
use crate::domain::time::EpochMs;

/// The line to the plugin that knows tokens.
#[derive(Clone)]
pub struct Authenticator(Arc<Line>);

/// What the plugin said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    Good(Vouched),
    /// It is no good, and why, in the plugin's words, shortened.
    Refused(String),
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    pub user: Arc<str>,
    /// `None`: the plugin says that it never ends.
    pub expires: Option<EpochMs>,
    /// By which that one token, or all older ones of a user, can be revoked.
    pub token_id: Option<Arc<str>>,
    pub issued: Option<EpochMs>,
    pub topics: Topics,
    /// Sessions that the user may have, if the plugin says so.
    pub max_sessions: Option<NonZeroU32>,
}

/// Nobody knows whether the token is good. Worth another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// No `Debug`: it has the token.
#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
    connection: Connection<'a>,
}

#[derive(Serialize)]
struct Connection<'a> {
    transport: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<std::net::IpAddr>,
}

#[derive(Deserialize)]
struct Answer {
    user: Option<String>,
    /// Absent and null are not the same: that a token never ends has to be said.
    #[serde(default, deserialize_with = "said")]
    expires: Option<Option<EpochMs>>,
    #[serde(default)]
    topics: TopicLists,
    token_id: Option<String>,
    issued: Option<EpochMs>,
    max_sessions: Option<u32>,
    refused: Option<String>,
}

/// A list that is absent allows nothing.
#[derive(Default, Deserialize)]
struct TopicLists {
    #[serde(default)]
    read: Vec<String>,
    #[serde(default)]
    write: Vec<String>,
}

/// The end of the year 9999: what lies beyond is a mistake.
const LAST_MS: EpochMs = 253_402_300_799_999;

impl Hooks {
    /// The one plugin that may say who a token speaks for, attached or not.
    pub fn authenticator(&self) -> Option<Authenticator> {
        let line = self.lines().iter().find(|line| line.hook == Hook::Authenticate);
        line.cloned().map(Authenticator)
    }
}

impl Authenticator {
    /// Asks about a token.
    pub async fn ask(&self, token: &str, facts: &Facts) -> Result<Judged, Unknown> {
        let question = Question {
            token,
            connection: Connection {
                transport: facts.transport,
                origin: facts.origin.as_deref(),
                address: facts.address,
            },
        };
        // The line has told of the failure.
        self.0.ask(&question, judge).await.map_err(|_| Unknown)
    }
}

/// Every part of it has to be right. What is quoted is the plugin's mistake, which may have the token in it: the line keeps the kind of it alone.
fn judge(answer: Answer) -> Result<Judged, String> {
    let user = match (answer.user, answer.refused) {
        (Some(user), None) => parse_user(&user).map_err(|error| format!("`user`: {error}"))?,
        (None, Some(why)) => return Ok(Judged::Refused(excerpt(&why))),
        (Some(_), Some(_)) => return Err("it has both `user` and `refused`".into()),
        (None, None) => return Err("it has neither `user` nor `refused`".into()),
    };
    let expires = answer
        .expires
        .ok_or("`expires` is missing: milliseconds since 1970, or null for never")?;
    if expires.is_some_and(|at| !(0..=LAST_MS).contains(&at)) {
        return Err("`expires` is no time before the year 10000 in milliseconds since 1970".into());
    }
    if let Some(problem) = answer.token_id.as_deref().and_then(name_problem) {
        return Err(format!("`token_id` {problem}"));
    }
    let patterns = |name: &str, texts: &[String]| {
        let parsed = texts.iter().map(|text| Pattern::parse(text));
        let parsed: Result<Vec<_>, _> = parsed.collect();
        parsed.map_err(|error| format!("`topics.{name}`: {error}"))
    };
    let read = patterns("read", &answer.topics.read)?;
    let write = patterns("write", &answer.topics.write)?;
    let topics = Topics::new(read, write).map_err(|error| format!("`topics`: {error}"))?;
    let max_sessions = match answer.max_sessions.map(NonZeroU32::new) {
        Some(None) => return Err("`max_sessions` is 0; who may have no session is to be refused".into()),
        most => most.flatten(),
    };
    Ok(Judged::Good(Vouched {
        user,
        expires,
        token_id: answer.token_id.map(Into::into),
        issued: answer.issued,
        topics,
        max_sessions,
    }))
}

fn said<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<Option<EpochMs>>, D::Error> {
    Option::deserialize(value).map(Some)
}
