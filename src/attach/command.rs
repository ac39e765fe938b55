//! The hook `command`: what a page SENDs to `/app/x/NAME`, to the plugin that serves NAME.
//!
//! Where several serve it, the first in their order does, and that is logged. A command is asked once: it may do something, and nobody but the page
//! knows whether it may be done twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Hooks;
use super::config::is_name;
use super::line::{Line, Standing, excerpt};
use super::protocol::{Failure, Hook};

/// A command, as the plugin is shown it.
#[derive(Debug, Serialize)]
pub struct Question<'a> {
    pub command: &'a str,
    pub user: &'a str,
    pub session: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'a str>,
    pub body: &'a str,
}

/// What the plugin said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub body: String,
    pub content_type: Option<String>,
}

/// It was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// By the plugin's word.
    Refused { code: String, reason: String },
    /// No plugin serves it, nor ever did.
    Unserved,
    /// There is a plugin for it, which can't be asked now.
    Away,
    /// It was asked, and gave no answer that counts.
    Failed(Failure),
}

#[derive(Deserialize)]
struct Answer {
    body: Option<String>,
    content_type: Option<String>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    #[serde(default)]
    reason: String,
}

impl Hooks {
    /// The plugin that serves a command.
    pub fn server_of(&self, command: &str) -> Result<Arc<Line>, Undone> {
        let serves = |line: &&Arc<Line>| line.terms().commands.contains(command);
        if let Some(line) = self
            .asked(Hook::Command)
            .and_then(|asked| asked.iter().find(serves).cloned())
        {
            return Ok(line);
        }
        let mut lines = self.lines().iter().filter(|line| line.hook == Hook::Command);
        Err(match lines.any(|line| serves(&line)) {
            true => Undone::Away,
            false => Undone::Unserved,
        })
    }
}

/// Asks the plugin that serves it.
pub async fn ask(line: &Line, question: &Question<'_>) -> Result<Reply, Undone> {
    match line.ask(question, read).await {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(Refusal { code, reason })) => Err(Undone::Refused { code, reason }),
        Err(Failure::Absent | Failure::Disabled | Failure::Open | Failure::Unavailable(_)) => Err(Undone::Away),
        Err(failure) => Err(Undone::Failed(failure)),
    }
}

/// Octets of a reply's content type.
const MOST_CONTENT_TYPE: usize = 200;

fn read(answer: Answer) -> Result<Result<Reply, Refusal>, String> {
    match (answer.body, answer.error) {
        (Some(_), Some(_)) => Err("it has both `body` and `error`".into()),
        (None, None) => Err("it has neither `body` nor `error`".into()),
        (None, Some(refusal)) if !is_name(&refusal.code) => {
            Err("`error.code` has 1 to 64 letters, digits, - and _".into())
        }
        (None, Some(refusal)) => Ok(Err(Refusal {
            reason: excerpt(&refusal.reason),
            ..refusal
        })),
        (Some(body), None) => match answer.content_type {
            Some(kind) if kind.len() > MOST_CONTENT_TYPE || kind.chars().any(char::is_control) => Err(format!(
                "`content_type` has more than {MOST_CONTENT_TYPE} octets, or control characters"
            )),
            content_type => Ok(Ok(Reply { body, content_type })),
        },
    }
}

/// The commands that several plugins serve: by whom each is served, and by whom it would be.
pub(super) type Contested = BTreeMap<String, (Arc<str>, Arc<str>)>;

pub(super) fn contested(asked: &[Arc<Line>]) -> Contested {
    let mut servers = BTreeMap::<String, Arc<str>>::new();
    let mut contested = Contested::new();
    for line in asked.iter().filter(|line| line.hook == Hook::Command) {
        // Of one that is not there, it is not known what it would serve.
        if !matches!(line.terms().standing, Standing::Attached(_)) {
            continue;
        }
        for command in &line.terms().commands {
            match servers.get(command) {
                None => drop(servers.insert(command.clone(), Arc::clone(&line.plugin))),
                Some(first) => {
                    let both = (Arc::clone(first), Arc::clone(&line.plugin));
                    contested.entry(command.clone()).or_insert(both);
                }
            }
        }
    }
    contested
}
