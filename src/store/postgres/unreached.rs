//! What nobody was there to get: how far the lanes were looked through, by whom, and what is there.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::inbox::message;
use super::pool::Pool;
use crate::domain::time::EpochMs;
use crate::store::{Looked, Stretch, Unended};

pub(super) async fn looked(pool: &Pool) -> Result<Vec<Looked>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
        "select l.lane::bigint, l.position, coalesce(u.through, 0) from notify_lane l left join notify_unreached u on u.lane = l.lane \
         order by l.lane",
    )
    .fetch_all(&mut *lease)
    .await?;
    lease.give_back();
    Ok(rows.into_iter().map(Looked::from_row).collect())
}

pub(super) async fn unended(pool: &Pool, query: &Unended) -> Result<Stretch, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows = sqlx::query(
        "select n.position, n.id, n.type, n.receiver, n.viewed, n.created, n.seq, o.seq is not null as open, \
            case when o.seq is not null and n.created >= $1 then n.data else 'null' end as data \
         from (select * from notify_log where lane = $2 and position > $3 order by position limit $4) n \
         left join notify_open o on o.receiver = n.receiver and o.seq = n.seq order by n.position",
    )
    .bind(query.from)
    .bind(query.lane as i32)
    .bind(query.after as i64)
    .bind(i64::from(query.limit))
    .fetch_all(&mut *lease)
    .await?;
    lease.give_back();
    Stretch::of(query, rows.iter(), |row: &PgRow| {
        let place = row.try_get::<i64, _>("position")? as u64;
        Ok((place, row.try_get("open")?, message(row)?))
    })
}

pub(super) async fn begin_turn(
    pool: &Pool,
    (lane, through): (u32, u64),
    now: EpochMs,
    until: EpochMs,
) -> Result<bool, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let done = sqlx::query(
        "insert into notify_unreached as u (lane, turn) values ($1, $2) \
         on conflict (lane) do update set turn = excluded.turn where u.through = $3 and u.turn <= $4",
    )
    .bind(lane as i32)
    .bind(until)
    .bind(through as i64)
    .bind(now)
    .execute(&mut *lease)
    .await?;
    lease.give_back();
    Ok(done.rows_affected() > 0)
}

pub(super) async fn end_turn(pool: &Pool, lane: u32, until: EpochMs, through: u64) -> Result<bool, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let done = sqlx::query("update notify_unreached set through = $1, turn = 0 where lane = $2 and turn = $3")
        .bind(through as i64)
        .bind(lane as i32)
        .bind(until)
        .execute(&mut *lease)
        .await?;
    lease.give_back();
    Ok(done.rows_affected() > 0)
}
