//! The doorbell: forwards envelopes to the nodes that hold the receiver's sessions, and keeps the roll of who is here. A port.
//!
//! The contract of every adapter:
//! - [`Topic::publish`] is a hint: it may lose or repeat, never waits longer than a moment, and what is lost is found in the record. When it
//!   knows that it lost something it says so by an error.
//! - Envelopes reach the [`Listener`] that the node registered, in the order of their publication while nothing is lost. A node hears what is
//!   for its own users and for everybody.
//! - [`Topic::line`] tells when this node may have missed something: from the moment it notices until it hears again.
//! - [`Topic::enter`] admits a session if its user has fewer than the cap, wherever they are; the guard that it gives takes the session off the
//!   roll when dropped; a caller that stops waiting leaves nothing there. From its return on, or a moment later, the node hears what is for that user.
//! - While the server behind it is away, sessions are admitted and counted on this node alone; when it is back, those over the cap lose
//!   their [`Seat`], newest first.

mod ear;
mod here;
pub mod local;
mod nats;
mod redis;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::domain::envelope::Envelope;
use crate::domain::revocation::Revocation;
use crate::nats::Nats;
use crate::redis as redis_server;

/// Which adapter, and its settings. All but the adapter's name matter only in a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub adapter: Adapter,
    /// Longest time that a publication may take, in milliseconds; what is not told by then is found in the record.
    pub publish_timeout_ms: u64,
    /// Publications at once; further ones wait, within their time.
    pub max_in_flight: usize,
    /// Octets of one envelope.
    pub max_envelope: usize,
    /// How long a new session waits until its user's channel is heard, in milliseconds.
    pub subscribe_timeout_ms: u64,
    /// How long a user's channel is heard after its last session went, in milliseconds: whoever reconnects costs nothing.
    pub linger_ms: u64,
    /// Users who are heard so; beyond it the oldest are not.
    pub max_lingering: usize,
    /// How long a new session waits for the roll, in milliseconds; then it is counted on this node alone.
    pub roll_timeout_ms: u64,
    /// How long the sessions of a node count that is not heard of, and how often a node is heard of, in milliseconds.
    pub lease_ms: u64,
    pub renew_ms: u64,
    /// How the roll is kept where NATS is the topic.
    pub nats: nats::Config,
    /// How long a user's roll is kept when no node confirms it, in seconds; nodes do so three times in that time.
    pub roll_ttl_seconds: u64,
}

/// The adapters there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adapter {
    #[default]
    Local,
    Redis,
    Nats,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            adapter: Adapter::Local,
            publish_timeout_ms: 250,
            max_in_flight: 64,
            max_envelope: 2_097_152,
            subscribe_timeout_ms: 250,
            linger_ms: 10_000,
            max_lingering: 10_000,
            roll_timeout_ms: 500,
            lease_ms: 5_000,
            renew_ms: 1_000,
            roll_ttl_seconds: 3_600,
            nats: nats::Config::default(),
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `topic`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("publish_timeout_ms", self.publish_timeout_ms, 1, 60_000),
            ("max_in_flight", self.max_in_flight as u64, 1, 100_000),
            ("max_envelope", self.max_envelope as u64, 1_024, 33_554_432),
            ("subscribe_timeout_ms", self.subscribe_timeout_ms, 1, 60_000),
            ("linger_ms", self.linger_ms, 0, 3_600_000),
            ("max_lingering", self.max_lingering as u64, 0, 10_000_000),
            ("roll_timeout_ms", self.roll_timeout_ms, 1, 60_000),
            ("lease_ms", self.lease_ms, 100, 600_000),
            ("renew_ms", self.renew_ms, 10, 300_000),
            ("roll_ttl_seconds", self.roll_ttl_seconds, 10, 604_800),
        ];
        let mut problems: Vec<_> = bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .collect();
        if self.renew_ms > self.lease_ms / 2 {
            let reason = "must be half of topic.lease_ms at most, so that one late renewal ends no lease";
            problems.push(("renew_ms".into(), reason.into()));
        }
        if !(1..=5).contains(&self.nats.replicas) {
            problems.push(("nats.replicas".into(), "must lie between 1 and 5".into()));
        }
        problems
    }

    /// Whether the adapter talks to NATS.
    pub fn needs_nats(&self) -> bool {
        match self.adapter {
            Adapter::Nats => true,
            Adapter::Local | Adapter::Redis => false,
        }
    }

    /// Whether the adapter talks to Redis.
    pub fn needs_redis(&self) -> bool {
        match self.adapter {
            Adapter::Redis => true,
            Adapter::Local | Adapter::Nats => false,
        }
    }

    fn publish_timeout(&self) -> Duration {
        Duration::from_millis(self.publish_timeout_ms)
    }

    fn subscribe_timeout(&self) -> Duration {
        Duration::from_millis(self.subscribe_timeout_ms)
    }

    fn roll_timeout(&self) -> Duration {
        Duration::from_millis(self.roll_timeout_ms)
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// Builds the configured adapter, which hands what it hears to `listener`. Doesn't need its server to be there.
pub async fn build(
    config: &Config,
    redis: &redis_server::Config,
    nats: Option<&Nats>,
    listener: Arc<dyn Listener>,
) -> Result<Arc<dyn Topic>, TopicError> {
    match config.adapter {
        Adapter::Local => Ok(Arc::new(local::Local::new(listener))),
        Adapter::Redis => {
            let server = redis_server::Redis::new(redis).map_err(TopicError::Refused)?;
            Ok(Arc::new(redis::Redis::start(config, server, listener).await))
        }
        Adapter::Nats => {
            let nats = nats.ok_or_else(|| TopicError::Refused("there is no connection to NATS".into()))?;
            Ok(Arc::new(nats::OverNats::start(config, nats.clone(), listener).await))
        }
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
