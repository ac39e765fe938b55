//! Which adapters the stories are told on: what a server has alone, or, with `TEST_ADAPTERS=cluster`, JetStream,
//! Redis and PostgreSQL. A story of the main job speaks of neither, and holds on both.

use std::sync::atomic::{AtomicU32, Ordering};

use super::servers::{Database, Nats, Postgres, Redis};

/// What a server of a story stands on beside its own directory.
pub struct Backing {
    /// Its own: channels are shared by all who use a Redis.
    _redis: Redis,
    record: Database,
    settings: Vec<(String, String)>,
}

impl Backing {
    /// As the environment says; `None`: the adapters of a server alone.
    pub async fn of_this_run() -> Option<Self> {
        match std::env::var("TEST_ADAPTERS").as_deref() {
            Ok("cluster") => Some(Self::of_a_cluster().await),
            Ok("alone") | Err(_) => None,
            Ok(other) => panic!("TEST_ADAPTERS is alone or cluster, not {other}"),
        }
    }

    async fn of_a_cluster() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let prefix = format!("qn{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let (nats, redis, record) = tokio::join!(Nats::shared(), Redis::start(), Postgres::shared());
        let mut settings = cluster_settings(&[nats.nats.url()], &prefix, &redis.url(), &record.url);
        // It syncs always, and the receipts shall say so. The server reserves the space that streams may take.
        for (path, value) in [
            ("queue.jetstream.monitoring", &*format!("[\"{}\"]", nats.monitor)),
            ("queue.jetstream.max_bytes", "67108864"),
            ("queue.jetstream.dead_max_bytes", "8388608"),
        ] {
            settings.push((path.to_owned(), value.to_owned()));
        }
        Self {
            _redis: redis,
            record,
            settings,
        }
    }

    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// The URL of the record.
    pub fn record(&self) -> &str {
        &self.record.url
    }
}

/// What a node of a cluster is told.
pub fn cluster_settings(nats: &[String], prefix: &str, redis: &str, record: &str) -> Vec<(String, String)> {
    let list = |urls: &[String]| {
        format!(
            "[{}]",
            urls.iter()
                .map(|url| format!("\"{url}\""))
                .collect::<Vec<_>>()
                .join(",")
        )
    };
    let pairs = [
        ("queue.adapter", "jetstream".to_owned()),
        ("nats.servers", list(nats)),
        ("nats.prefix", prefix.to_owned()),
        ("store.adapter", "postgres".to_owned()),
        ("store.postgres.url", record.to_owned()),
        ("topic.adapter", "redis".to_owned()),
        ("redis.servers", list(&[redis.to_owned()])),
        ("ingest.nats", "true".to_owned()),
    ];
    pairs
        .into_iter()
        .map(|(path, value)| (path.to_owned(), value))
        .collect()
}
