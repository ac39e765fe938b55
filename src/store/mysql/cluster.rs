//! What nodes tell each other through the record: how far the lanes have come, and which tokens are no longer good.

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

use crate::domain::outcome::Outcome;
use crate::domain::revocation::{Revocation, Target};
use crate::domain::time::EpochMs;
use crate::store::{Lane, Mark, Rung};

pub(super) async fn marks(connection: &mut MySqlConnection) -> Result<Vec<Mark>, sqlx::Error> {
    let rows: Vec<(i32, i64, i64)> = sqlx::query_as("select lane, position, doubted from notify_lane order by lane")
        .fetch_all(connection)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(lane, position, doubted)| Mark {
            lane: lane as u32,
            position: position as u64,
            doubted: doubted as u64,
        })
        .collect())
}

pub(super) async fn doubt(connection: &mut MySqlConnection, lane: u32) -> Result<(), sqlx::Error> {
    sqlx::query("update notify_lane set doubted = position where lane = ?")
        .bind(lane)
        .execute(connection)
        .await
        .map(drop)
}

pub(super) async fn rung(
    connection: &mut MySqlConnection,
    lane: u32,
    after: u64,
    through: u64,
    limit: u32,
) -> Result<Vec<Rung>, sqlx::Error> {
    let rows = sqlx::query(
        "select position, receiver, seq from notify_log where lane = ? and position > ? and position <= ? order by position limit ?",
    )
    .bind(lane)
    .bind(after.min(i64::MAX as u64) as i64)
    .bind(through.min(i64::MAX as u64) as i64)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let rung = |row: &MySqlRow| {
        Ok(Rung {
            position: row.try_get::<i64, _>("position")? as u64,
            receiver: row.try_get_unchecked("receiver")?,
            seq: row.try_get::<i64, _>("seq")? as u64,
        })
    };
    rows.iter().map(rung).collect()
}

pub(super) async fn revoke(connection: &mut MySqlConnection, revocation: &Revocation) -> Result<(), sqlx::Error> {
    let (jti, user, issued_before) = match &revocation.target {
        Target::Token(jti) => (&**jti, "", 0),
        Target::User { user, issued_before } => ("", &**user, *issued_before),
    };
    sqlx::query(
        "insert into notify_revocation (jti, receiver, issued_before, created, until) values (?, ?, ?, ?, ?) \
         on duplicate key update created = values(created), until = greatest(until, values(until))",
    )
    .bind(jti.as_bytes())
    .bind(user.as_bytes())
    .bind(issued_before)
    .bind(revocation.created)
    .bind(revocation.until)
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn revocations(
    connection: &mut MySqlConnection,
    since: EpochMs,
    now: EpochMs,
) -> Result<Vec<Revocation>, sqlx::Error> {
    let rows = sqlx::query(
        "select jti, receiver, issued_before, created, until from notify_revocation where created >= ? and until > ?",
    )
    .bind(since)
    .bind(now)
    .fetch_all(connection)
    .await?;
    let revocation = |row: &MySqlRow| {
        let user: String = row.try_get_unchecked("receiver")?;
        Ok(Revocation {
            target: if user.is_empty() {
                Target::Token(row.try_get_unchecked("jti")?)
            } else {
                Target::User {
                    user,
                    issued_before: row.try_get("issued_before")?,
                }
            },
            created: row.try_get("created")?,
            until: row.try_get("until")?,
        })
    };
    rows.iter().map(revocation).collect()
}

pub(super) async fn lanes(connection: &mut MySqlConnection) -> Result<Vec<Lane>, sqlx::Error> {
    // One statement, so that the two tables are of the same moment.
    let rows = sqlx::query("select * from notify_lane join notify_tally using (lane) order by lane")
        .fetch_all(connection)
        .await?;
    rows.iter().map(lane).collect()
}

fn lane(row: &MySqlRow) -> Result<Lane, sqlx::Error> {
    let count = |column: &str| row.try_get::<i64, _>(column).map(|n| n as u64);
    let stored = count("stored")?;
    let ended = Outcome::ALL
        .into_iter()
        .map(|outcome| Ok((outcome, count(outcome.name())?)))
        .collect::<Result<Vec<_>, sqlx::Error>>()?;
    // Derived: counting would read an index of every row that waits, on every node, every few seconds.
    let open = stored.saturating_sub(ended.iter().map(|(_, count)| count).sum());
    Ok(Lane {
        lane: row.try_get::<i32, _>("lane")? as u32,
        epoch: count("epoch")?,
        settled: count("settled")?,
        position: count("position")?,
        stored,
        duplicates: count("duplicates")?,
        transient: count("transient")?,
        refused: count("refused")?,
        ended,
        open,
    })
}

pub(super) async fn ping(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    // It writes: a full disk and a replica answer reads.
    sqlx::query("insert into notify_probe (one, probed) values (1, 1) on duplicate key update probed = probed + 1")
        .execute(connection)
        .await
        .map(drop)
}
