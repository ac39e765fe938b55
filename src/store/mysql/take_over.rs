//! Brings the schema up to date, and takes over the table of today's users (CONTRACT.md section 4).
//!
//! One node at a time, under a lock of the server's. These engines commit each change of a table by itself, so every step is made such that
//! a start that was cut anywhere is finished by the next one, without an operator:
//!
//! 1. Today's `notify_log` is renamed to `notify_log_before`, in one step. A program that still writes to it fails, and loses nothing silently.
//! 2. The migrations run. One that was cut is run again from its beginning; each is harmless the second time.
//! 3. The rows are copied, and counted in [`TAKEN_OVER`], in one transaction.
//!
//! `notify_log_before` stays as it was. The operator drops it once content.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::time::Instant;

use super::connect::lock_took_too_long;

const BEFORE: &str = "notify_log_before";
const COLUMNS: [&str; 8] = [
    "id",
    "type",
    "receiver",
    "data",
    "viewed",
    "created",
    "last_modified",
    "version",
];

/// Longest wait for another program's transaction on today's table.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How often a start that waits for another node says so.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Returns after every step is done, by this node or another one.
pub(super) async fn upgrade(connection: &mut MySqlConnection, patience: Duration) -> Result<(), String> {
    let lock = lock(connection, patience).await?;
    let result = steps(connection, patience.min(LOCK_WAIT)).await;
    // Freed with the connection at the latest.
    let _ = sqlx::query("select release_lock(?)")
        .bind(lock)
        .execute(&mut *connection)
        .await;
    result
}

async fn lock(connection: &mut MySqlConnection, patience: Duration) -> Result<String, String> {
    let failed = |error: sqlx::Error| format!("the upgrade's lock can't be taken: {error}");
    let database: String = sqlx::query_scalar("select database()")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    // The server's lock names are 64 characters long, and of all its databases.
    let digest = Sha256::digest(database.as_bytes());
    let name = format!(
        "quick-notify upgrade {:02x}{:02x}{:02x}{:02x}",
        digest[0], digest[1], digest[2], digest[3]
    );
    let end = Instant::now() + patience;
    let mut wait = Duration::ZERO;
    loop {
        let got: Option<i64> = sqlx::query_scalar("select get_lock(?, ?)")
            .bind(&name)
            .bind(whole_seconds(wait))
            .fetch_one(&mut *connection)
            .await
            .map_err(failed)?;
        if got == Some(1) {
            return Ok(name);
        }
        wait = TELL_EVERY.min(end.saturating_duration_since(Instant::now()));
        if wait.is_zero() {
            return Err(format!(
                "another node has been upgrading the record for {patience:?} (store.mysql.upgrade_timeout_ms)"
            ));
        }
        tracing::info!("another node is bringing the schema up to date; waiting");
    }
}

async fn steps(connection: &mut MySqlConnection, lock_wait: Duration) -> Result<(), String> {
    set_aside(connection, lock_wait).await?;
    migrate(connection).await?;
    copy(connection).await
}

/// Step 1. Only a table that has all of today's columns and none of ours is touched.
async fn set_aside(connection: &mut MySqlConnection, lock_wait: Duration) -> Result<(), String> {
    let columns = columns(connection, "notify_log").await?;
    if columns.is_empty() || columns.iter().any(|column| column == "seq") {
        return Ok(());
    }
    let missing: Vec<_> = COLUMNS
        .iter()
        .filter(|name| !columns.iter().any(|column| column == *name))
        .collect();
    if !missing.is_empty() {
        return Err(format!(
            "there is a table notify_log without {missing:?}: it is not quick-notify's; rename it"
        ));
    }
    if !self::columns(connection, BEFORE).await?.is_empty() {
        return Err(format!(
            "there are both an old notify_log and {BEFORE}: an old program has made its table anew; stop it, and drop the one that is empty"
        ));
    }
    tracing::info!("taking over the table notify_log; it is kept as {BEFORE}");
    let failed = |error: sqlx::Error| {
        if lock_took_too_long(&error) {
            return "another program holds a lock on notify_log: stop the old program, then start again".to_owned();
        }
        format!("notify_log can't be renamed to {BEFORE}: {error}")
    };
    // By itself the server would wait for a day, and let nobody else at the table meanwhile.
    let lock_wait = whole_seconds(lock_wait);
    for statement in [
        format!("set lock_wait_timeout = {lock_wait}"),
        format!("rename table notify_log to {BEFORE}"),
    ] {
        connection.execute(AssertSqlSafe(statement)).await.map_err(failed)?;
    }
    Ok(())
}

/// Step 2.
async fn migrate(connection: &mut MySqlConnection) -> Result<(), String> {
    const TABLE: &str = "notify_migrations";
    let failed =
        |error: &dyn std::fmt::Display| format!("the schema can't be upgraded: {error}; mend that and start again");
    if !columns(connection, TABLE).await?.is_empty() {
        connection
            .execute(AssertSqlSafe(format!("delete from {TABLE} where success = false")))
            .await
            .map_err(|error| failed(&error))?;
    }
    let mut migrator = sqlx::migrate!("migrations/mysql");
    // The table's name leaves room for another program in the same database; our own lock, unlike the migrator's, has an end.
    migrator.dangerous_set_table_name(TABLE);
    migrator.set_locking(false);
    migrator
        .run_direct(None, connection, false)
        .await
        .map_err(|error| failed(&error))
}

