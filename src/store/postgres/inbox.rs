//! Reading inboxes. Every statement is one snapshot: what it tells of the rows and of the counters is of the same moment.

use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::pool::Pool;
use crate::domain::envelope::Message;
use crate::domain::time::EpochMs;
use crate::store::{Page, PageQuery, Unread};

/// Two ranges of two indexes, since what is unconfirmed far back must be found without walking over what is confirmed.
/// What is open or confirmed is told (outcome 1: see the migration); what was deleted, expired or replaced is not.
const PAGE: &str = "\
    select counters.last_seq, counters.removed_through, page.* from notify_receiver counters left join lateral ( \
        select * from ( \
            select n.id, n.type, n.receiver, n.data, n.viewed, n.created, n.seq from ( \
                select o.seq from notify_open o where o.receiver = $1 and o.seq > $2 and o.seq <= $3 order by o.seq limit $4) open \
            cross join lateral (select * from notify_log l where l.receiver = $1 and l.seq = open.seq limit 1) n) before \
        union all \
        select * from ( \
            select id, type, receiver, data, viewed, created, seq from notify_log \
            where receiver = $1 and seq > greatest($2, $3) and outcome = 1 and not removed order by seq limit $4) after \
        order by seq limit $4 \
    ) page on true where counters.receiver = $1 order by page.seq";

pub(super) async fn page(pool: &Pool, query: &PageQuery) -> Result<Page, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows = sqlx::query(PAGE)
        .bind(&query.user)
        .bind(clamped(query.after))
        .bind(query.all_after.map_or(i64::MAX, clamped))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(&mut *lease)
        .await?;
    lease.give_back();
    let Some(first) = rows.first() else {
        // Nothing was ever sent to this user.
        return Ok(Page {
            rows: Vec::new(),
            complete: true,
            last_seq: 0,
            removed_through: 0,
        });
    };
    let last_seq = first.try_get::<i64, _>("last_seq")? as u64;
    let removed_through = first.try_get::<i64, _>("removed_through")? as u64;
    let is_empty = first.try_get::<Option<String>, _>("id")?.is_none();
    // One row more than asked for tells whether there are more.
    let complete = rows.len() <= query.limit as usize;
    let rows = if is_empty {
        &[][..]
    } else {
        &rows[..rows.len().min(query.limit as usize)]
    };
    Ok(Page {
        rows: rows.iter().map(message).collect::<Result<_, _>>()?,
        complete,
        last_seq,
        removed_through,
    })
}

pub(super) async fn history(
    pool: &Pool,
    user: &str,
    before: EpochMs,
    skip: u64,
    limit: u32,
) -> Result<Vec<Message>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows = sqlx::query(
        "select id, type, receiver, data, viewed, created, seq from notify_log \
         where receiver = $1 and created < $2 and not removed order by seq desc limit $3 offset $4",
    )
    .bind(user)
    .bind(before)
    .bind(i64::from(limit))
    .bind(clamped(skip))
    .fetch_all(&mut *lease)
    .await?;
    lease.give_back();
    rows.iter().map(message).collect()
}

pub(super) async fn unread(pool: &Pool, user: &str) -> Result<Unread, sqlx::Error> {
    let mut lease = pool.lease().await?;
    // What its user deleted counts as viewed. One statement, so both numbers are of the same moment.
    let (unread, last_seq): (i64, i64) = sqlx::query_as(
        "select (select count(*) from notify_log where receiver = $1 and not viewed), \
         coalesce((select last_seq from notify_receiver where receiver = $1), 0)",
    )
    .bind(user)
    .fetch_one(&mut *lease)
    .await?;
    lease.give_back();
    Ok(Unread {
        unread: unread as u64,
        last_seq: last_seq as u64,
    })
}

pub(super) fn message(row: &PgRow) -> Result<Message, sqlx::Error> {
    let data: String = row.try_get("data")?;
    Ok(Message {
        id: row.try_get("id")?,
        kind: row.try_get("type")?,
        receiver: row.try_get("receiver")?,
        data: RawValue::from_string(data).map_err(|error| sqlx::Error::Decode(error.into()))?,
        viewed: row.try_get("viewed")?,
        created: row.try_get("created")?,
        seq: Some(row.try_get::<i64, _>("seq")? as u64),
    })
}

fn clamped(number: u64) -> i64 {
    number.min(i64::MAX as u64) as i64
}
