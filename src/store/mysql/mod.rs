//! The record in MySQL or MariaDB, for a cluster: any number of nodes and lanes at once.
//!
//! Tested with MariaDB 10.11; the statements keep to what MySQL 8.0 takes, too, and no test runs there.
//!
//! - READ COMMITTED: REPEATABLE READ would lock the gaps between keys, and dispatchers of different lanes would deadlock over rows that are not there.
//! - A dispatcher locks its lane's row and nothing that a confirmation needs; confirmations lock their rows by id, in the order of the ids, then
//!   the tallies in the order of the lanes. What deadlocks all the same is tried again here, a few times.
//! - Nothing keeps two lanes from taking the same id or the same receiver at once but the unique keys. Who comes second there tries again, and then
//!   finds what the first one wrote.
//! - A connection whose verb did not come to its end is dropped, and the server rolls back. So does the server when a node freezes in the
//!   middle of a transaction ([`Config::idle_transaction_seconds`]).

mod cluster;
mod connect;
mod inbox;
mod insert;
mod outcomes;
mod script;
mod sweep;
mod take_over;
mod unreached;

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlPool;

use super::{
    Batch, Confirmation, Confirmed, Kept, Lane, Looked, Mark, Page, PageQuery, Placed, Rung, Store, StoreError,
    Stretch, Swept, Unended, Unread,
};
use crate::domain::envelope::Message;
use crate::domain::revocation::Revocation;
use crate::domain::time::EpochMs;
use crate::secret::Secret;
use connect::{Held, Place};

/// Settings of the MySQL or MariaDB record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `mysql://user@host:port/database`, without the password; `?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE` asks for TLS.
    pub url: String,
    pub password: Secret,
    /// Connections at once.
    pub max_connections: u32,
    /// Longest wait for a connection and its answer, in milliseconds.
    pub timeout_ms: u64,
    /// How long the server keeps the transaction of a node that has stopped talking, in seconds: another one waits that long for its lane.
    pub idle_transaction_seconds: u32,
    /// Longest wait at the start while another node upgrades the schema, in milliseconds. Another program's lock on today's table is
    /// waited for half a minute of it at most.
    pub upgrade_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: "mysql://notify@127.0.0.1:3306/notify".into(),
            password: Secret::default(),
            max_connections: 16,
            timeout_ms: 10_000,
            idle_transaction_seconds: 3,
            upgrade_timeout_ms: 3_600_000,
        }
    }
}

impl Config {
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if let Err(reason) = connect::options(&self.url) {
            problems.push(("mysql.url".into(), reason));
        }
        if let Err(reason) = self.password.password() {
            problems.push(("mysql.password".into(), reason));
        }
        if !(2..=1_000).contains(&self.max_connections) {
            problems.push(("mysql.max_connections".into(), "must lie between 2 and 1000".into()));
        }
        for (name, value, least, most) in [
            ("timeout_ms", self.timeout_ms, 100, 600_000),
            ("idle_transaction_seconds", self.idle_transaction_seconds.into(), 1, 600),
            ("upgrade_timeout_ms", self.upgrade_timeout_ms, 100, 86_400_000),
        ] {
            if !(least..=most).contains(&value) {
                problems.push((format!("mysql.{name}"), format!("must lie between {least} and {most}")));
            }
        }
        problems
    }
}

pub struct Mysql {
    pool: MySqlPool,
    place: Place,
    timeout: Duration,
}

/// Runs one verb on a connection of its own, within the deadline; again when it met another transaction. A macro, since a closure can't
/// promise that what it makes of a borrowed connection may move between threads.
macro_rules! verb {
    ($mysql:expr, $connection:ident => $work:expr) => {
        $mysql
            .within(async {
                let mut tries = 0;
                loop {
                    let mut held = Held::from(&$mysql.pool).await?;
                    let $connection = &mut *held;
                    let result = $work.await;
                    tries += 1;
                    match held.end(result) {
                        Err(error) if tries < TRIES && connect::met_another(&error) => {}
                        result => break result,
                    }
                }
            })
            .await
    };
}

/// How often a verb is tried that deadlocked, or met a key that another transaction has just written.
const TRIES: u32 = 20;

