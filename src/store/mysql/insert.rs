//! Storing a batch: one transaction, in which the lane's row is the fence. Seven round trips for a batch of up to a thousand rows.

use std::collections::HashMap;

use sqlx::{Connection, MySql, MySqlConnection, QueryBuilder};

use super::statement::{self, LIST, ROWS, bind_all, in_order};
use crate::domain::notification::{Audience, BodyHash, Notification};
use crate::store::{Batch, Placed};

/// Octets of data of one statement, well below the least `max_allowed_packet` that is accepted. One notification's data has 1 MiB at most.
const OCTETS: usize = 1_048_576;

pub(super) async fn claim(connection: &mut MySqlConnection, lane: u32) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("insert into notify_lane (lane, epoch) values (?, 1) on duplicate key update epoch = epoch + 1")
        .bind(lane)
        .execute(&mut *transaction)
        .await?;
    let epoch: i64 = sqlx::query_scalar("select epoch from notify_lane where lane = ?")
        .bind(lane)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query("insert ignore into notify_tally (lane) values (?)")
        .bind(lane)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(epoch as u64)
}

/// Answers `None` when the lane's epoch is another's.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    batch: &Batch,
) -> Result<Option<Vec<Placed>>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let (epoch, settled, mut position): (i64, i64, i64) =
        sqlx::query_as("select epoch, settled, position from notify_lane where lane = ? for update")
            .bind(batch.lane)
            .fetch_one(&mut *transaction)
            .await?;
    if epoch as u64 != batch.epoch {
        transaction.rollback().await?;
        return Ok(None);
    }
    let settled = settled as u64;

    let asked = batch.items.iter().filter_map(|item| match item.notification.as_ref()? {
        Notification {
            id,
            persist: true,
            to: Audience::User(user),
            ..
        } => Some((id.as_str(), user.as_str())),
        _ => None,
    });
    let ids = in_order(asked.clone().map(|(id, _)| id));
    let users = in_order(asked.map(|(_, user)| user));
    let (mut known, mut last_seqs) = read(&mut transaction, &ids, &users).await?;

    let mut rows: Vec<Row> = Vec::with_capacity(ids.len());
    let mut tally = Tally::default();
    let mut placed = Vec::with_capacity(batch.items.len());
    for item in &batch.items {
        let fresh = item.sequence > settled;
        let place = match &item.notification {
            None => Placed::Unreadable,
            Some(notification) => match &notification.to {
                Audience::User(user) if notification.persist => match known.get(notification.id.as_bytes()) {
                    Some((hash, seq)) if *hash == notification.hash => Placed::Duplicate { seq: *seq },
                    Some(_) => Placed::Conflict,
                    None => {
                        let seq = last_seqs.entry(user.as_bytes().to_vec()).or_default();
                        *seq += 1;
                        position += 1;
                        known.insert(notification.id.as_bytes().to_vec(), (notification.hash, *seq));
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
        if fresh {
            tally.count(place);
        }
        placed.push(place);
    }

    for chunk in chunks(&rows) {
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
        "update notify_lane set settled = ?, position = ?, stored = stored + ?, duplicates = duplicates + ?, \
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

/// The body hashes of those `ids` that are in the record, in their order.
pub(super) async fn lookup(
    connection: &mut MySqlConnection,
    ids: &[&str],
) -> Result<Vec<Option<BodyHash>>, sqlx::Error> {
    let (known, _) = read(connection, &in_order(ids.iter().copied()), &[]).await?;
    Ok(ids
        .iter()
        .map(|id| known.get(id.as_bytes()).map(|(hash, _)| *hash))
        .collect())
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

type Known = HashMap<Vec<u8>, (BodyHash, u64)>;
type LastSeqs = HashMap<Vec<u8>, u64>;

/// What the record has of these ids, and the last seq of these users, in one question. Locks nothing: the lane's row keeps its own
/// dispatchers apart, and against other lanes the unique keys decide.
async fn read(
    connection: &mut MySqlConnection,
    ids: &[&str],
    users: &[&str],
) -> Result<(Known, LastSeqs), sqlx::Error> {
    const KNOWN: &str = "select id, seq, body_hash from notify_log force index (notify_log_id) where id in (";
    const LAST_SEQ: &str = "select receiver, last_seq, null from notify_receiver where receiver in (";
    let (mut known, mut last_seqs) = (Known::new(), LastSeqs::new());
    let (mut ids, mut users) = (ids.chunks(LIST), users.chunks(LIST));
    loop {
        let mut select = QueryBuilder::<MySql>::new("");
        match (ids.next(), users.next()) {
            (None, None) => break,
            (ids, users) => {
                if let Some(ids) = ids {
                    select.push(KNOWN);
                    bind_all(&mut select, ids);
                }
                if ids.is_some() && users.is_some() {
                    select.push(" union all ");
                }
                if let Some(users) = users {
                    select.push(LAST_SEQ);
                    bind_all(&mut select, users);
                }
            }
        }
        let rows: Vec<(Vec<u8>, i64, Option<Vec<u8>>)> = select.build_query_as().fetch_all(&mut *connection).await?;
        for (name, seq, hash) in rows {
            match hash {
                Some(hash) => drop(known.insert(name, (BodyHash(hash.try_into().unwrap_or_default()), seq as u64))),
                None => drop(last_seqs.insert(name, seq as u64)),
            }
        }
    }
    Ok((known, last_seqs))
}

/// Cuts by number and by octets.
fn chunks<'a, 'b>(rows: &'a [Row<'b>]) -> impl Iterator<Item = &'a [Row<'b>]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut octets = 0;
        let fits = |row: &&Row<'_>| {
            octets += row.notification.data.get().len();
            octets <= OCTETS
        };
        let count = rest.iter().take(ROWS).take_while(fits).count().max(1).min(rest.len());
        let (chunk, left) = rest.split_at(count);
        rest = left;
        (!chunk.is_empty()).then_some(chunk)
    })
}

async fn insert_rows(connection: &mut MySqlConnection, lane: u32, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<MySql>::new(
        "insert into notify_log (lane, position, id, type, receiver, data, created, last_modified, seq, body_hash) ",
    );
    insert.push_values(rows, |mut values, row| {
        values
            .push_bind(lane)
            .push_bind(row.position)
            .push_bind(row.notification.id.as_bytes())
            .push_bind(&row.notification.kind)
            .push_bind(row.user.as_bytes())
            .push_bind(row.notification.data.get())
            .push_bind(row.notification.created)
            .push_bind(row.notification.created)
            .push_bind(row.seq as i64)
            .push_bind(&row.notification.hash.0[..]);
    });
    let kept = statement::is_kept(rows.len());
    insert.build().persistent(kept).execute(connection).await.map(drop)
}

async fn write_last_seqs(connection: &mut MySqlConnection, rows: &[Row<'_>]) -> Result<(), sqlx::Error> {
    // The last row of a receiver has its highest seq.
    let last: HashMap<&str, u64> = rows.iter().map(|row| (row.user, row.seq)).collect();
    let mut last: Vec<_> = last.into_iter().collect();
    last.sort_unstable();
    for chunk in last.chunks(ROWS) {
        let mut upsert = QueryBuilder::<MySql>::new("insert into notify_receiver (receiver, last_seq) ");
        upsert.push_values(chunk, |mut values, (user, seq)| {
            values.push_bind(user.as_bytes()).push_bind(*seq as i64);
        });
        upsert.push(" on duplicate key update last_seq = greatest(last_seq, values(last_seq))");
        let kept = statement::is_kept(chunk.len());
        upsert.build().persistent(kept).execute(&mut *connection).await?;
    }
    Ok(())
}
