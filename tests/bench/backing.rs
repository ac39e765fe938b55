//! The servers of a cluster beside the nodes under test: NATS with JetStream, Redis, PostgreSQL, each a private process of its own.

use std::time::Duration;

use clap::ValueEnum;

use crate::machine;
use crate::servers::{Nats, NatsCluster, Postgres, Redis};

/// What stands behind the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One node, one NATS server that syncs when it likes (R1).
    R1,
    /// The same with `sync_interval: always`.
    Always,
    /// Three nodes, three NATS servers, three replicas. Producers talk to the first node, sessions to the second.
    R3,
}

pub struct Backing {
    kind: Kind,
    nats: Vec<Nats>,
    redis: Redis,
    postgres: Postgres,
    /// Runs what the servers' starts wait with.
    _runtime: tokio::runtime::Runtime,
}

impl Backing {
    pub fn start(kind: Kind) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let (nats, redis, postgres) = runtime.block_on(async {
            let nats = match kind {
                Kind::R1 => vec![Nats::start().await],
                Kind::Always => vec![Nats::with("jetstream { sync_interval: always }").await],
                Kind::R3 => NatsCluster::start().await.servers,
            };
            (nats, Redis::start().await, Postgres::start().await)
        });
        Ok(Self {
            kind,
            nats,
            redis,
            postgres,
            _runtime: runtime,
        })
    }

    pub fn nodes(&self) -> usize {
        if self.kind == Kind::R3 { 3 } else { 1 }
    }

    /// A NATS server.
    pub fn nats(&self) -> String {
        self.nats[0].url()
    }

    /// What a node is told.
    pub fn settings(&self) -> Vec<String> {
        let servers: Vec<_> = self.nats.iter().map(Nats::url).collect();
        vec![
            format!("nats.servers={servers:?}"),
            "queue.adapter=jetstream".into(),
            format!("queue.jetstream.replicas={}", self.nats.len()),
            format!("attach.replicas={}", self.nats.len()),
            "topic.adapter=redis".into(),
            format!("redis.servers={:?}", [self.redis.url()]),
            "store.adapter=postgres".into(),
            format!("store.postgres.url={}", self.postgres.url()),
        ]
    }

    /// CPU time of each kind of server so far.
    pub fn cpu(&self) -> anyhow::Result<[(&'static str, Duration); 3]> {
        let nats = self
            .nats
            .iter()
            .map(|server| machine::cpu_of_family(server.pid()))
            .sum::<anyhow::Result<Duration>>()?;
        Ok([
            ("NATS", nats),
            ("Redis", machine::cpu_of_family(self.redis.pid())?),
            ("PostgreSQL", machine::cpu_of_family(self.postgres.pid())?),
        ])
    }
}
