//! Writing outcomes: the rows are locked and looked at, then changed, each with its tally in the same transaction.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection, QueryBuilder};

use super::statement::{LIST, bind_all, in_order};
use crate::domain::outcome::Outcome;
use crate::domain::time::EpochMs;
use crate::store::{Confirmation, Confirmed};

struct Found {
    receiver: Vec<u8>,
    lane: i32,
    seq: i64,
    created: EpochMs,
    open: bool,
    viewed: bool,
    removed: bool,
}

pub(super) async fn confirm(
    connection: &mut MySqlConnection,
    confirmations: &[Confirmation],
    now: EpochMs,
) -> Result<Vec<Confirmed>, sqlx::Error> {
    let ids = in_order(confirmations.iter().map(|confirmation| &*confirmation.id));
    let looks_only = confirmations.iter().all(|confirmation| confirmation.look_only);
    let mut transaction = connection.begin().await?;
    let mut found = find(&mut transaction, &ids, !looks_only).await?;
    let mut ended = Vec::new();
    let mut lanes = Vec::new();
    let answers = confirmations
        .iter()
        .map(|confirmation| match found.get_mut(confirmation.id.as_bytes()) {
            // Somebody else's is as unknown as none at all.
            Some(row) if row.receiver == confirmation.user.as_bytes() => {
                let (seq, created) = (row.seq as u64, row.created);
                if !confirmation.look_only && std::mem::take(&mut row.open) {
                    ended.push(&*confirmation.id);
                    lanes.push(row.lane);
                    Confirmed::First { seq, created }
                } else {
                    Confirmed::Again { seq }
                }
            }
            _ => Confirmed::Unknown,
        })
        .collect();
    if !ended.is_empty() {
        change(&mut transaction, ended, "", Outcome::Confirmed, now).await?;
        count(&mut transaction, Outcome::Confirmed, &lanes).await?;
    }
    transaction.commit().await?;
    Ok(answers)
}

pub(super) async fn mark_viewed(
    connection: &mut MySqlConnection,
    user: &str,
    ids: &[String],
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    let wanted = |row: &Found| !row.viewed && !row.removed;
    end(
        connection,
        user,
        ids,
        now,
        ", viewed = true",
        wanted,
        Outcome::Confirmed,
    )
    .await
}

pub(super) async fn delete(
    connection: &mut MySqlConnection,
    user: &str,
    ids: &[String],
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    // The row stays without its data: its id is taken, and its outcome, if it had one, stands.
    let set = ", removed = true, viewed = true, data = 'null'";
    end(connection, user, ids, now, set, |row| !row.removed, Outcome::Deleted).await
}

/// Sets `set` on those of the user's rows among `ids` that are `wanted`, and ends the open ones with `outcome`.
async fn end(
    connection: &mut MySqlConnection,
    user: &str,
    ids: &[String],
    now: EpochMs,
    set: &str,
    wanted: impl Fn(&Found) -> bool,
    outcome: Outcome,
) -> Result<Vec<String>, sqlx::Error> {
    let ids = in_order(ids.iter().map(String::as_str));
    let mut transaction = connection.begin().await?;
    let found = find(&mut transaction, &ids, true).await?;
    let wanted = |id: &&str| {
        let row = found.get(id.as_bytes())?;
        (row.receiver == user.as_bytes() && wanted(row)).then_some(row)
    };
    let changed: Vec<&str> = ids.into_iter().filter(|id| wanted(id).is_some()).collect();
    if !changed.is_empty() {
        let open: Vec<i32> = changed
            .iter()
            .filter_map(wanted)
            .filter(|row| row.open)
            .map(|row| row.lane)
            .collect();
        change(&mut transaction, changed.clone(), set, outcome, now).await?;
        count(&mut transaction, outcome, &open).await?;
    }
    transaction.commit().await?;
    Ok(changed.into_iter().map(str::to_owned).collect())
}

/// The rows with these ids, each locked until the end of the transaction if that is asked for. By their index, since another way would lock
/// what it passes, and wait for what dispatchers are about to commit.
async fn find(
    connection: &mut MySqlConnection,
    ids: &[&str],
    lock: bool,
) -> Result<HashMap<Vec<u8>, Found>, sqlx::Error> {
    let mut found = HashMap::new();
    for chunk in ids.chunks(LIST) {
        let mut select = QueryBuilder::<MySql>::new(
            "select id, receiver, lane, seq, created, outcome = 0, viewed, removed from notify_log force index (notify_log_id) \
             where id in (",
        );
        bind_all(&mut select, chunk);
        if lock {
            select.push(" for update");
        }
        type Columns = (Vec<u8>, Vec<u8>, i32, i64, EpochMs, bool, bool, bool);
        let rows: Vec<Columns> = select.build_query_as().fetch_all(&mut *connection).await?;
        for (id, receiver, lane, seq, created, open, viewed, removed) in rows {
            found.insert(
                id,
                Found {
                    receiver,
                    lane,
                    seq,
                    created,
                    open,
                    viewed,
                    removed,
                },
            );
        }
    }
    Ok(found)
}

/// Changes rows that this transaction has locked; the open ones get `outcome`.
async fn change(
    connection: &mut MySqlConnection,
    ids: Vec<&str>,
    set: &str,
    outcome: Outcome,
    now: EpochMs,
) -> Result<(), sqlx::Error> {
    for chunk in ids.chunks(LIST) {
        let mut update = QueryBuilder::<MySql>::new(
            "update notify_log force index (notify_log_id) set version = version + 1, last_modified = ",
        );
        update.push_bind(now);
        update
            .push(", outcome = if(outcome = 0, ")
            .push_bind(outcome.code())
            .push(", outcome)");
        update.push(set).push(" where id in (");
        bind_all(&mut update, chunk);
        update.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Raises the tally of `outcome` for each lane by how often it is named, in the order of the lanes. The last thing that a transaction does:
/// whoever ends rows of the same lane waits for it from here on.
pub(super) async fn count(
    connection: &mut MySqlConnection,
    outcome: Outcome,
    lanes: &[i32],
) -> Result<(), sqlx::Error> {
    let mut by_lane: BTreeMap<i32, i64> = BTreeMap::new();
    for lane in lanes {
        *by_lane.entry(*lane).or_default() += 1;
    }
    let column = outcome.name();
    let text = format!("update notify_tally set {column} = {column} + ? where lane = ?");
    for (lane, count) in by_lane {
        sqlx::query(AssertSqlSafe(text.clone()))
            .bind(count)
            .bind(lane)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
