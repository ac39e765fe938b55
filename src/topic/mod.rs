//! The doorbell: forwards envelopes to the nodes that hold the receiver's sessions, and keeps the roll of who is here. A port.
//!
//! The contract of every adapter:
//! - [`Topic::publish`] is a hint: it may lose or repeat, never waits longer than a moment, and what is lost is found in the record. When it
//!   knows that it lost something it says so by an error.
//! - Envelopes reach the [`Listener`] that the node registered, in the order of their publication while nothing is lost. A node hears what is
//!   for its own users and for everybody.
//! - [`Topic::line`] tells when this node may have missed something: from the moment it notices until it hears again.
//! - [`Topic::enter`] admits a session if its user has fewer than the cap, wherever they are; the guard that it gives takes the session off the
//!   roll when dropped. From its return on, or a moment later, the node hears what is for that user.
//! - While the server behind it is away, sessions are admitted and counted on this node alone; when it is back, those over the cap lose
//!   their [`Seat`], newest first.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::envelope::Envelope;
use crate::domain::revocation::Revocation;
use crate::nats::Nats;

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

impl Config {
    /// Whether the adapter talks to NATS.
    pub fn needs_nats(&self) -> bool {
        match self.adapter {
            Adapter::Local => false,
        }
    }
}

/// Builds the configured adapter, which hands what it hears to `listener`.
pub async fn build(
    config: &Config,
    _nats: Option<&Nats>,
    listener: Arc<dyn Listener>,
) -> Result<Arc<dyn Topic>, TopicError> {
    match config.adapter {
        Adapter::Local => Ok(Arc::new(local::Local::new(listener))),
    }
}

/// Who hears what is published, on this node. Must not block.
pub trait Listener: Send + Sync {
    fn hear(&self, envelope: Envelope);

    /// Some token is no longer good.
    fn revoked(&self, revocation: &Revocation);
}

/// A session as the roll knows it.
pub trait Seat: Send + Sync {
    /// There are more sessions of this user than the cap allows, and this one has to go. Must not block.
    fn give_up(&self);
}

#[async_trait]
pub trait Topic: Send + Sync {
    /// Name of the adapter, for people.
    fn name(&self) -> &'static str;

    /// Forwards envelopes, in their order.
    async fn publish(&self, envelopes: Vec<Envelope>) -> Result<(), TopicError>;

    /// Tells every node of a revocation.
    async fn revoke(&self, revocation: &Revocation) -> Result<(), TopicError>;

    /// Puts a session of `user` on the roll, unless `cap` of them are there.
    async fn enter(&self, user: &Arc<str>, seat: Arc<dyn Seat>, cap: u32) -> Result<Entered, TopicError>;

    /// How many sessions each of `users` has, anywhere.
    async fn present(&self, users: &[&str]) -> Result<Vec<u32>, TopicError>;

    /// Whether this node hears what is published.
    fn line(&self) -> watch::Receiver<Line>;

    /// Leaves; this node's sessions are off the roll.
    async fn close(&self);
}

/// The state of a node's line to the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    pub up: bool,
    /// How often it may have missed something; each time it is higher.
    pub breaks: u64,
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
    /// It can't be used at all; only an operator can help.
    #[error("{0}")]
    Refused(String),
}
