//! What the writer says to its file, in SQL. Nothing here remembers anything.

use std::path::Path;

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::FILE;
use crate::domain::notification::BodyHash;
use crate::domain::time::EpochMs;
use crate::lifecycle;
use crate::queue::{Dead, DeadLetter, Entry, Most, NewEntry, Source};
use crate::sqlite::explain;

/// What one transaction changes.
#[derive(Default)]
pub(super) struct Change<'a> {
    /// What came in.
    pub fresh: &'a [(u64, NewEntry)],
    /// What died.
    pub dead: &'a [DeadLetter],
    /// The dead letter that is none any more.
    pub replayed: Option<u64>,
}

impl Change<'_> {
    pub fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.dead.is_empty() && self.replayed.is_none()
    }
}

/// Writes `change`, and deletes what was settled, within the transaction that is open.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    change: Change<'_>,
    settled: Option<u64>,
) -> Result<(), sqlx::Error> {
    // SQLite takes 32,766 variables a statement.
    for chunk in change.fresh.chunks(1_000) {
        let mut insert = QueryBuilder::<Sqlite>::new("insert into entry (sequence, id, hash, payload) ");
        insert.push_values(chunk, |mut row, (sequence, entry)| {
            row.push_bind(*sequence as i64)
                .push_bind(&entry.id)
                .push_bind(&entry.hash.0[..])
                .push_bind(&entry.payload[..]);
        });
        insert.build().execute(&mut *connection).await?;
    }
    for letter in change.dead {
        sqlx::query(
            "insert or ignore into dead_letter (sequence, id, reason, detail, payload, died) values (?, ?, ?, ?, ?, ?)",
        )
        .bind(letter.sequence as i64)
        .bind(&letter.id)
        .bind(letter.reason)
        .bind(&letter.detail)
        .bind(&letter.payload[..])
        .bind(lifecycle::wall_clock())
        .execute(&mut *connection)
        .await?;
    }
    for (statement, sequence) in [
        ("delete from dead_letter where sequence = ?", change.replayed),
        ("delete from entry where sequence <= ?", settled),
    ] {
        if let Some(sequence) = sequence {
            sqlx::query(statement)
                .bind(sequence as i64)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// What is known of a queued entry: its sequence, id, hash, and the size of its payload.
pub(super) type Known = (u64, String, BodyHash, usize);

/// The last sequence ever given, and what is queued behind `settled`, in order.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    settled: u64,
) -> Result<(u64, impl Iterator<Item = Known> + use<>), sqlx::Error> {
    let given: Option<i64> = sqlx::query_scalar("select seq from sqlite_sequence where name = 'entry'")
        .fetch_optional(&mut *connection)
        .await?;
    let rows: Vec<(i64, String, Vec<u8>, i64)> =
        sqlx::query_as("select sequence, id, hash, length(payload) from entry where sequence > ? order by sequence")
            .bind(settled as i64)
            .fetch_all(connection)
            .await?;
    let queued = rows.into_iter().map(|(sequence, id, hash, size)| {
        let hash = BodyHash(hash.try_into().unwrap_or_default());
        (sequence as u64, id, hash, size as usize)
    });
    Ok((given.unwrap_or(0) as u64, queued))
}

/// The entries behind `after`.
pub(super) async fn entries(
    connection: &mut SqliteConnection,
    after: u64,
    most: Most,
) -> Result<Vec<Entry>, sqlx::Error> {
    let mut rows = sqlx::query_as("select sequence, payload from entry where sequence > ? order by sequence limit ?")
        .bind(after as i64)
        .bind(most.entries as i64)
        .fetch(connection);
    let mut entries: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    while let Some((sequence, payload)) = rows.try_next().await? {
        let (sequence, payload): (i64, Vec<u8>) = (sequence, payload);
        bytes += payload.len();
        if bytes > most.bytes && !entries.is_empty() {
            break;
        }
        entries.push(Entry {
            sequence: sequence as u64,
            payload: Bytes::from(payload),
            source: Source::Door,
        });
    }
    Ok(entries)
}

/// Octets of payload that a page of dead letters ends with.
const PAGE_BYTES: usize = 16 * 1024 * 1024;

/// The dead letters behind `after`, by the sequences that they had.
pub(super) async fn letters(
    connection: &mut SqliteConnection,
    after: u64,
    limit: u32,
) -> Result<Vec<Dead>, sqlx::Error> {
    let mut rows = sqlx::query_as(
        "select sequence, id, reason, detail, died, payload from dead_letter where sequence > ? order by sequence limit ?",
    )
    // What lies beyond SQLite's numbers is behind every letter.
    .bind(i64::try_from(after).unwrap_or(i64::MAX))
    .bind(limit)
    .fetch(connection);
    let mut letters: Vec<Dead> = Vec::new();
    let mut bytes = 0;
    while let Some((sequence, id, reason, detail, died, payload)) = rows.try_next().await? {
        let (sequence, died, payload): (i64, EpochMs, Vec<u8>) = (sequence, died, payload);
        bytes += payload.len();
        letters.push(Dead {
            number: sequence as u64,
            id,
            reason,
            detail,
            died,
            subject: None,
            headers: Vec::new(),
            truncated: None,
            payload: Bytes::from(payload),
        });
        if bytes > PAGE_BYTES {
            break;
        }
    }
    Ok(letters)
}

/// A commit that says nothing new still fails on a full or read-only disk. (An update to the same value would write nothing.)
pub(super) async fn ping(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("pragma user_version = 1")
        .execute(connection)
        .await
        .map(drop)
}

/// An error in words that an operator can act on.
pub(super) fn explained(error: &sqlx::Error) -> String {
    explain(Path::new(FILE), error)
}
