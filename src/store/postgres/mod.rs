//! The record in PostgreSQL: for a cluster. Every verb is one statement, so one round trip and one transaction.
//!
//! What a verb writes is a function in the database (`migrations/postgres`): it locks, numbers, stores and counts where the rows are. How
//! durable a commit is, is the server's `synchronous_commit`, which is read and told at the start.

mod cluster;
mod config;
mod inbox;
mod insert;
mod open;
mod outcomes;
mod pool;
mod unreached;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;

pub use self::config::Config;
use self::pool::Pool;
use super::{
    Batch, Confirmation, Confirmed, Kept, Lane, Looked, Mark, Page, PageQuery, Placed, Rung, Store, StoreError,
    Stretch, Swept, Unended, Unread,
};
use crate::domain::envelope::Message;
use crate::domain::revocation::Revocation;
use crate::domain::time::EpochMs;

pub struct Postgres {
    pool: Pool,
    options: PgConnectOptions,
    config: Config,
}

impl Postgres {
    /// Connects, checks the server, and brings the schema up to date.
    pub async fn open(config: &Config) -> Result<Self, StoreError> {
        let options = config
            .options()
            .map_err(|reason| StoreError::Refused(format!("store.postgres.{reason}")))?;
        open::prepare(config, &options).await?;
        Ok(Self {
            pool: Pool::new(config, options.clone()),
            options,
            config: config.clone(),
        })
    }

    /// Runs one verb within the deadline and puts its error into words.
    async fn within<T>(&self, work: impl Future<Output = Result<T, sqlx::Error>> + Send) -> Result<T, StoreError> {
        let limit = Duration::from_millis(self.config.timeout_ms);
        let error = match tokio::time::timeout(limit, work).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => {
                self.pool.forget();
                return Err(StoreError::TimedOut(limit));
            }
        };
        let code = error.as_database_error().and_then(|error| error.code());
        let timed_out = |ms| Err(StoreError::TimedOut(Duration::from_millis(ms)));
        match (code.as_deref(), &error) {
            (_, sqlx::Error::PoolTimedOut) => return timed_out(self.config.acquire_timeout_ms),
            (Some("55P03"), _) => return timed_out(self.config.lock_timeout_ms),
            (Some("57014"), _) => return timed_out(self.config.statement_timeout_ms),
            // The statement was wrong, not the connection to the server.
            (Some(code), _) if !is_farewell(code) => {}
            _ => self.pool.forget(),
        }
        Err(StoreError::Unavailable(explain(&self.options, &words(&error))))
    }
}

#[async_trait]
impl Store for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    async fn claim(&self, lane: u32) -> Result<u64, StoreError> {
        self.within(cluster::claim(&self.pool, lane)).await
    }

    async fn insert(&self, batch: &Batch) -> Result<Vec<Placed>, StoreError> {
        self.within(insert::insert(&self.pool, batch))
            .await?
            .ok_or(StoreError::Fenced)
    }

    async fn lookup(&self, ids: &[&str]) -> Result<Vec<Option<Kept>>, StoreError> {
        self.within(insert::lookup(&self.pool, ids)).await
    }

    async fn page(&self, query: &PageQuery) -> Result<Page, StoreError> {
        self.within(inbox::page(&self.pool, query)).await
    }

    async fn confirm(&self, confirmations: &[Confirmation], _now: EpochMs) -> Result<Vec<Confirmed>, StoreError> {
        self.within(outcomes::confirm(&self.pool, confirmations)).await
    }

    async fn history(&self, user: &str, before: EpochMs, skip: u64, limit: u32) -> Result<Vec<Message>, StoreError> {
        self.within(inbox::history(&self.pool, user, before, skip, limit)).await
    }

    async fn unread(&self, user: &str) -> Result<Unread, StoreError> {
        self.within(inbox::unread(&self.pool, user)).await
    }

    async fn mark_viewed(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError> {
        self.within(outcomes::change(&self.pool, user, ids, false, now)).await
    }

    async fn delete(&self, user: &str, ids: &[String], now: EpochMs) -> Result<Vec<String>, StoreError> {
        self.within(outcomes::change(&self.pool, user, ids, true, now)).await
    }

    async fn marks(&self) -> Result<Vec<Mark>, StoreError> {
        self.within(cluster::marks(&self.pool)).await
    }

    async fn doubt(&self, lane: u32) -> Result<(), StoreError> {
        self.within(cluster::doubt(&self.pool, lane)).await
    }

    async fn rung(&self, lane: u32, after: u64, through: u64, limit: u32) -> Result<Vec<Rung>, StoreError> {
        self.within(cluster::rung(&self.pool, lane, after, through, limit))
            .await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), StoreError> {
        self.within(cluster::revoke(&self.pool, revocation)).await
    }

    async fn revocations(&self, since: EpochMs, now: EpochMs) -> Result<Vec<Revocation>, StoreError> {
        self.within(cluster::revocations(&self.pool, since, now)).await
    }

    async fn looked(&self) -> Result<Vec<Looked>, StoreError> {
        self.within(unreached::looked(&self.pool)).await
    }

    async fn unended(&self, query: &Unended) -> Result<Stretch, StoreError> {
        self.within(unreached::unended(&self.pool, query)).await
    }

    async fn begin_turn(&self, lane: u32, through: u64, now: EpochMs, until: EpochMs) -> Result<bool, StoreError> {
        self.within(unreached::begin_turn(&self.pool, (lane, through), now, until))
            .await
    }

    async fn end_turn(&self, lane: u32, until: EpochMs, through: u64) -> Result<bool, StoreError> {
        self.within(unreached::end_turn(&self.pool, lane, until, through)).await
    }

    async fn sweep(&self, cutoff: EpochMs, limit: u32) -> Result<Swept, StoreError> {
        self.within(outcomes::sweep(&self.pool, cutoff, limit)).await
    }

    async fn lanes(&self) -> Result<Vec<Lane>, StoreError> {
        self.within(cluster::lanes(&self.pool)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.within(async {
            let mut lease = self.pool.lease().await?;
            // A standby gives no transaction a number, and neither does a server that is read-only.
            let read_only: bool = sqlx::query_scalar(
                "select case when current_setting('transaction_read_only') = 'on' then true else txid_current() < 0 end",
            )
            .fetch_one(&mut *lease)
            .await?;
            if read_only {
                return Err(sqlx::Error::Protocol("it is read-only".into()));
            }
            lease.give_back();
            Ok(())
        })
        .await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

/// A reason, with where the server is. A password is not part of it.
fn explain(options: &PgConnectOptions, reason: &str) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => options.get_host().to_owned(),
    };
    let port = options.get_port();
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("PostgreSQL at {host}:{port}, database {database}: {reason}")
}

/// The server's own words, without those that the driver puts around them.
fn words(error: &sqlx::Error) -> String {
    match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    }
}

/// The server ends the connection, or has become one that can't be written to: a new connection may find another.
fn is_farewell(code: &str) -> bool {
    code.starts_with("57P") || code.starts_with("08") || code == "25006"
}

/// PostgreSQL's text holds no NUL, so the record has no such name.
fn fits(name: &str) -> bool {
    !name.contains('\0')
}
