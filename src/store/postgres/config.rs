//! The settings of the PostgreSQL record.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

use crate::secret::Secret;

/// Where PostgreSQL is, how to get in, and how long to wait for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `postgres://HOST:PORT/DATABASE`, without a password. `?sslmode=verify-full&sslrootcert=FILE` asks for TLS.
    pub url: String,
    /// The user's name, unless the URL says it.
    pub user: Option<String>,
    pub password: Secret,
    /// Connections of this node.
    pub max_connections: u32,
    /// Longest time for a connection to be made, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest wait for one of the connections, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// Longest wait for a row that another statement holds, in milliseconds; the server ends the statement then.
    pub lock_timeout_ms: u64,
    /// Longest run of a statement, in milliseconds; the server ends it then.
    pub statement_timeout_ms: u64,
    /// Longest wait for all of it, in milliseconds, for a server that doesn't answer at all.
    pub timeout_ms: u64,
    /// Longest wait at the start while another node upgrades the schema, in milliseconds. Another program's lock on today's table is
    /// waited for half a minute of it at most.
    pub upgrade_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "postgres://notify@127.0.0.1:5432/notify".into(),
            user: None,
            password: Secret::default(),
            max_connections: 16,
            connect_timeout_ms: 3_000,
            acquire_timeout_ms: 5_000,
            lock_timeout_ms: 5_000,
            statement_timeout_ms: 8_000,
            timeout_ms: 10_000,
            upgrade_timeout_ms: 3_600_000,
        }
    }
}

/// What the URL may say behind `?`. Anything else would be passed over in silence, or is a setting of its own here.
const KNOWN_PARAMETERS: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "application_name",
];

impl Config {
    /// Every mistake in this table, as (path below `store`, reason). Dials nobody.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, reason: String| problems.push((format!("postgres.{key}"), reason));
        if let Some(reason) = url_problem(&self.url) {
            wrong("url", reason);
        }
        if self.user.is_some() && user_of(&self.url).is_some() {
            wrong("user", "is said twice: here and in the URL".into());
        }
        if let Err(reason) = self.password.password() {
            wrong("password", reason);
        }
        if !(2..=1_000).contains(&self.max_connections) {
            wrong("max_connections", "must lie between 2 and 1000".into());
        }
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("acquire_timeout_ms", self.acquire_timeout_ms),
            ("lock_timeout_ms", self.lock_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("timeout_ms", self.timeout_ms),
        ] {
            if !(100..=600_000).contains(&value) {
                wrong(key, "must lie between 100 and 600000".into());
            }
        }
        if !(100..=86_400_000).contains(&self.upgrade_timeout_ms) {
            wrong("upgrade_timeout_ms", "must lie between 100 and 86400000".into());
        }
        if self.statement_timeout_ms > self.timeout_ms {
            wrong("statement_timeout_ms", "must be at most timeout_ms".into());
        }
        if self.lock_timeout_ms > self.statement_timeout_ms {
            wrong("lock_timeout_ms", "must be at most statement_timeout_ms".into());
        }
        problems
    }

    /// What the driver needs. No reason that this gives holds a secret.
    pub fn options(&self) -> Result<PgConnectOptions, String> {
        if let Some(reason) = url_problem(&self.url) {
            return Err(format!("url: {reason}"));
        }
        let mut options = PgConnectOptions::from_str(&self.url)
            .map_err(|error| format!("url: {error}"))?
            .application_name("quick-notify")
            .disable_statement_logging();
        if let Some(user) = &self.user {
            options = options.username(user);
        }
        if let Some(password) = self
            .password
            .password()
            .map_err(|reason| format!("password: {reason}"))?
        {
            options = options.password(&password);
        }
        Ok(options)
    }

    /// What every connection is told first.
    ///
    /// Every statement of the record is meant to find its rows by an index, whatever the statistics of a table that was small a minute ago
    /// say: so scans are out, and a plan is made once. JIT would cost more than any of these statements.
    pub fn settings(&self) -> String {
        format!(
            "set statement_timeout = {}; set lock_timeout = {}; set default_transaction_isolation = 'read committed'; set jit = off; \
             set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_bitmapscan = off; set work_mem = '32MB'",
            self.statement_timeout_ms, self.lock_timeout_ms
        )
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    pub fn upgrade_timeout(&self) -> Duration {
        Duration::from_millis(self.upgrade_timeout_ms)
    }
}

fn url_problem(url: &str) -> Option<String> {
    let Some(rest) = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme))
    else {
        return Some("begins with postgres://, as in postgres://HOST:PORT/DATABASE".into());
    };
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let named: Vec<_> = parameters
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| parameter.split('=').next().unwrap_or_default())
        .collect();
    if user_of(url).is_some_and(|user| user.contains(':')) || named.contains(&"password") {
        return Some(
            "holds a password: name it in `password`, as { secret_env = NAME } or { secret_file = PATH }".into(),
        );
    }
    if named.iter().any(|name| !KNOWN_PARAMETERS.contains(name)) {
        return Some(format!(
            "says what is not known here; known: {}",
            KNOWN_PARAMETERS.join(", ")
        ));
    }
    if place.split_once('/').is_none_or(|(_, database)| database.is_empty()) {
        return Some("names no database, as in postgres://HOST:PORT/DATABASE".into());
    }
    PgConnectOptions::from_str(url).err().map(|error| error.to_string())
}

/// What stands before the `@`.
fn user_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    place.rsplit_once('@').map(|(user, _)| user)
}
