//! What nodes tell each other through the record: how far the lanes have come, and which tokens are no longer good.

use sqlx::SqliteExecutor;
use sqlx::sqlite::SqlitePool;

use crate::domain::revocation::{Revocation, Target};
use crate::domain::time::EpochMs;
use crate::store::{Mark, Rung};

pub(super) async fn marks(pool: &SqlitePool) -> Result<Vec<Mark>, sqlx::Error> {
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as("select lane, position, doubted from lane order by lane")
        .fetch_all(pool)
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

pub(super) async fn doubt(writer: impl SqliteExecutor<'_>, lane: u32) -> Result<(), sqlx::Error> {
    sqlx::query("update lane set doubted = position where lane = ?")
        .bind(lane)
        .execute(writer)
        .await
        .map(drop)
}

pub(super) async fn rung(
    pool: &SqlitePool,
    lane: u32,
    after: u64,
    through: u64,
    limit: u32,
) -> Result<Vec<Rung>, sqlx::Error> {
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "select position, receiver, seq from notify_log where position > ? and position <= ? and lane = ? order by position limit ?",
    )
    .bind(after as i64)
    .bind(through as i64)
    .bind(lane)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(position, receiver, seq)| Rung {
            position: position as u64,
            receiver,
            seq: seq as u64,
        })
        .collect())
}

pub(super) async fn revoke(writer: impl SqliteExecutor<'_>, revocation: &Revocation) -> Result<(), sqlx::Error> {
    let (jti, user, issued_before) = match &revocation.target {
        Target::Token(jti) => (&**jti, "", 0),
        Target::User { user, issued_before } => ("", &**user, *issued_before),
    };
    sqlx::query(
        "insert into revocation (jti, receiver, issued_before, created, until) values (?, ?, ?, ?, ?) \
         on conflict (jti, receiver, issued_before) do update set created = excluded.created, until = max(until, excluded.until)",
    )
    .bind(jti)
    .bind(user)
    .bind(issued_before)
    .bind(revocation.created)
    .bind(revocation.until)
    .execute(writer)
    .await
    .map(drop)
}

pub(super) async fn revocations(
    pool: &SqlitePool,
    since: EpochMs,
    now: EpochMs,
) -> Result<Vec<Revocation>, sqlx::Error> {
    let rows: Vec<(String, String, i64, EpochMs, EpochMs)> = sqlx::query_as(
        "select jti, receiver, issued_before, created, until from revocation where created >= ? and until > ?",
    )
    .bind(since)
    .bind(now)
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|(jti, user, issued_before, created, until)| Revocation {
            target: if user.is_empty() {
                Target::Token(jti)
            } else {
                Target::User { user, issued_before }
            },
            created,
            until,
        })
        .collect())
}
