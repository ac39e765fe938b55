//! Where Redis is, and connections to it: one server, a cluster, or what Sentinels point to.
//!
//! A [`Link`] is three connections: one that hears what is published, one that publishes, and one for keys. Cluster, Sentinel, TLS
//! (`rediss://`) and users of an ACL are the client library's own support, passed on as configured; Redis 6 or newer is needed (RESP3).
//! Whoever holds a link supervises it: a broken one is dropped and made anew.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::aio::{AsyncPushSender, ConnectionLike, MultiplexedConnection};
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::io::tcp::TcpSettings;
use ::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use ::redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisError, RedisFuture, RedisResult, TlsMode, Value,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::secret::Secret;

/// Where Redis is, and how to get in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub mode: Mode,
    /// `redis://host:port/database`, or `rediss://` for TLS: the server, nodes of the cluster, or the Sentinels.
    pub servers: Vec<String>,
    /// The name under which Sentinels know the server.
    pub master: String,
    /// The user's name; without one the password is the default user's.
    pub user: Option<String>,
    pub password: Secret,
    /// Longest time for a connection to be made, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for an answer, in milliseconds; a server that takes longer counts as away.
    pub response_timeout_ms: u64,
    /// How often the connections are asked whether they live, in milliseconds.
    pub ping_interval_ms: u64,
    /// First and longest delay between tries to connect again, in milliseconds.
    pub reconnect_first_ms: u64,
    pub reconnect_most_ms: u64,
}

/// What the servers are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Single,
    Cluster,
    Sentinel,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Single,
            servers: vec!["redis://127.0.0.1:6379".into()],
            master: "mymaster".into(),
            user: None,
            password: Secret::default(),
            connect_timeout_ms: 2_000,
            response_timeout_ms: 1_000,
            ping_interval_ms: 500,
            reconnect_first_ms: 50,
            reconnect_most_ms: 1_000,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `redis`, reason). Dials nobody, and repeats no password.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.servers.is_empty() {
            problems.push((
                "servers".into(),
                "names no server, such as redis://127.0.0.1:6379".into(),
            ));
        }
        if self.mode == Mode::Single && self.servers.len() > 1 {
            let reason = "names several servers; say redis.mode = \"cluster\" or \"sentinel\"";
            problems.push(("servers".into(), reason.into()));
        }
        for (index, server) in self.servers.iter().enumerate() {
            let path = format!("servers[{index}]");
            match info(server) {
                Err(_) => problems.push((path, "is no address such as redis://127.0.0.1:6379".into())),
                Ok(info)
                    if info.redis_settings().password().is_some() || info.redis_settings().username().is_some() =>
                {
                    problems.push((
                        path,
                        "holds a user or a password; say redis.user and redis.password".into(),
                    ));
                }
                Ok(_) => {}
            }
        }
        if self.mode == Mode::Sentinel && self.master.is_empty() {
            problems.push(("master".into(), "names no server of the Sentinels".into()));
        }
        if let Err(reason) = self.password.password() {
            problems.push(("password".into(), reason));
        }
        if self.user.is_some() && !self.password.is_named() {
            problems.push(("user".into(), "a user needs a password".into()));
        }
        for (path, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("response_timeout_ms", self.response_timeout_ms),
            ("ping_interval_ms", self.ping_interval_ms),
            ("reconnect_first_ms", self.reconnect_first_ms),
            ("reconnect_most_ms", self.reconnect_most_ms),
        ] {
            if !(10..=600_000).contains(&value) {
                problems.push((path.into(), "must lie between 10 and 600000".into()));
            }
        }
        problems
    }

    pub fn response_timeout(&self) -> Duration {
        Duration::from_millis(self.response_timeout_ms)
    }
}

/// Makes links. Dials nobody by itself.
pub struct Redis {
    config: Config,
    servers: Servers,
}

enum Servers {
    Single(Client),
    Cluster {
        keys: ClusterClient,
        /// Any node publishes to all, and hears all.
        nodes: Vec<Client>,
        next: AtomicUsize,
    },
    Sentinel(Mutex<SentinelClient>),
}

