//! The hook `subscribe`: may this user read this topic?
//!
//! Asked after the token has allowed it: plugins narrow what a token allows, and never widen it. All that are there are asked, one after the other, and
//! the first refusal stands. One that fails is passed over where its `on_failure` is said to be `pass`; else nobody knows, and the client is told to try
//! again, for a SUBSCRIBE can't wait.

use serde::{Deserialize, Serialize};

use super::Hooks;
use super::line::excerpt;
use super::protocol::{Failure, Hook, OnFailure};

/// Why a topic stays closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Barred {
    /// In the plugin's words, shortened.
    Denied(String),
    /// A plugin that has to be asked gave no answer that counts. Worth another try.
    Unknown,
}

#[derive(Serialize)]
struct Question<'a> {
    user: &'a str,
    topic: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    allow: bool,
    reason: Option<String>,
}

impl Hooks {
    /// Whether anybody is asked about topics.
    pub fn guard_topics(&self) -> bool {
        self.are_asked(Hook::Subscribe)
    }

    /// Asks whether `user` may read `topic`. Takes no longer than the deadlines of the plugins together.
    pub async fn may_read(&self, user: &str, topic: &str) -> Result<(), Barred> {
        let Some(lines) = self.asked(Hook::Subscribe) else {
            return Ok(());
        };
        for line in &*lines {
            let allows = |answer: Answer| Ok((!answer.allow).then(|| answer.reason.unwrap_or_default()));
            match line.ask(&Question { user, topic }, allows).await {
                Ok(None) => {}
                Ok(Some(reason)) if reason.is_empty() => {
                    return Err(Barred::Denied("a plugin does not allow it".into()));
                }
                Ok(Some(reason)) => return Err(Barred::Denied(excerpt(&reason))),
                // The line has told of the failure.
                // That this node asks too much is no failure of the plugin's, and users could bring it about.
                Err(Failure::Busy) => return Err(Barred::Unknown),
                Err(_) if line.terms().on_failure == OnFailure::Pass => {}
                Err(_) => return Err(Barred::Unknown),
            }
        }
        Ok(())
    }
}