/// Step 3: all of it or nothing.
async fn copy(connection: &mut MySqlConnection) -> Result<(), String> {
    if columns(connection, BEFORE).await?.is_empty() {
        return Ok(());
    }
    let failed = |error: sqlx::Error| {
        format!(
            "the rows of {BEFORE} can't be taken over: {error}; nothing was copied. Mend the row there and start again"
        )
    };
    let done: Option<i64> = sqlx::query_scalar("select row_count from notify_taken_over where name = 'notify_log'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
    if done.is_some() {
        return Ok(());
    }
    // First the order alone, which is narrow; the rows then follow in the order of the new table's key.
    connection
        .execute("drop temporary table if exists notify_order")
        .await
        .map_err(failed)?;
    connection.execute(AssertSqlSafe(order_text())).await.map_err(failed)?;
    let mut transaction = connection.begin().await.map_err(failed)?;
    let after = transaction
        .execute(AssertSqlSafe(rows_text()))
        .await
        .map_err(failed)?
        .rows_affected();
    // What was just written is not counted again: before its commit the server looks at each row of an index in the table, too.
    for statement in [
        "insert into notify_receiver (receiver, last_seq) select receiver, max(seq) from notify_order group by receiver".to_owned(),
        format!("insert into notify_lane (lane, position, stored) values (0, {after}, {after})"),
        format!("insert into notify_tally (lane, confirmed) values (0, {after})"),
        format!("insert into notify_taken_over (name, row_count, taken_at) values ('notify_log', {after}, unix_timestamp() * 1000)"),
    ] {
        transaction.execute(AssertSqlSafe(statement)).await.map_err(failed)?;
    }
    let before: i64 = sqlx::query_scalar("select count(*) from notify_log_before")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed)?;
    if before as u64 != after {
        return Err(format!(
            "{BEFORE} has {before} rows, and {after} were copied: nothing was kept; is something writing to it?"
        ));
    }
    transaction.commit().await.map_err(failed)?;
    connection
        .execute("drop temporary table notify_order")
        .await
        .map_err(failed)?;
    tracing::info!(
        rows = after,
        "took over the rows of {BEFORE}; drop that table once you are content"
    );
    Ok(())
}

/// By (created, id), compared by their bytes: the place in the lane, and in the inbox. Receivers that today's collation takes for one, such as
/// `alice` and `Alice`, are two from here on.
fn order_text() -> String {
    let (id, receiver) = (bytes("id"), bytes("receiver"));
    let order = format!("order by {CREATED}, {id}");
    format!(
        "create temporary table notify_order (position bigint not null primary key) engine = InnoDB \
         select id, {receiver} as receiver, row_number() over ({order}) as position, row_number() over (partition by {receiver} {order}) as seq \
         from notify_log_before"
    )
}

/// Every row counts as confirmed, so that nothing is sent again.
fn rows_text() -> String {
    let (id, kind, receiver) = (bytes("entry.id"), bytes("entry.type"), bytes("entry.receiver"));
    let data = "coalesce(convert(entry.data using utf8mb4), 'null')";
    let part = |text: &str| format!("unhex(lpad(hex(octet_length({text})), 16, '0')), {text}");
    // The same fingerprint as `BodyHash` makes, so that a producer's retry of what was sent before is known.
    let hash = format!(
        "unhex(left(sha2(concat({}, {}, {}, {}, unhex('01')), 256), 32))",
        part(&kind),
        part("cast('user' as binary)"),
        part(&receiver),
        part(&format!("cast({data} as binary)"))
    );
    format!(
        "insert into notify_log (lane, position, id, type, receiver, data, viewed, created, last_modified, version, seq, body_hash, outcome) \
         select 0, notify_order.position, {id}, entry.type, {receiver}, {data}, coalesce(entry.viewed, 0) <> 0, {CREATED}, \
         coalesce(entry.last_modified, {CREATED}), coalesce(entry.version, 0), notify_order.seq, {hash}, 1 \
         from notify_order straight_join notify_log_before entry on entry.id = notify_order.id order by notify_order.position"
    )
}

const CREATED: &str = "coalesce(created, last_modified, 0)";

/// A text in whichever character set as the bytes of its UTF-8.
fn bytes(column: &str) -> String {
    format!("cast(convert({column} using utf8mb4) as binary)")
}

/// What the server counts in.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1_000) as u64
}

/// The names of a table's columns; none when there is no such table.
async fn columns(connection: &mut MySqlConnection, table: &str) -> Result<Vec<String>, String> {
    sqlx::query_scalar(
        "select lower(convert(column_name using utf8mb4)) from information_schema.columns where table_schema = database() and table_name = ?",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(|error| format!("the schema can't be read: {error}"))
}
