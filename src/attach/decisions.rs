//! What operators decided about plugins, kept in a bucket of JetStream that every node watches: to disable a plugin takes no restart, and outlives one.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::kv::{self, Entry, Operation, Store};
use futures_util::StreamExt;

use super::report::Decision;
use super::roster::Roster;
use crate::lifecycle::{Backoff, Lifecycle, wall_clock};
use crate::nats::Nats;
use crate::subjects;
use crate::telemetry::events;

/// The bucket. Cheap to clone.
#[derive(Clone)]
pub struct Decisions(Store);

/// The bucket can't be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("what is decided about plugins is kept in JetStream, which fails: {0}")]
pub struct Unkept(String);

fn unkept(error: impl std::fmt::Display) -> Unkept {
    Unkept(error.to_string())
}

impl Decisions {
    /// Finds the bucket, or makes it.
    pub async fn open(nats: &Nats, replicas: usize) -> Result<Self, Unkept> {
        let bucket = subjects::plugins_bucket(&nats.prefix);
        let jetstream = jetstream::new(nats.client.clone());
        if let Ok(store) = jetstream.get_key_value(&bucket).await {
            return Ok(Self(store));
        }
        let config = kv::Config {
            bucket,
            history: 1,
            num_replicas: replicas,
            ..kv::Config::default()
        };
        let store = jetstream.create_or_update_key_value(config).await.map_err(unkept)?;
        Ok(Self(store))
    }

    /// What is decided about `name`.
    pub async fn about(&self, name: &str) -> Result<Option<Decision>, Unkept> {
        let value = self.0.get(name).await.map_err(unkept)?;
        Ok(value.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    /// Disables it on every node, in the name of `by`; returns when that is kept.
    pub async fn disable(&self, name: &str, by: &str) -> Result<Decision, Unkept> {
        let decision = Decision {
            disabled: true,
            by: by.to_owned(),
            at: wall_clock(),
        };
        let value = serde_json::to_vec(&decision).expect("a decision is JSON");
        self.0.put(name, value.into()).await.map_err(unkept)?;
        Ok(decision)
    }

    /// Enables it again, on every node.
    pub async fn enable(&self, name: &str) -> Result<(), Unkept> {
        self.0.delete(name).await.map_err(unkept)
    }

    /// Tells the roster what is decided, until the drain.
    pub async fn follow(self, roster: Roster, lifecycle: Lifecycle) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
        let following = async {
            loop {
                if let Err(error) = self.hear(&roster, &mut backoff).await {
                    events::plugin_decisions_unheard(&error);
                }
                tokio::time::sleep(backoff.delay()).await;
            }
        };
        lifecycle.drain.run_until_cancelled(following).await;
    }

    async fn hear(&self, roster: &Roster, backoff: &mut Backoff) -> Result<(), Unkept> {
        // What is decided by now comes first.
        let mut watch = self.0.watch_with_history(">").await.map_err(unkept)?;
        while let Some(entry) = watch.next().await {
            let entry: Entry = entry.map_err(unkept)?;
            *backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
            let decision = match entry.operation {
                Operation::Put => serde_json::from_slice(&entry.value).ok(),
                Operation::Delete | Operation::Purge => None,
            };
            roster.decided(&entry.key, decision);
        }
        Ok(())
    }
}
