//! The roll in JetStream: a bucket of leases, whose entries end by themselves, and a bucket of users, whose entries are changed by the revision
//! that was read: who comes second reads again, so that the cap holds whoever asks where.
//!
//! The name of a node whose lease ended is never used again: renewing it fails, as its revision is gone. So a lease that can't be found is
//! over for good. A living one is believed for as long as a renewal takes; so a dead node's places count for a lease and one renewal. Ages are by
//! the clocks of the nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::kv::{self, Operation, Store, UpdateErrorKind};
use async_nats::jetstream::{self, stream::StorageType};
use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::domain::time::EpochMs;
use crate::lifecycle::wall_clock;
use crate::nats::Nats;
use crate::subjects;
use crate::topic::Config;
use crate::topic::here::{Left, Put, place};

/// What became of a wish to enter.
pub enum Answer {
    In(EpochMs),
    Full(u32),
}

#[derive(Clone)]
pub struct Roll(Arc<Inner>);

struct Inner {
    nodes: Store,
    users: Store,
    /// How long a lease that was seen is believed.
    believed: Duration,
    seen: Mutex<HashMap<String, Instant>>,
    /// One at a time for a user on this node: they would only make each other read again.
    turns: [tokio::sync::Mutex<()>; 64],
}

/// A user's places, oldest first.
#[derive(Default, Serialize, Deserialize)]
struct Places {
    places: Vec<(EpochMs, String)>,
}

/// Tries to change an entry that others change, too.
const TRIES: u32 = 50;

type Failed = String;

fn failed(error: impl std::fmt::Display) -> Failed {
    error.to_string()
}

