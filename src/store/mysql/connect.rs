//! Connections: where the server is, what it can do, and how each connection is set up and ends.

use std::fmt::{self, Display};
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError, MySqlPool, MySqlPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, MySql};

use super::Config;

/// Reads the address. The reason, if there is one, holds no part of it: a password may have been written there.
pub(super) fn options(url: &str) -> Result<MySqlConnectOptions, String> {
    const SHAPE: &str = "an address such as mysql://notify@db.example:3306/notify";
    let Some(rest) = url.strip_prefix("mysql://").or_else(|| url.strip_prefix("mariadb://")) else {
        return Err(format!("is not {SHAPE}"));
    };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    if authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) {
        return Err("holds a password; say it in `password`, by secret_env or secret_file".into());
    }
    let options = MySqlConnectOptions::from_str(url).map_err(|_| format!("is not {SHAPE}"))?;
    if options.get_database().is_none() {
        return Err(format!("names no database; say {SHAPE}"));
    }
    Ok(options.disable_statement_logging())
}

/// Where the record is, for people.
#[derive(Debug, Clone)]
pub(super) struct Place(String);

impl Place {
    pub(super) fn of(options: &MySqlConnectOptions) -> Self {
        let database = options.get_database().unwrap_or_default();
        let server = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        Self(format!("mysql at {server}, database {database}"))
    }

    /// The server's words, with what can be done about the common ones.
    pub(super) fn explain(&self, error: &sqlx::Error) -> String {
        let help = match number(error) {
            Some(1044 | 1045 | 1698) => {
                ": check store.mysql.url's user, store.mysql.password and what the user is granted"
            }
            Some(1049) => ": create the database first",
            Some(1142) => ": grant the user all privileges on this database",
            Some(1040 | 1203) => ": raise the server's max_connections or lower store.mysql.max_connections",
            Some(1021 | 1114 | 1041) => ": free some space on its disk",
            Some(1290 | 1792 | 1836) => ": it can't be written to; is it a replica?",
            Some(1665) => ": its binlog_format must be ROW or MIXED",
            _ => "",
        };
        format!("{self}: {error}{help}")
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What answers.
#[derive(Debug, Clone)]
pub(super) struct Server {
    version: String,
    max_packet: u64,
}

impl Server {
    fn is_mariadb(&self) -> bool {
        self.version.contains("MariaDB")
    }

    /// Whether it is new enough and lets a notification through.
    pub(super) fn check(&self) -> Result<(), String> {
        let (name, least) = if self.is_mariadb() {
            ("MariaDB", (10, 6))
        } else {
            ("MySQL", (8, 0))
        };
        // Behind some proxies MariaDB says 5.5.5- first, for clients that are older than its version 10.
        let version = self.version.strip_prefix("5.5.5-").unwrap_or(&self.version);
        let mut numbers = version
            .split(|c: char| !c.is_ascii_digit())
            .map(|n| n.parse().unwrap_or(0));
        let found: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if found < least {
            return Err(format!(
                "{name} {}.{} or newer is needed (SKIP LOCKED); this is {version}",
                least.0, least.1
            ));
        }
        const LEAST_PACKET: u64 = 4 * 1_048_576;
        if self.max_packet < LEAST_PACKET {
            return Err(format!(
                "max_allowed_packet is {}; it must be {LEAST_PACKET} at least",
                self.max_packet
            ));
        }
        Ok(())
    }

    /// What each connection is told once.
    fn session(&self, config: &Config) -> String {
        // Before the client gives up, so that it learns why.
        let wait = (config.timeout_ms / 2_000).max(1);
        let idle = config.idle_transaction_seconds;
        let own = if self.is_mariadb() {
            let whole = config.timeout_ms as f64 / 1_000.0;
            // A long `in (...)` is looked up in the index; as a subquery, which MariaDB would make of it, it would lock what it passes.
            format!(
                "idle_transaction_timeout = {idle}, max_statement_time = {whole}, in_predicate_conversion_threshold = 0"
            )
        } else {
            // MySQL ends idle connections only whole, in a transaction or not; the pool opens new ones.
            format!("wait_timeout = {idle}, max_execution_time = {}", config.timeout_ms)
        };
        format!("set autocommit = 1, {SQL_MODE}, innodb_lock_wait_timeout = {wait}, {own}")
    }
}

/// A value that doesn't fit is an error, not cut to fit.
const SQL_MODE: &str = "sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'";
const ISOLATION: &str = "set session transaction isolation level read committed";

/// The first connection, which no statement timeout ends: an upgrade takes its time.
pub(super) async fn first(options: &MySqlConnectOptions) -> Result<(MySqlConnection, Server), sqlx::Error> {
    let mut connection = options.connect().await?;
    connection.execute(ISOLATION).await?;
    connection
        .execute(AssertSqlSafe(format!("set autocommit = 1, {SQL_MODE}")))
        .await?;
    let (version, max_packet) = sqlx::query_as("select version(), cast(@@max_allowed_packet as signed)")
        .fetch_one(&mut connection)
        .await
        .map(|(version, packet): (String, i64)| (version, packet as u64))?;
    Ok((connection, Server { version, max_packet }))
}

pub(super) async fn pool(
    options: MySqlConnectOptions,
    server: &Server,
    config: &Config,
) -> Result<MySqlPool, sqlx::Error> {
    /// A connection that was used so recently is not asked whether it lives: that would be a round trip for every verb.
    const FRESH: Duration = Duration::from_secs(1);
    let session = server.session(config);
    MySqlPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_millis(config.timeout_ms))
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > FRESH {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let session = session.clone();
            Box::pin(async move {
                connection.execute(ISOLATION).await?;
                connection.execute(AssertSqlSafe(session)).await.map(drop)
            })
        })
        .connect_with(options)
        .await
}

/// A connection for one verb. Unless the verb came to its end it is dropped, and with it whatever it was in the middle of.
pub(super) struct Held(Option<PoolConnection<MySql>>);

impl Held {
    pub(super) async fn from(pool: &MySqlPool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    /// The verb's result came from the server: the connection may be used again.
    pub(super) fn end<T>(mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        // After these the server closes the connection: it shuts down, or a statement or transaction took too long.
        let closing = |error: &sqlx::Error| matches!(number(error), None | Some(1053 | 1317 | 1927 | 1969 | 4031));
        if !result.as_ref().is_err_and(closing) {
            drop(self.0.take());
        }
        result
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Deref for Held {
    type Target = MySqlConnection;

    fn deref(&self) -> &MySqlConnection {
        self.0.as_deref().expect("taken at its end alone")
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut MySqlConnection {
        self.0.as_deref_mut().expect("taken at its end alone")
    }
}

/// Whether it failed over a transaction that ran at the same time: a deadlock, a key that the other one wrote first, or a row that it changed.
pub(super) fn met_another(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1213 | 1062 | 1020))
}

/// Whether it waited as long for a lock as its connection may.
pub(super) fn lock_took_too_long(error: &sqlx::Error) -> bool {
    number(error) == Some(1205)
}

/// The server's number of an error.
fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number())
}