/// Connections to Redis. When one of them breaks the others are of no use either.
#[derive(Clone)]
pub struct Link {
    /// Subscribes; hands what it hears to the link's sender.
    pub ear: MultiplexedConnection,
    pub mouth: MultiplexedConnection,
    pub keys: Keys,
}

/// A connection for keys, wherever they lie.
#[derive(Clone)]
pub enum Keys {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Prepares what is configured; the reason of a failure holds no password.
    pub fn new(config: &Config) -> Result<Self, String> {
        let failed = |error: RedisError| error.to_string();
        let password = config.password.password()?;
        let infos = config
            .servers
            .iter()
            .map(|server| Ok(config.complete(info(server)?, password.as_deref())))
            .collect::<RedisResult<Vec<_>>>()
            .map_err(failed)?;
        let servers = match config.mode {
            Mode::Single => {
                let first = infos.into_iter().next().ok_or("no server is named")?;
                Servers::Single(Client::open(first).map_err(failed)?)
            }
            Mode::Cluster => Servers::Cluster {
                keys: ClusterClient::builder(infos.iter().cloned())
                    .connection_timeout(Duration::from_millis(config.connect_timeout_ms))
                    .response_timeout(config.response_timeout())
                    .build()
                    .map_err(failed)?,
                nodes: infos
                    .into_iter()
                    .map(Client::open)
                    .collect::<RedisResult<_>>()
                    .map_err(failed)?,
                next: AtomicUsize::new(0),
            },
            Mode::Sentinel => {
                let client = sentinel(config, infos, password.as_deref()).map_err(failed)?;
                Servers::Sentinel(Mutex::new(client))
            }
        };
        Ok(Self {
            config: config.clone(),
            servers,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Connects; what is published on subscribed channels goes to `sender`, which must not block.
    pub async fn link(&self, sender: impl AsyncPushSender) -> RedisResult<Link> {
        let limit = Duration::from_millis(self.config.connect_timeout_ms);
        match tokio::time::timeout(limit, self.dial(sender)).await {
            Ok(link) => link,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    async fn dial(&self, sender: impl AsyncPushSender) -> RedisResult<Link> {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_millis(self.config.connect_timeout_ms)))
            .set_response_timeout(Some(self.config.response_timeout()));
        let client = match &self.servers {
            Servers::Single(client) => client.clone(),
            // Another one at each try: the last may be what is away.
            Servers::Cluster { nodes, next, .. } => nodes[next.fetch_add(1, Ordering::Relaxed) % nodes.len()].clone(),
            Servers::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await?,
        };
        let ear = settings.clone().set_push_sender(sender);
        let ear = client.get_multiplexed_async_connection_with_config(&ear).await?;
        let mouth = client.get_multiplexed_async_connection_with_config(&settings).await?;
        let keys = match &self.servers {
            Servers::Cluster { keys, .. } => Keys::Cluster(keys.get_async_connection().await?),
            _ => Keys::One(mouth.clone()),
        };
        Ok(Link { ear, mouth, keys })
    }
}

impl Config {
    fn complete(&self, info: ConnectionInfo, password: Option<&str>) -> ConnectionInfo {
        let mut settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        info.set_redis_settings(settings).set_tcp_settings(tcp())
    }
}

/// A bell doesn't wait for the next one.
fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

fn info(server: &str) -> RedisResult<ConnectionInfo> {
    server.into_connection_info()
}

/// Sentinels themselves are asked without a password.
fn sentinel(config: &Config, infos: Vec<ConnectionInfo>, password: Option<&str>) -> RedisResult<SentinelClient> {
    let tls = infos
        .iter()
        .any(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
    let database = infos.first().map_or(0, |info| info.redis_settings().db());
    let addresses: Vec<_> = infos.into_iter().map(|info| info.addr().clone()).collect();
    let mut builder = SentinelClientBuilder::new(addresses, &config.master, SentinelServerType::Master)?
        .set_client_to_redis_protocol(ProtocolVersion::RESP3)
        .set_client_to_redis_tcp_settings(tcp())
        .set_client_to_redis_db(database);
    if tls {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    if let Some(user) = &config.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_redis_password(password);
    }
    builder.build()
}

impl ConnectionLike for Keys {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(one) => one.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}
