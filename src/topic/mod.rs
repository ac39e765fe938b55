//! The doorbell: forwards envelopes to the nodes that hold the receiver's sessions, and keeps the roll of who is here. A port.
//!
//! The contract of every adapter:
//! - [`Topic::publish`] is a hint: it may lose or repeat, never waits longer than a moment, and what is lost is found in the record.
//! - Envelopes reach the [`Listener`] that the node registered, in the order of their publication while nothing is lost.
//! - [`Topic::enter`] admits a session if its user has fewer than the cap; the guard that it gives takes the session off the roll when dropped.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::envelope::Envelope;

/// Which adapter, and each one's settings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub adapter: Adapter,
}

/// The adapters there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    #[default]
    Local,
}

/// Builds the configured adapter, which hands what it hears to `listener`.
pub fn build(config: &Config, listener: Arc<dyn Listener>) -> Arc<dyn Topic> {
    match config.adapter {
        Adapter::Local => Arc::new(local::Local::new(listener)),
    }
}

/// Who hears what is published, on this node. Must not block.
pub trait Listener: Send + Sync {
    fn hear(&self, envelope: Envelope);
}

#[async_trait]
pub trait Topic: Send + Sync {
    /// Name of the adapter, for people.
    fn name(&self) -> &'static str;

    /// Forwards one envelope.
    async fn publish(&self, envelope: Envelope) -> Result<(), TopicError>;

    /// Puts a session of `user` on the roll, unless `cap` of them are there.
    async fn enter(&self, user: &str, cap: u32) -> Result<Entered, TopicError>;

    /// How many sessions `user` has, anywhere.
    async fn present(&self, user: &str) -> Result<u32, TopicError>;
}

/// A place on the roll, given back when dropped.
pub struct Entered(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Entered {
    pub fn new(leave: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(leave)))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(leave) = self.0.take() {
            leave();
        }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum TopicError {
    /// The user has as many sessions as the cap allows.
    #[error("the user has {0} sessions already")]
    Full(u32),
    /// The server behind the topic can't be reached; the record covers for it.
    #[error("the topic is unavailable: {0}")]
    Unavailable(String),
}
