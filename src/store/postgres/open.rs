//! The first connection: whether this server can be the record at all, and its schema.

use std::time::Duration;

use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::time::{Instant, timeout};

use super::config::Config;
use super::{explain, words};
use crate::store::StoreError;

/// Generic plans can be asked for from here on.
const OLDEST: i32 = 120_000;

/// Longest wait for another program's transaction on today's table.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How often a start that waits for another node says so.
const TELL_EVERY: Duration = Duration::from_secs(10);

static MIGRATIONS: Migrator = Migrator {
    // Beside a name that other programs in the same database may use.
    table_name: std::borrow::Cow::Borrowed("notify_migrations"),
    // Taken here instead, with an end to the wait for it.
    locking: false,
    ..sqlx::migrate!("migrations/postgres")
};

/// Connects, checks the server and brings the schema up to date.
pub(super) async fn prepare(config: &Config, options: &PgConnectOptions) -> Result<(), StoreError> {
    let refused = |reason: String| StoreError::Refused(explain(options, &reason));
    let connect_timeout = config.connect_timeout();
    let mut connection = timeout(connect_timeout, options.connect())
        .await
        .map_err(|_| refused(format!("no connection within {connect_timeout:?}")))?
        .map_err(|error| refused(words(&error)))?;
    check(&mut connection, options, connect_timeout).await?;
    upgrade(&mut connection, config.upgrade_timeout())
        .await
        .map_err(refused)?;
    let _ = timeout(connect_timeout, connection.close()).await;
    Ok(())
}

/// Returns after the schema is up to date, by this node or another one. The lock ends with the connection.
async fn upgrade(connection: &mut PgConnection, patience: Duration) -> Result<(), String> {
    let failed = |error: MigrateError| {
        let reason = match &error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => words(error),
            other => other.to_string(),
        };
        format!("the schema can't be brought up to date: {reason}")
    };
    lock(connection, patience, failed).await?;
    // A migration may take as long as it needs, for it is done once, but not wait for ever: nobody else gets at the table meanwhile.
    wait_at_most(connection, patience.min(LOCK_WAIT))
        .await
        .map_err(failed)?;
    MIGRATIONS.run(connection).await.map_err(|error| {
        if lock_took_too_long(&error) {
            return "another program holds a lock on notify_log: stop the old program, then start again".to_owned();
        }
        failed(error)
    })
}

/// One node at a time brings the schema up to date.
async fn lock(
    connection: &mut PgConnection,
    patience: Duration,
    failed: impl Fn(MigrateError) -> String,
) -> Result<(), String> {
    let end = Instant::now() + patience;
    // The first wait is short: whoever has to wait longer is told so.
    let mut wait = Duration::from_secs(1);
    loop {
        wait = wait.min(end.saturating_duration_since(Instant::now()));
        if wait.is_zero() {
            return Err(format!(
                "another node has been bringing the schema up to date for {patience:?} (store.postgres.upgrade_timeout_ms)"
            ));
        }
        wait_at_most(connection, wait).await.map_err(&failed)?;
        match connection.lock().await {
            Err(error) if lock_took_too_long(&error) => {}
            got => return got.map_err(failed),
        }
        tracing::info!("another node is bringing the schema up to date; waiting");
        wait = TELL_EVERY;
    }
}

/// For a lock of any kind; a statement has as long as it needs.
async fn wait_at_most(connection: &mut PgConnection, wait: Duration) -> Result<(), MigrateError> {
    // The server takes 0 for no limit.
    let wait = wait.as_millis().max(1);
    let text = format!("set statement_timeout = 0; set lock_timeout = {wait}");
    connection.execute(AssertSqlSafe(text)).await?;
    Ok(())
}

fn lock_took_too_long(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    error
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some("55P03"))
}

async fn check(connection: &mut PgConnection, options: &PgConnectOptions, limit: Duration) -> Result<(), StoreError> {
    let refused = |reason: String| StoreError::Refused(explain(options, &reason));
    let ask = sqlx::query_as::<_, (i32, String, String, bool, String)>(
        "select current_setting('server_version_num')::integer, current_setting('server_version'), current_setting('server_encoding'), \
         pg_is_in_recovery(), current_setting('synchronous_commit')",
    );
    let (number, version, encoding, standby, synchronous_commit) = timeout(limit, ask.fetch_one(connection))
        .await
        .map_err(|_| refused(format!("no answer within {limit:?}")))?
        .map_err(|error| refused(words(&error)))?;
    if number < OLDEST {
        return Err(refused(format!("its version is {version}; 12 at least is needed")));
    }
    if encoding != "UTF8" {
        return Err(refused(format!(
            "the database is encoded in {encoding}; UTF8 is needed"
        )));
    }
    if standby {
        return Err(refused("it is a standby, which can't be written to".into()));
    }
    if synchronous_commit == "off" {
        tracing::warn!(
            version,
            "the record's server says synchronous_commit = off: a crash of it loses its last commits"
        );
    } else {
        tracing::info!(version, synchronous_commit, "the record is in PostgreSQL");
    }
    Ok(())
}
