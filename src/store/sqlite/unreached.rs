//! What nobody was there to get: how far the lanes were looked through, by whom, and what is there.

use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::message;
use crate::domain::time::EpochMs;
use crate::store::{Looked, Stretch, Unended};

pub(super) async fn looked(pool: &SqlitePool) -> Result<Vec<Looked>, sqlx::Error> {
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "select l.lane, l.position, coalesce(u.through, 0) from lane l left join unreached u on u.lane = l.lane order by l.lane",
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(Looked::from_row).collect())
}

pub(super) async fn unended(pool: &SqlitePool, query: &Unended) -> Result<Stretch, sqlx::Error> {
    let rows = sqlx::query(
        "select position, id, type, receiver, viewed, created, seq, outcome = 0 as open, \
            case when outcome = 0 and created >= ? then data else 'null' end as data \
         from notify_log where position > ? and lane = ? order by position limit ?",
    )
    .bind(query.from)
    .bind(query.after as i64)
    .bind(query.lane)
    .bind(query.limit)
    .fetch_all(pool)
    .await?;
    Stretch::of(query, rows.iter(), |row: &SqliteRow| {
        let place = row.try_get::<i64, _>("position")? as u64;
        Ok((place, row.try_get("open")?, message(row)?))
    })
}

pub(super) async fn begin_turn(
    writer: &SqlitePool,
    (lane, through): (u32, u64),
    now: EpochMs,
    until: EpochMs,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into unreached (lane, turn) values (?, ?) \
         on conflict (lane) do update set turn = excluded.turn where through = ? and turn <= ?",
    )
    .bind(lane)
    .bind(until)
    .bind(through as i64)
    .bind(now)
    .execute(writer)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn end_turn(
    writer: &SqlitePool,
    lane: u32,
    until: EpochMs,
    through: u64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update unreached set through = ?, turn = 0 where lane = ? and turn = ?")
        .bind(through as i64)
        .bind(lane)
        .bind(until)
        .execute(writer)
        .await?;
    Ok(done.rows_affected() > 0)
}