impl Roll {
    /// Finds the buckets, or makes them.
    pub async fn open(nats: &Nats, config: &Config) -> Result<Self, Failed> {
        let jetstream = jetstream::new(nats.client.clone());
        let bucket = |bucket: String, max_age| {
            let config = kv::Config {
                bucket,
                max_age,
                history: 1,
                storage: StorageType::Memory,
                num_replicas: config.nats.replicas,
                ..kv::Config::default()
            };
            jetstream.create_or_update_key_value(config)
        };
        let nodes = bucket(subjects::nodes_bucket(&nats.prefix), config.lease());
        let ttl = Duration::from_secs(config.roll_ttl_seconds);
        let users = bucket(subjects::roll_bucket(&nats.prefix), ttl);
        Ok(Self(Arc::new(Inner {
            nodes: nodes.await.map_err(failed)?,
            users: users.await.map_err(failed)?,
            believed: Duration::from_millis(config.renew_ms),
            seen: Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::default()),
        })))
    }

    /// Begins `node`'s lease, in place of those that it may have under its former names; gives the revision to renew it by.
    pub async fn begin(&self, node: &str, former: &[Arc<str>]) -> Result<u64, Failed> {
        for name in former {
            self.0.nodes.purge(name).await.map_err(failed)?;
        }
        self.0.nodes.create(node, Bytes::new()).await.map_err(failed)
    }

    /// Renews `node`'s lease; `None` when there is none any more.
    pub async fn renew(&self, node: &str, revision: u64) -> Result<Option<u64>, Failed> {
        self.seen().retain(|_, seen| seen.elapsed() < self.0.believed);
        match self.0.nodes.update(node, Bytes::new(), revision).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    pub async fn end(&self, node: &str) -> Result<(), Failed> {
        self.0.nodes.purge(node).await.map_err(failed)
    }

    pub async fn enter(&self, node: &str, user: &str, number: u64, cap: u32) -> Result<Answer, Failed> {
        let now = wall_clock();
        self.change(node, user, |places| {
            let count = places.len() as u32;
            if count >= cap {
                return (Answer::Full(count), false);
            }
            places.push((now, place(node, number)));
            (Answer::In(now), true)
        })
        .await
    }

    /// Puts places on, whatever the caps, in place of what may stand there under former names; the answer says for each who is over.
    pub async fn put(&self, node: &str, puts: &[Put], former: &[Arc<str>]) -> Result<Vec<Vec<String>>, Failed> {
        let all = puts.iter().map(|put| {
            self.change(node, &put.user, |places| {
                let this = place(node, put.number);
                let is_former = |other: &str| former.iter().any(|name| *place(name, put.number) == *other);
                places.retain(|(_, other)| *other != this && !is_former(other));
                places.push((put.entered, this));
                places.sort();
                let over = places.iter().skip(put.cap as usize);
                (over.map(|(_, place)| place.clone()).collect(), true)
            })
        });
        try_join_all(all).await
    }

    /// Takes places off.
    pub async fn remove(&self, node: &str, left: &[Left]) -> Result<(), Failed> {
        let all = left.iter().map(|left| {
            self.change(node, &left.user, |places| {
                let this = place(node, left.number);
                let before = places.len();
                places.retain(|(_, other)| *other != this);
                ((), places.len() != before)
            })
        });
        try_join_all(all).await.map(|_| ())
    }

    /// How many places each of these has.
    pub async fn count(&self, node: &str, users: &[&str]) -> Result<Vec<u32>, Failed> {
        let counts = users.iter().map(async |user| {
            let (mut places, _) = self.read(&subjects::token(user)).await?;
            self.living(node, &mut places).await?;
            Ok(places.places.len() as u32)
        });
        try_join_all(counts).await
    }

    /// Changes a user's places; the dead ones are gone already. `decide` may be asked again, and says whether to write.
    async fn change<T>(
        &self,
        node: &str,
        user: &str,
        mut decide: impl FnMut(&mut Vec<(EpochMs, String)>) -> (T, bool),
    ) -> Result<T, Failed> {
        let key = subjects::token(user);
        let turn = key
            .bytes()
            .fold(7_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(byte));
        let _turn = self.0.turns[turn % self.0.turns.len()].lock().await;
        for attempt in 0..TRIES {
            let (mut places, revision) = self.read(&key).await?;
            self.living(node, &mut places).await?;
            let (answer, write) = decide(&mut places.places);
            if !write {
                return Ok(answer);
            }
            let bytes = serde_json::to_vec(&places).expect("numbers and strings are JSON");
            match self.0.users.update(&key, bytes.into(), revision).await {
                Ok(_) => return Ok(answer),
                // A replica that is read may be a little behind: give it time.
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    tokio::time::sleep(Duration::from_millis(u64::from(attempt.min(10)))).await;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err("a user's places are changed by others all the time".into())
    }

    async fn read(&self, key: &str) -> Result<(Places, u64), Failed> {
        match self.0.users.entry(key).await.map_err(failed)? {
            Some(entry) if entry.operation == Operation::Put => {
                // What can't be read is written anew.
                let places = serde_json::from_slice(&entry.value).unwrap_or_default();
                Ok((places, entry.revision))
            }
            Some(entry) => Ok((Places::default(), entry.revision)),
            None => Ok((Places::default(), 0)),
        }
    }

    /// Leaves only the places of nodes that live.
    async fn living(&self, own: &str, places: &mut Places) -> Result<(), Failed> {
        let mut dead: Vec<String> = Vec::new();
        for (_, place) in &places.places {
            let node = node_of(place);
            if node == own || dead.iter().any(|dead| dead == node) || self.has_seen(node) {
                continue;
            }
            let lease = self.0.nodes.entry(node).await.map_err(failed)?;
            if lease.is_some_and(|lease| lease.operation == Operation::Put) {
                self.seen().insert(node.to_owned(), Instant::now());
            } else {
                dead.push(node.to_owned());
            }
        }
        places
            .places
            .retain(|(_, place)| !dead.iter().any(|dead| dead == node_of(place)));
        Ok(())
    }

    fn has_seen(&self, node: &str) -> bool {
        self.seen()
            .get(node)
            .is_some_and(|seen| seen.elapsed() < self.0.believed)
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.0.seen.lock().expect("nothing panics under this lock")
    }
}

fn node_of(place: &str) -> &str {
    place.split(':').next().unwrap_or_default()
}
