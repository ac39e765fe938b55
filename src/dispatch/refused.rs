//! What can never pass, and why.

use std::sync::Arc;

use crate::domain::notification::Notification;
use crate::receipts::Word;

/// Why an entry can never pass.
#[derive(Debug)]
pub struct Refused {
    /// `None` when it can't be read.
    pub notification: Option<Box<Notification>>,
    pub code: &'static str,
    pub detail: String,
    /// The plugin whose decision it was, or whose failure.
    pub plugin: Option<Arc<str>>,
    /// The detail of a plugin's decision as the log may have it: the plugin's own reason, or the kind of failure. The detail may quote a body.
    pub cause: String,
}

impl Refused {
    pub fn conflict(notification: Notification) -> Self {
        Self {
            notification: Some(Box::new(notification)),
            code: "conflict",
            detail: "the id was given to another notification before".into(),
            plugin: None,
            cause: String::new(),
        }
    }

    /// Of what nobody can read, or may not be as it is.
    pub fn of_draft(code: &'static str, detail: String) -> Self {
        Self {
            notification: None,
            code,
            detail,
            plugin: None,
            cause: String::new(),
        }
    }

    /// Empty when nobody can tell.
    pub fn id(&self) -> &str {
        self.notification
            .as_ref()
            .map_or("", |notification| notification.id.as_str())
    }

    /// The plugin and the cause, for the log.
    pub fn by(&self) -> Option<(&str, &str)> {
        Some((self.plugin.as_deref()?, &self.cause))
    }

    /// The reason in a producer's answer, which names the plugin beside it.
    pub fn word(&self) -> Word {
        Word::Dead {
            code: self.code.to_owned(),
            reason: bounded(self.detail.clone()),
            plugin: self.plugin.as_deref().map(str::to_owned),
        }
    }

    /// The detail of a dead letter.
    pub fn detail(&self) -> String {
        bounded(match &self.plugin {
            Some(plugin) => format!("{plugin}: {}", self.detail),
            None => self.detail.clone(),
        })
    }
}

/// A reason may quote what a producer sent, however long that is.
fn bounded(mut detail: String) -> String {
    if detail.len() > MAX_DETAIL {
        let cut = (0..=MAX_DETAIL)
            .rev()
            .find(|at| detail.is_char_boundary(*at))
            .unwrap_or(0);
        detail.truncate(cut);
        detail.push('…');
    }
    detail
}

/// Octets of a reason that are kept.
const MAX_DETAIL: usize = 500;