impl Mysql {
    /// Connects, and brings the schema up to date; a table of today's users is taken over.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        let timeout = Duration::from_millis(config.timeout_ms);
        let refused = |reason: String| StoreError::Refused(format!("store.mysql: {reason}"));
        let options = connect::options(&config.url).map_err(refused)?;
        let options = match config.password.password().map_err(refused)? {
            Some(password) => options.password(&password),
            None => options,
        };
        let place = Place::of(&options);
        let refused = |error: sqlx::Error| StoreError::Refused(place.explain(&error));
        let (mut first, server) = tokio::time::timeout(timeout, connect::first(&options))
            .await
            .map_err(|_| StoreError::TimedOut(timeout))?
            .map_err(refused)?;
        server
            .check()
            .map_err(|reason| StoreError::Refused(format!("{place}: {reason}")))?;
        take_over::upgrade(&mut first, Duration::from_millis(config.upgrade_timeout_ms))
            .await
            .map_err(|reason| StoreError::Refused(format!("{place}: {reason}")))?;
        let pool = connect::pool(options, &server, config).await.map_err(refused)?;
        Ok(Self { pool, place, timeout })
    }

    /// Keeps the deadline and puts the error into words.
    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T, StoreError> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(StoreError::TimedOut(self.timeout)),
            Ok(Err(error)) => Err(StoreError::Unavailable(self.place.explain(&error))),
        }
    }
}

#[async_trait]
impl Store for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    async fn claim(&self, lane: u32) -> Result<u64, StoreError> {
        verb!(self, connection => insert::claim(connection, lane))
    }

    async fn insert(&self, batch: &Batch) -> Result<Vec<Placed>, StoreError> {
        verb!(self, connection => insert::insert(connection, batch))?.ok_or(StoreError::Fenced)
    }

    async fn lookup(&self, ids: &[&str]) -> Result<Vec<Option<Kept>>, StoreError> {
        verb!(self, connection => insert::lookup(connection, ids))
    }

    async fn page(&self, query: &PageQuery) -> Result<Page, StoreError> {
        verb!(self, connection => inbox::page(connection, query))
    }

    async fn confirm(&self, confirmations: &[Confirmation], now: EpochMs) -> Result<Vec<Confirmed>, StoreError> {
        verb!(self, connection => outcomes::confirm(connection, confirmations, now))
    }

    async fn history(&self, user: &str, before: EpochMs, skip: u64, limit: u32) -> Result<Vec<Message>, StoreError> {
        verb!(self, connection => inbox::history(connection, user, before, skip, limit))
    }

    async fn unread(&self, user: &str) -> Result<Unread, StoreError> {
        verb!(self, connection => inbox::unread(connection, user))
    }

    async fn mark_viewed(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError> {
        verb!(self, connection => outcomes::mark_viewed(connection, user, ids, now))
    }

    async fn delete(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError> {
        verb!(self, connection => outcomes::delete(connection, user, ids, now))
    }

    async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        verb!(self, connection => cluster::marks(connection))
    }

    async fn doubt(&self, lane: u32) -> Result<(), StoreError> {
        verb!(self, connection => cluster::doubt(connection, lane))
    }

    async fn rung(&self, lane: u32, after: u64, through: u64, limit: u32) -> Result<Vec<Rung>, StoreError> {
        verb!(self, connection => cluster::rung(connection, lane, after, through, limit))
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        verb!(self, connection => cluster::revoke(connection, revocation))
    }

    async fn revocations(&self, since: EpochMs, now: EpochMs) -> Result<Vec<Revocation>, StoreError> {
        verb!(self, connection => cluster::revocations(connection, since, now))
    }

    async fn looked(&self) -> Result<Vec<Looked>, StoreError> {
        verb!(self, connection => unreached::looked(connection))
    }

    async fn unended(&self, query: &Unended) -> Result<Stretch, StoreError> {
        verb!(self, connection => unreached::unended(connection, query))
    }

    async fn begin_turn(&self, lane: u32, through: u64, now: EpochMs, until: EpochMs) -> Result<bool, StoreError> {
        verb!(self, connection => unreached::begin_turn(connection, (lane, through), now, until))
    }

    async fn end_turn(&self, lane: u32, until: EpochMs, through: u64) -> Result<bool, StoreError> {
        verb!(self, connection => unreached::end_turn(connection, lane, until, through))
    }

    async fn sweep(&self, cutoff: EpochMs, limit: u32) -> Result<Swept, StoreError> {
        verb!(self, connection => sweep::sweep(connection, cutoff, limit))
    }

    async fn lanes(&self) -> Result<Vec<Lane>, StoreError> {
        verb!(self, connection => cluster::lanes(connection))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        verb!(self, connection => cluster::ping(connection))
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
