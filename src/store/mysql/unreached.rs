//! What nobody was there to get: how far the lanes were looked through, by whom, and what is there.

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

use super::inbox::message;
use crate::domain::time::EpochMs;
use crate::store::{Looked, Stretch, Unended};

pub(super) async fn looked(connection: &mut MySqlConnection) -> Result<Vec<Looked>, sqlx::Error> {
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "select cast(l.lane as signed), l.position, coalesce(u.through, 0) from notify_lane l \
         left join notify_unreached u on u.lane = l.lane order by l.lane",
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Looked::from_row).collect())
}

pub(super) async fn unended(connection: &mut MySqlConnection, query: &Unended) -> Result<Stretch, sqlx::Error> {
    let rows = sqlx::query(
        "select position, id, type, receiver, viewed, created, seq, outcome, \
            case when outcome = 0 and created >= ? then data else 'null' end as data \
         from notify_log where lane = ? and position > ? order by position limit ?",
    )
    .bind(query.from)
    .bind(query.lane)
    .bind(query.after as i64)
    .bind(i64::from(query.limit))
    .fetch_all(connection)
    .await?;
    Stretch::of(query, rows.iter(), |row: &MySqlRow| {
        let place = row.try_get::<i64, _>("position")? as u64;
        Ok((place, row.try_get::<i8, _>("outcome")? == 0, message(row)?))
    })
}

pub(super) async fn begin_turn(
    connection: &mut MySqlConnection,
    (lane, through): (u32, u64),
    now: EpochMs,
    until: EpochMs,
) -> Result<bool, sqlx::Error> {
    // For the first time there is no row.
    sqlx::query("insert ignore into notify_unreached (lane) values (?)")
        .bind(lane)
        .execute(&mut *connection)
        .await?;
    let done = sqlx::query("update notify_unreached set turn = ? where lane = ? and through = ? and turn <= ?")
        .bind(until)
        .bind(lane)
        .bind(through as i64)
        .bind(now)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn end_turn(
    connection: &mut MySqlConnection,
    lane: u32,
    until: EpochMs,
    through: u64,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query("update notify_unreached set through = ?, turn = 0 where lane = ? and turn = ?")
        .bind(through as i64)
        .bind(lane)
        .bind(until)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}
