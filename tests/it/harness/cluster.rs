//! Nodes of one installation, as processes: three, with NATS, Redis and PostgreSQL behind lines that the test holds.

use std::time::Duration;

use async_nats::jetstream;

use super::adapters::cluster_settings;
use super::link::{Line, Link};
use super::servers::{Nats, NatsCluster, Postgres, Redis, free_port};
use super::{Server, lasts, tempdir, within};
use crate::checker::QueueEnd;

pub struct Cluster {
    pub nats: NatsServers,
    pub redis: Redis,
    pub postgres: Postgres,
    pub nodes: Vec<Node>,
}

/// One server, or three that replicate.
pub enum NatsServers {
    One(Nats),
    Three(NatsCluster),
}

/// A process of quick-notify with its lines.
pub struct Node {
    pub server: Server,
    /// One to each NATS server.
    pub nats: Vec<Link>,
    pub redis: Link,
    pub postgres: Link,
}

impl Cluster {
    /// Three nodes, one NATS server.
    pub async fn start(settings: &[(&str, &str)]) -> Self {
        let nats = Nats::start().await;
        Self::on(NatsServers::One(nats), settings).await
    }

    /// Three nodes, three NATS servers, streams in three copies.
    pub async fn replicated(settings: &[(&str, &str)]) -> Self {
        let nats = NatsCluster::start().await;
        let replicas = [("queue.jetstream.replicas", "3"), ("attach.replicas", "3")];
        Self::on(NatsServers::Three(nats), &[&replicas, settings].concat()).await
    }

    async fn on(nats: NatsServers, settings: &[(&str, &str)]) -> Self {
        let (redis, postgres) = tokio::join!(Redis::start(), Postgres::start());
        let mut cluster = Self {
            nats,
            redis,
            postgres,
            nodes: Vec::new(),
        };
        for _ in 0..3 {
            let node = cluster.node(settings).await;
            cluster.nodes.push(node);
        }
        cluster
    }

    async fn node(&self, settings: &[(&str, &str)]) -> Node {
        let mut nats = Vec::new();
        for server in self.nats.servers() {
            nats.push(Link::to(server.address()).await);
        }
        let redis = Link::to(self.redis.address()).await;
        let postgres = Link::to(self.postgres.address()).await;
        let urls: Vec<String> = nats
            .iter()
            .map(|link| format!("nats://127.0.0.1:{}", link.port()))
            .collect();
        let record = format!("postgres://quick@127.0.0.1:{}/postgres", postgres.port());
        let own = cluster_settings(&urls, "notify", &format!("redis://127.0.0.1:{}", redis.port()), &record);
        let all: Vec<(&str, &str)> = own
            .iter()
            .map(|(path, value)| (&**path, &**value))
            .chain(settings.iter().copied())
            .collect();
        // Clients come back to this address while nobody is there.
        let listen = format!("127.0.0.1:{}", free_port());
        let server = Server::at(&listen, tempdir(), &all).await;
        Node {
            server,
            nats,
            redis,
            postgres,
        }
    }

    pub fn node_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.server.url()).collect()
    }

    pub fn sockets(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.server.ws()).collect()
    }

    /// Which node stores the most just now, or the least.
    pub async fn busiest(&self, least: bool) -> usize {
        let before = self.stored().await;
        lasts(Duration::from_millis(300)).await;
        let after = self.stored().await;
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.sort_by(|a, b| (after[*a] - before[*a]).total_cmp(&(after[*b] - before[*b])));
        if least { order[0] } else { order[order.len() - 1] }
    }

    /// How many each node has stored; one that doesn't answer none.
    async fn stored(&self) -> Vec<f64> {
        let asked = self
            .nodes
            .iter()
            .map(|node| node.server.metric_if_up("quick_notify_stored_total"));
        futures_util::future::join_all(asked)
            .await
            .into_iter()
            .map(Option::unwrap_or_default)
            .collect()
    }

    /// Waits until nothing waits in the queue, and says how far it came.
    pub async fn queue_at_rest(&self) -> QueueEnd {
        let client = jetstream::new(self.nats_client().await);
        within("an empty queue", async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                let Ok(mut stream) = client.get_stream("notify").await else {
                    continue;
                };
                let Ok(info) = stream.info().await else { continue };
                if info.state.messages == 0 {
                    let last_sequence = info.state.last_sequence.cast_signed();
                    return QueueEnd::Asked {
                        last_sequence,
                        pending: 0,
                    };
                }
            }
        })
        .await
    }

    /// Of a client that goes past the nodes' lines.
    pub async fn nats_client(&self) -> async_nats::Client {
        let urls: Vec<String> = self.nats.servers().iter().map(Nats::url).collect();
        async_nats::ConnectOptions::new()
            .ignore_discovered_servers()
            .connect(urls)
            .await
            .expect("NATS answers")
    }

    /// A command at Redis.
    pub async fn redis(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(self.redis.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.expect("an answer")
    }
}

impl NatsServers {
    pub fn servers(&self) -> &[Nats] {
        match self {
            Self::One(server) => std::slice::from_ref(server),
            Self::Three(cluster) => &cluster.servers,
        }
    }

    pub fn servers_mut(&mut self) -> &mut [Nats] {
        match self {
            Self::One(server) => std::slice::from_mut(server),
            Self::Three(cluster) => &mut cluster.servers,
        }
    }
}

impl Node {
    /// All lines of this node at once.
    pub fn set_all(&self, line: Line) {
        self.nats.iter().for_each(|link| link.set(line));
        self.redis.set(line);
        self.postgres.set(line);
    }
}
