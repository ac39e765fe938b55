//! The connection to NATS that a node shares: one client, which reconnects by itself.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::secret::Secret;

/// Where NATS is, and how to get in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Servers of the cluster, such as `nats://nats-1:4222`; one that answers is enough. `tls://` asks for TLS.
    pub servers: Vec<String>,
    /// First token of every subject, so that several installations may share a server.
    pub prefix: String,
    /// The user's name; its password is `password`.
    pub user: Option<String>,
    pub password: Secret,
    /// Longest time for a connection to be made, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for a reply of the server, in milliseconds.
    pub request_timeout_ms: u64,
    /// How often a silent connection is asked whether it lives, in milliseconds; after two unanswered ones it is made anew.
    pub ping_interval_ms: u64,
    /// Longest delay between tries to connect again, in milliseconds.
    pub reconnect_most_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            servers: vec!["nats://127.0.0.1:4222".into()],
            prefix: "notify".into(),
            user: None,
            password: Secret::default(),
            connect_timeout_ms: 5_000,
            request_timeout_ms: 5_000,
            ping_interval_ms: 2_000,
            reconnect_most_ms: 1_000,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `nats`, reason). Dials nobody.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.servers.is_empty() {
            problems.push((
                "servers".into(),
                "names no server, such as nats://127.0.0.1:4222".into(),
            ));
        }
        for (index, server) in self.servers.iter().enumerate() {
            // Not quoted: an address is printed and logged, and this one would tell the password.
            if server.contains('@') {
                problems.push((
                    format!("servers[{index}]"),
                    "say nats.user and nats.password instead of credentials in the address".into(),
                ));
            } else if let Err(error) = server.parse::<async_nats::ServerAddr>() {
                problems.push((
                    format!("servers[{index}]"),
                    format!("\"{server}\" is no address of a NATS server: {error}"),
                ));
            }
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.prefix.is_empty() || !self.prefix.bytes().all(fits) {
            problems.push(("prefix".into(), "is one token of letters, digits, - and _".into()));
        }
        if let Err(reason) = self.password.password() {
            problems.push(("password".into(), reason));
        }
        if self.user.is_some() != self.password.is_named() {
            problems.push(("user".into(), "a user and a password go together".into()));
        }
        for (path, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("request_timeout_ms", self.request_timeout_ms),
            ("ping_interval_ms", self.ping_interval_ms),
            ("reconnect_most_ms", self.reconnect_most_ms),
        ] {
            if !(10..=600_000).contains(&value) {
                problems.push((path.into(), "must lie between 10 and 600000".into()));
            }
        }
        problems
    }
}

/// The node's connection, with what every subject begins with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Nats {
    pub client: Client,
    pub prefix: String,
    pub pulse: watch::Receiver<Pulse>,
}

/// What became of the connection since it was first made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pulse {
    pub connected: bool,
    /// How often it was lost.
    pub lost: u64,
    /// How often a subscription was too slow, so that messages for it were dropped.
    pub slow: u64,
}

impl Pulse {
    /// Whether the event changed anything.
    fn note(&mut self, event: &Event) -> bool {
        match event {
            Event::Connected => self.connected = true,
            Event::Disconnected => {
                self.connected = false;
                self.lost += 1;
            }
            Event::SlowConsumer(_) => self.slow += 1,
            _ => return false,
        }
        true
    }
}

/// Why there is no connection at the start.
#[derive(Debug, Clone, thiserror::Error)]
#[error("NATS at {servers}: {reason}")]
pub struct NatsError {
    servers: String,
    reason: String,
}

/// Connects. From then on the client connects again by itself, for as long as the process lives.
pub async fn connect(config: &Config) -> Result<Nats, NatsError> {
    let failed = |reason: String| NatsError {
        servers: config
            .servers
            .iter()
            .map(|server| named(server))
            .collect::<Vec<_>>()
            .join(", "),
        reason,
    };
    let servers = config
        .servers
        .iter()
        .map(|server| server.parse::<async_nats::ServerAddr>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(error.to_string()))?;
    let most = Duration::from_millis(config.reconnect_most_ms);
    let (beat, pulse) = watch::channel(Pulse {
        connected: true,
        ..Pulse::default()
    });
    let beat = Arc::new(beat);
    let mut options = ConnectOptions::new()
        .event_callback(move |event| {
            let beat = Arc::clone(&beat);
            async move {
                beat.send_if_modified(|pulse| pulse.note(&event));
            }
        })
        .name("quick-notify")
        // Producers may hear `_INBOX.>`: what the nodes are answered, the entries of the queue among it, is not there.
        .custom_inbox_prefix(format!("_INBOX_{}", config.prefix))
        .connection_timeout(Duration::from_millis(config.connect_timeout_ms))
        .request_timeout(Some(Duration::from_millis(config.request_timeout_ms)))
        .ping_interval(Duration::from_millis(config.ping_interval_ms))
        .reconnect_delay_callback(move |attempts| Duration::from_millis(20 * attempts.min(1_000) as u64).min(most));
    if let (Some(user), Some(password)) = (&config.user, config.password.password().map_err(failed)?) {
        options = options.user_and_password(user.clone(), password);
    }
    let client = options
        .connect(servers)
        .await
        .map_err(|error| failed(error.to_string()))?;
    Ok(Nats {
        client,
        prefix: config.prefix.clone(),
        pulse,
    })
}

/// An address as it may be told: without credentials, should there be some.
fn named(server: &str) -> &str {
    server.rsplit('@').next().unwrap_or(server)
}
