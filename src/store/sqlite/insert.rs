//! Storing a batch: one transaction, in which the lane's row is the fence.

use std::collections::HashMap;

use sqlx::sqlite::SqlitePool;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::Known;
use crate::domain::notification::{Audience, BodyHash, Notification};
use crate::store::{Batch, Kept, Placed};

/// Rows of one statement: SQLite takes 32,766 variables, and a row has 11.
const ROWS: usize = 1_000;

/// Answers `None` when the lane's epoch is another's.
pub(super) async fn insert(pool: &SqlitePool, batch: &Batch) -> Result<Option<Vec<Placed>>, sqlx::Error> {
    // IMMEDIATE: a transaction that begins with a read could not become a writer while another one writes.
    let mut transaction = pool.begin_with("begin immediate").await?;
    let (epoch, settled, mut position): (i64, i64, i64) =
        sqlx::query_as("select epoch, settled, position from lane where lane = ?")
            .bind(batch.lane)
            .fetch_one(&mut *transaction)
            .await?;
    if epoch as u64 != batch.epoch {
        return Ok(None);
    }
    let settled = settled as u64;

    let mut ids = Vec::new();
    let mut last_seqs = HashMap::new();
    for notification in batch.items.iter().filter_map(|item| item.notification.as_ref()) {
        if let (true, Audience::User(user)) = (notification.persist, &notification.to) {
            ids.push(&*notification.id);
            last_seqs.insert(user.as_str(), 0);
        }
    }
    let mut known = known(&mut transaction, &ids).await?;
    read_last_seqs(&mut transaction, &mut last_seqs).await?;

    let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
    let mut tally = Tally::default();
    let mut placed = Vec::with_capacity(batch.items.len());
    for item in &batch.items {
        let fresh = item.sequence > settled;
        let place = match &item.notification {
            None => Placed::Unreadable,
            Some(notification) => match &notification.to {
                Audience::User(user) if notification.persist => match known.get(&notification.id) {
                    Some((hash, seq)) if *hash == notification.hash => Placed::Duplicate { seq: *seq },
                    Some(_) => Placed::Conflict,
                    None => {
                        let seq = last_seqs.get_mut(user.as_str()).expect("collected above");
                        *seq += 1;
                        position += 1;
                        known.insert(notification.id.clone(), (notification.hash, *seq));
                        rows.push(Row {
                            notification,
                            user,
                            seq: *seq,
                            position,
                        });
                        Placed::Stored { seq: *seq }
                    }
                },
                _ => Placed::Transient { repeated: !fresh },
            },
        };
        // A row counts whenever it came, so that stored = ended + open: a queue that began anew gives it a sequence that was settled once.
        if fresh || matches!(place, Placed::Stored { .. }) {
            tally.count(place);
        }
        placed.push(place);
    }

    for chunk in rows.chunks(ROWS) {
        insert_rows(&mut transaction, batch.lane, chunk).await?;
    }
    write_last_seqs(&mut transaction, &rows).await?;
    let through = batch
        .items
        .iter()
        .map(|item| item.sequence)
        .max()
        .unwrap_or(0)
        .max(settled);
    sqlx::query(
        "update lane set settled = ?, position = ?, stored = stored + ?, duplicates = duplicates + ?, \
         transient = transient + ?, refused = refused + ? where lane = ?",
    )
    .bind(through as i64)
    .bind(position)
    .bind(tally.stored)
    .bind(tally.duplicates)
    .bind(tally.transient)
    .bind(tally.refused)
    .bind(batch.lane)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some(placed))
}

/// What the record has under `ids`, in their order.
pub(super) async fn lookup(pool: &SqlitePool, ids: &[&str]) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let known = known(&mut connection, ids).await?;
    let kept = |(hash, seq): &(BodyHash, u64)| Kept { hash: *hash, seq: *seq };
    Ok(ids.iter().map(|id| known.get(*id).map(kept)).collect())
}

struct Row<'a> {
    notification: &'a Notification,
    user: &'a str,
    seq: u64,
    position: i64,
}

#[derive(Default)]
struct Tally {
    stored: i64,
    duplicates: i64,
    transient: i64,
    refused: i64,
}

impl Tally {
    fn count(&mut self, placed: Placed) {
        match placed {
            Placed::Stored { .. } => self.stored += 1,
            Placed::Duplicate { .. } => self.duplicates += 1,
            Placed::Transient { .. } => self.transient += 1,
            Placed::Conflict | Placed::Unreadable => self.refused += 1,
        }
    }
}

async fn known(
    connection: &mut SqliteConnection,
    ids: &[&str],
) -> Result<HashMap<String, (BodyHash, u64)>, sqlx::Error> {
    let mut known = HashMap::new();
    for chunk in ids.chunks(ROWS) {
        let mut select = QueryBuilder::<Sqlite>::new("select id, body_hash, seq from notify_log where id in (");
        bind_all(&mut select, chunk.iter().copied());
        let rows: Vec<Known> = select.build_query_as().fetch_all(&mut *connection).await?;
        for row in rows {
            let hash = BodyHash(row.body_hash.try_into().unwrap_or_default());
            known.insert(row.id, (hash, row.seq as u64));
        }
    }
    Ok(known)
}

async fn read_last_seqs(
    connection: &mut SqliteConnection,
    last_seqs: &mut HashMap<&str, u64>,
) -> Result<(), sqlx::Error> {
    let users: Vec<&str> = last_seqs.keys().copied().collect();
    for chunk in users.chunks(ROWS) {
        let mut select = QueryBuilder::<Sqlite>::new("select receiver, last_seq from receiver where receiver in (");
        bind_all(&mut select, chunk.iter().copied());
        let rows: Vec<(String, i64)> = select.build_query_as().fetch_all(&mut *connection).await?;
        for (receiver, last_seq) in rows {
            if let Some(seq) = last_seqs.get_mut(receiver.as_str()) {
                *seq = last_seq as u64;
            }
        }
    }
    Ok(())
}

async fn insert_rows(connection: &mut SqliteConnection, lane: u32, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<Sqlite>::new(
        "insert into notify_log (position, id, lane, type, receiver, data, created, last_modified, seq, body_hash) ",
    );
    insert.push_values(rows, |mut values, row| {
        values
            .push_bind(row.position)
            .push_bind(&row.notification.id)
            .push_bind(lane)
            .push_bind(&row.notification.kind)
            .push_bind(row.user)
            .push_bind(row.notification.data.get())
            .push_bind(row.notification.created)
            .push_bind(row.notification.created)
            .push_bind(row.seq as i64)
            .push_bind(&row.notification.hash.0[..]);
    });
    insert.build().execute(connection).await.map(drop)
}

async fn write_last_seqs(connection: &mut SqliteConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    // The last row of a receiver has its highest seq.
    let last: HashMap<&str, u64> = rows.iter().map(|row| (row.user, row.seq)).collect();
    let last: Vec<_> = last.into_iter().collect();
    for chunk in last.chunks(ROWS) {
        let mut upsert = QueryBuilder::<Sqlite>::new("insert into receiver (receiver, last_seq) ");
        upsert.push_values(chunk, |mut values, (user, seq)| {
            values.push_bind(*user).push_bind(*seq as i64);
        });
        upsert.push(" on conflict (receiver) do update set last_seq = excluded.last_seq");
        upsert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Writes `?, ?, …)` for the open `in (`.
pub(super) fn bind_all<'a>(query: &mut QueryBuilder<Sqlite>, values: impl Iterator<Item = &'a str>) {
    let mut list = query.separated(", ");
    for value in values {
        list.push_bind(value.to_owned());
    }
    query.push(")");
}
