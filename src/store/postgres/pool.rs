//! The connections of this node: so many at most, made when they are needed.
//!
//! A verb leases one and gives it back when it is done. One that is not given back (its verb failed, ran out of time or was dropped) is closed:
//! nobody knows what still stands on it. So a verb costs no question whether the connection lives, and a server that went away costs one
//! failure, after which the connections that waited are closed as well.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::config::Config;

/// After so long a silence a connection is asked whether it lives: what stands between may have forgotten it.
const SILENCE: Duration = Duration::from_secs(30);

pub struct Pool {
    options: PgConnectOptions,
    settings: String,
    connect_timeout: Duration,
    acquire_timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// A connection for one verb.
pub struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<PgConnection>,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub fn new(config: &Config, options: PgConnectOptions) -> Self {
        Self {
            options,
            settings: config.settings(),
            connect_timeout: config.connect_timeout(),
            acquire_timeout: config.acquire_timeout(),
            permits: Semaphore::new(config.max_connections as usize),
            idle: Mutex::default(),
        }
    }

    /// Waits for a connection; [`sqlx::Error::PoolTimedOut`] when all are busy for too long.
    pub async fn lease(&self) -> Result<Lease<'_>, sqlx::Error> {
        let permit = timeout(self.acquire_timeout, self.permits.acquire())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let connection = match self.waiting().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(Lease {
            pool: self,
            connection: Some(connection),
            _permit: permit,
        })
    }

    /// Closes the connections that wait: the server was away.
    pub fn forget(&self) {
        self.idle().clear();
    }

    /// Closes everything; what is leased now is closed when it is given back.
    pub async fn close(&self) {
        self.permits.close();
        let idle = std::mem::take(&mut *self.idle());
        for Idle { connection, .. } in idle {
            let _ = timeout(self.connect_timeout, connection.close()).await;
        }
    }

    async fn waiting(&self) -> Option<PgConnection> {
        loop {
            let Idle { mut connection, since } = self.idle().pop()?;
            if since.elapsed() < SILENCE || matches!(timeout(self.connect_timeout, connection.ping()).await, Ok(Ok(())))
            {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let work = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            connection.execute(sqlx::AssertSqlSafe(self.settings.clone())).await?;
            Ok(connection)
        };
        timeout(self.connect_timeout, work).await.unwrap_or_else(|_| {
            let reason = format!("no connection within {:?}", self.connect_timeout);
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, reason).into())
        })
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease<'_> {
    /// Gives the connection back: its statement was answered in full.
    pub fn give_back(mut self) {
        if let Some(connection) = self.connection.take()
            && !self.pool.permits.is_closed()
        {
            let since = Instant::now();
            self.pool.idle().push(Idle { connection, since });
        }
    }
}

impl Deref for Lease<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect("leased until it is given back")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("leased until it is given back")
    }
}
