//! Reading inboxes. Every statement is one snapshot: what it tells of the rows and of the counters is of the same moment.

use serde_json::value::{RawValue, to_raw_value};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use crate::domain::envelope::Message;
use crate::domain::time::EpochMs;
use crate::store::{Page, PageQuery, Unread};

/// The columns that [`message`] reads.
const MESSAGE: &str = "entry.id, entry.type, entry.receiver, entry.data, entry.viewed, entry.created, entry.seq";

/// Two ranges of two indexes, since what is unconfirmed far back must be found without walking over what is confirmed. They give places
/// alone: with the data in it, what is gathered of the two would be written to a disk.
/// Outcomes 0 and 1 (open, confirmed) are told; what was deleted, expired or replaced is not.
fn page_text() -> String {
    format!(
        "select counters.last_seq, counters.removed_through, {MESSAGE} from notify_receiver counters left join ( \
            (select lane, position, seq from notify_log force index (notify_log_open) \
             where receiver = ? and outcome = 0 and seq > ? and seq <= ? order by seq limit ?) \
            union all \
            (select lane, position, seq from notify_log force index (notify_log_seq) \
             where receiver = ? and seq > ? and outcome in (0, 1) and removed = 0 order by seq limit ?) \
            order by seq limit ? \
         ) places on 1 = 1 left join notify_log entry on entry.lane = places.lane and entry.position = places.position \
         where counters.receiver = ? order by places.seq"
    )
}

pub(super) async fn page(connection: &mut MySqlConnection, query: &PageQuery) -> Result<Page, sqlx::Error> {
    let user = query.user.as_bytes();
    let after = query.after.min(i64::MAX as u64) as i64;
    let all_after = query.all_after.map_or(i64::MAX, |seq| seq.min(i64::MAX as u64) as i64);
    // One row more than asked for tells whether there are more.
    let limit = i64::from(query.limit) + 1;
    let rows = sqlx::query(AssertSqlSafe(page_text()))
        .bind(user)
        .bind(after)
        .bind(all_after)
        .bind(limit)
        .bind(user)
        .bind(after.max(all_after))
        .bind(limit)
        .bind(limit)
        .bind(user)
        .fetch_all(connection)
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
    let complete = rows.len() <= query.limit as usize;
    let rows = if first.try_get::<Option<i64>, _>("seq")?.is_none() {
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
    connection: &mut MySqlConnection,
    user: &str,
    before: EpochMs,
    skip: u64,
    limit: u32,
) -> Result<Vec<Message>, sqlx::Error> {
    let text = format!(
        "select {MESSAGE} from notify_log entry force index (notify_log_seq) \
         where entry.receiver = ? and entry.created < ? and entry.removed = 0 order by entry.seq desc limit ? offset ?"
    );
    let rows = sqlx::query(AssertSqlSafe(text))
        .bind(user.as_bytes())
        .bind(before)
        .bind(i64::from(limit))
        .bind(skip.min(i64::MAX as u64) as i64)
        .fetch_all(connection)
        .await?;
    rows.iter().map(message).collect()
}

pub(super) async fn unread(connection: &mut MySqlConnection, user: &str) -> Result<Unread, sqlx::Error> {
    // What its user deleted counts as viewed. One statement, so both numbers are of the same moment.
    let (unread, last_seq): (i64, i64) = sqlx::query_as(
        "select (select count(*) from notify_log force index (notify_log_viewed) where receiver = ? and viewed = 0), \
         coalesce((select last_seq from notify_receiver where receiver = ?), 0)",
    )
    .bind(user.as_bytes())
    .bind(user.as_bytes())
    .fetch_one(connection)
    .await?;
    Ok(Unread {
        unread: unread as u64,
        last_seq: last_seq as u64,
    })
}

pub(super) fn message(row: &MySqlRow) -> Result<Message, sqlx::Error> {
    Ok(Message {
        id: text(row, "id")?,
        kind: text(row, "type")?,
        receiver: text(row, "receiver")?,
        data: data(text(row, "data")?)?,
        viewed: row.try_get("viewed")?,
        created: row.try_get("created")?,
        seq: Some(row.try_get::<i64, _>("seq")? as u64),
    })
}

/// A column of text or of the bytes of one.
fn text(row: &MySqlRow, column: &str) -> Result<String, sqlx::Error> {
    row.try_get_unchecked(column)
}

/// What was taken over may hold anything; what is no JSON is told as a text, so that its neighbours can be read.
fn data(text: String) -> Result<Box<RawValue>, sqlx::Error> {
    let unsound = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(_) => RawValue::from_string(text).map_err(unsound),
        Err(_) => to_raw_value(&text).map_err(unsound),
    }
}
