//! The first connection: whether this server can be the record at all, and its schema.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

use super::config::Config;
use super::{explain, words};
use crate::store::StoreError;

/// Generic plans can be asked for from here on.
const OLDEST: i32 = 120_000;

static MIGRATIONS: Migrator = Migrator {
    // Beside a name that other programs in the same database may use.
    table_name: std::borrow::Cow::Borrowed("notify_migrations"),
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
    // A migration may take as long as it needs, and so may the wait for another node's: it is done once. sqlx takes an advisory lock for it.
    sqlx::query("set statement_timeout = 0")
        .execute(&mut connection)
        .await
        .map_err(|error| refused(words(&error)))?;
    MIGRATIONS.run(&mut connection).await.map_err(|error| {
        let reason = match &error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => words(error),
            other => other.to_string(),
        };
        refused(format!("the schema can't be brought up to date: {reason}"))
    })?;
    let _ = timeout(connect_timeout, connection.close()).await;
    Ok(())
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
