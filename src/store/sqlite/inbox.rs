//! Reading inboxes. Every statement is one snapshot: what it tells of the rows and of the counters is of the same moment.

use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::{MESSAGE, message};
use crate::domain::envelope::Message;
use crate::domain::time::EpochMs;
use crate::store::{Page, PageQuery, Unread};

/// Two ranges of two indexes, since what is unconfirmed far back must be found without walking over what is confirmed.
/// Outcomes 0 and 1 (open, confirmed) are told; what was deleted, expired or replaced is not.
const PAGE: &str = "\
    select counters.last_seq, counters.removed_through, rows.* from receiver counters left join ( \
        select * from ( \
            select id, type, receiver, data, viewed, created, seq from notify_log indexed by notify_log_open \
            where receiver = ?1 and outcome = 0 and seq > ?2 and seq <= ?3 order by seq limit ?4) \
        union all \
        select * from ( \
            select id, type, receiver, data, viewed, created, seq from notify_log \
            where receiver = ?1 and seq > max(?2, ?3) and outcome in (0, 1) and removed = 0 order by seq limit ?4) \
        order by seq limit ?4 \
    ) rows where counters.receiver = ?1 order by rows.seq";

pub(super) async fn page(pool: &SqlitePool, query: &PageQuery) -> Result<Page, sqlx::Error> {
    let rows = sqlx::query(PAGE)
        .bind(&query.user)
        .bind(query.after as i64)
        .bind(query.all_after.map_or(i64::MAX, |seq| seq.min(i64::MAX as u64) as i64))
        .bind(i64::from(query.limit) + 1)
        .fetch_all(pool)
        .await?;
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
    pool: &SqlitePool,
    user: &str,
    before: EpochMs,
    skip: u64,
    limit: u32,
) -> Result<Vec<Message>, sqlx::Error> {
    let text = format!(
        "select {MESSAGE} from notify_log where receiver = ? and created < ? and removed = 0 order by seq desc limit ? offset ?"
    );
    let rows = sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(user)
        .bind(before)
        .bind(limit)
        .bind(skip.min(i64::MAX as u64) as i64)
        .fetch_all(pool)
        .await?;
    rows.iter().map(message).collect()
}

pub(super) async fn unread(pool: &SqlitePool, user: &str) -> Result<Unread, sqlx::Error> {
    // What its user deleted counts as viewed. One statement, so both numbers are of the same moment.
    let (unread, last_seq): (i64, i64) = sqlx::query_as(
        "select (select count(*) from notify_log where receiver = ?1 and viewed = 0), \
         coalesce((select last_seq from receiver where receiver = ?1), 0)",
    )
    .bind(user)
    .fetch_one(pool)
    .await?;
    Ok(Unread {
        unread: unread as u64,
        last_seq: last_seq as u64,
    })
}
