//! Storing a batch: one transaction, in which the lane's row is the fence. Two round trips for a batch of up to a thousand rows: one that
//! locks and reads, one that writes and commits.

use std::collections::{BTreeMap, HashMap};

use sqlx::{Column, Connection, FromRow, MySqlConnection, Row as _};

use super::script::{ROWS, Script, in_order, or_rollback};
use crate::domain::notification::{Audience, BodyHash, Notification};
use crate::store::{Batch, Kept, Placed};

/// Octets of data of one round trip, which takes twice as much, well below the least `max_allowed_packet` that is accepted. One
/// notification's data has 1 MiB at most.
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
    let result = place(connection, batch).await;
    or_rollback(connection, result).await
}

async fn place(connection: &mut MySqlConnection, batch: &Batch) -> Result<Option<Vec<Placed>>, sqlx::Error> {
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
    let mut begin = Script::new("begin; select epoch, settled, position from notify_lane where lane = ");
    begin.number(batch.lane).push(" for update; ");
    let mut found = Found::default();
    found.read(connection, begin, &ids, &users).await?;
    let Found {
        lane,
        mut known,
        mut last_seqs,
    } = found;
    let (epoch, settled, mut position) = lane.ok_or(sqlx::Error::RowNotFound)?;
    if epoch as u64 != batch.epoch {
        Script::new("rollback").run(connection).await?;
        return Ok(None);
    }
    let settled = settled as u64;

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
        // A row counts whenever it came, so that stored = ended + open: a queue that began anew gives it a sequence that was settled once.
        if fresh || matches!(place, Placed::Stored { .. }) {
            tally.count(place);
        }
        placed.push(place);
    }

    let through = batch
        .items
        .iter()
        .map(|item| item.sequence)
        .max()
        .unwrap_or(0)
        .max(settled);
    let mut script = Script::default();
    for chunk in chunks(&rows) {
        std::mem::take(&mut script).run(connection).await?;
        write_rows(&mut script, batch.lane, chunk);
        write_last_seqs(&mut script, chunk);
    }
    script
        .push("update notify_lane set settled = ")
        .number(through as i64)
        .push(", position = ")
        .number(position);
    for (column, count) in [
        (", stored = stored + ", tally.stored),
        (", duplicates = duplicates + ", tally.duplicates),
        (", transient = transient + ", tally.transient),
        (", refused = refused + ", tally.refused),
    ] {
        script.push(column).number(count);
    }
    script.push(" where lane = ").number(batch.lane).push("; commit");
    script.run(connection).await?;
    Ok(Some(placed))
}

/// The body hashes of those `ids` that are in the record, in their order.
pub(super) async fn lookup(connection: &mut MySqlConnection, ids: &[&str]) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let mut found = Found::default();
    found
        .read(connection, Script::default(), &in_order(ids.iter().copied()), &[])
        .await?;
    let kept = |(hash, seq): &(BodyHash, u64)| Kept { hash: *hash, seq: *seq };
    Ok(ids.iter().map(|id| found.known.get(id.as_bytes()).map(kept)).collect())
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

/// What the record has of a batch before it is stored.
#[derive(Default)]
struct Found {
    /// The lane's epoch, settled sequence and position.
    lane: Option<(i64, i64, i64)>,
    /// By id.
    known: HashMap<Vec<u8>, (BodyHash, u64)>,
    /// By receiver.
    last_seqs: HashMap<Vec<u8>, u64>,
}

impl Found {
    /// Asks for these ids and the last seq of these users, behind what `script` asks. Locks none of them: the lane's row keeps its
    /// own dispatchers apart, and against other lanes the unique keys decide.
    async fn read(
        &mut self,
        connection: &mut MySqlConnection,
        mut script: Script,
        ids: &[&str],
        users: &[&str],
    ) -> Result<(), sqlx::Error> {
        let (mut ids, mut users) = (ids.chunks(ROWS), users.chunks(ROWS));
        loop {
            let (some_ids, some_users) = (ids.next(), users.next());
            if let Some(ids) = some_ids {
                script.push("select id, seq, body_hash from notify_log force index (notify_log_id) where id in (");
                script.names(ids).push("); ");
            }
            if let Some(users) = some_users {
                script.push("select receiver, last_seq from notify_receiver where receiver in (");
                script.names(users).push("); ");
            }
            if script.is_empty() {
                return Ok(());
            }
            for row in std::mem::take(&mut script).fetch(connection).await? {
                match row.column(0).name() {
                    "epoch" => self.lane = Some(FromRow::from_row(&row)?),
                    "id" => {
                        let (id, seq, hash): (Vec<u8>, i64, Vec<u8>) = FromRow::from_row(&row)?;
                        let hash = BodyHash(hash.try_into().unwrap_or_default());
                        self.known.insert(id, (hash, seq as u64));
                    }
                    _ => {
                        let (receiver, last_seq): (Vec<u8>, i64) = FromRow::from_row(&row)?;
                        self.last_seqs.insert(receiver, last_seq as u64);
                    }
                }
            }
        }
    }
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

fn write_rows(script: &mut Script, lane: u32, rows: &[Row<'_>]) {
    script.push(
        "insert into notify_log (lane, position, id, type, receiver, data, created, last_modified, seq, body_hash) values ",
    );
    script.list(rows, |script, row| {
        script.push("(").number(lane).push(", ").number(row.position);
        script.push(", ").bytes(row.notification.id.as_bytes());
        script.push(", ").text(&row.notification.kind);
        script.push(", ").bytes(row.user.as_bytes());
        script.push(", ").text(row.notification.data.get());
        script.push(", ").number(row.notification.created);
        script.push(", ").number(row.notification.created);
        script.push(", ").number(row.seq as i64);
        script.push(", ").bytes(&row.notification.hash.0).push(")");
    });
    script.push("; ");
}

fn write_last_seqs(script: &mut Script, rows: &[Row<'_>]) {
    // The last row of a receiver has its highest seq. In order, as every transaction locks them.
    let last: BTreeMap<&str, u64> = rows.iter().map(|row| (row.user, row.seq)).collect();
    script.push("insert into notify_receiver (receiver, last_seq) values ");
    script.list(last, |script, (user, seq)| {
        script
            .push("(")
            .bytes(user.as_bytes())
            .push(", ")
            .number(seq as i64)
            .push(")");
    });
    script.push(" on duplicate key update last_seq = greatest(last_seq, values(last_seq)); ");
}
