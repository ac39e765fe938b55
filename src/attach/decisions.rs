//! What operators decided about plugins, kept in a bucket of JetStream that every node watches: to disable a plugin takes no restart, and outlives one.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::kv::{self, Entry, Operation, Store, UpdateErrorKind};
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
        let found = jetstream.get_key_value(&bucket).await.ok();
        let config = kv::Config {
            bucket,
            history: 1,
            num_replicas: replicas,
            ..kv::Config::default()
        };
        let Some(store) = found else {
            let store = jetstream.create_or_update_key_value(config).await.map_err(unkept)?;
            return Ok(Self(store));
        };
        let kept = store.status().await.map_err(unkept)?.info.config.num_replicas;
        if kept == replicas {
            return Ok(Self(store));
        }
        // One that is kept by fewer is as true; servers may be away that it needs.
        Ok(Self(match jetstream.create_or_update_key_value(config).await {
            Ok(store) => store,
            Err(error) => {
                events::plugin_decisions_not_replicated(replicas, &error);
                store
            }
        }))
    }

    /// What is decided about `name`, and the revision of that.
    pub async fn about(&self, name: &str) -> Result<Option<(u64, Option<Decision>)>, Unkept> {
        let entry = self.0.entry(name).await.map_err(unkept)?;
        Ok(entry.map(|entry| (entry.revision, read(&entry))))
    }

    /// Disables it on every node, in the name of `by`; returns when that is kept. Where it is disabled already, it stays so by whoever did it first.
    pub async fn disable(&self, name: &str, by: &str) -> Result<(u64, Decision), Unkept> {
        self.decide(name, true, by).await
    }

    /// Enables it again, on every node, in the name of `by`.
    pub async fn enable(&self, name: &str, by: &str) -> Result<(u64, Decision), Unkept> {
        self.decide(name, false, by).await
    }

    async fn decide(&self, name: &str, disabled: bool, by: &str) -> Result<(u64, Decision), Unkept> {
        // Others may decide at the same time: whoever was later looks again.
        loop {
            let entry = self.0.entry(name).await.map_err(unkept)?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let before = entry.filter(|entry| entry.operation == Operation::Put);
            let before = before.and_then(|entry| serde_json::from_slice::<Decision>(&entry.value).ok());
            // What is so already is said again, as it was: what was read may be old, and only who writes behind it knows that it isn't.
            let before = before.filter(|before| before.disabled == disabled);
            let decision = before.unwrap_or_else(|| Decision {
                disabled,
                by: by.to_owned(),
                at: wall_clock(),
            });
            let value = serde_json::to_vec(&decision).expect("a decision is JSON");
            match self.0.update(name, value.into(), revision).await {
                Ok(revision) => return Ok((revision, decision)),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                Err(error) => return Err(unkept(error)),
            }
        }
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
        roster.decisions_begin();
        while let Some(entry) = watch.next().await {
            let entry: Entry = entry.map_err(unkept)?;
            *backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
            roster.decided(&entry.key, entry.revision, read(&entry));
        }
        Ok(())
    }
}

/// What an entry says. One that can't be read disables: that is what decisions are for, and it is seen.
fn read(entry: &Entry) -> Option<Decision> {
    if entry.operation != Operation::Put {
        return None;
    }
    let decision = serde_json::from_slice(&entry.value).unwrap_or_else(|error| {
        events::plugin_decision_unreadable(&entry.key, &error);
        Decision {
            disabled: true,
            by: "a decision that can't be read".into(),
            at: entry.created.unix_timestamp() * 1_000,
        }
    });
    Some(decision)
}
