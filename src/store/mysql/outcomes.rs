//! Writing outcomes: the rows are locked and looked at, then changed, each with its tally in the same transaction. Two round trips.

use std::collections::{BTreeMap, HashMap};

use sqlx::{FromRow, MySqlConnection};

use super::script::{ROWS, Script, in_order, or_rollback};
use crate::domain::outcome::Outcome;
use crate::domain::time::EpochMs;
use crate::store::{Confirmation, Confirmed};

pub(super) async fn confirm(
    connection: &mut MySqlConnection,
    confirmations: &[Confirmation],
    now: EpochMs,
) -> Result<Vec<Confirmed>, sqlx::Error> {
    let result = write_confirmed(connection, confirmations, now).await;
    or_rollback(connection, result).await
}

pub(super) async fn mark_viewed(
    connection: &mut MySqlConnection,
    user: &str,
    ids: &[String],
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    let change = Change {
        set: ", viewed = true",
        outcome: Outcome::Confirmed,
        now,
    };
    let wanted = |row: &Found| !row.viewed && !row.removed;
    let result = end(connection, user, ids, wanted, change).await;
    or_rollback(connection, result).await
}

pub(super) async fn delete(
    connection: &mut MySqlConnection,
    user: &str,
    ids: &[String],
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    let change = Change {
        // The row stays without its data: its id is taken, and its outcome, if it had one, stands.
        set: ", removed = true, viewed = true, data = 'null'",
        outcome: Outcome::Deleted,
        now,
    };
    let result = end(connection, user, ids, |row| !row.removed, change).await;
    or_rollback(connection, result).await
}

/// Raises the tally of `outcome` for each lane by how often it is named, in the order of the lanes. The last thing that a transaction does:
/// whoever ends rows of the same lane waits for it from here on.
pub(super) fn count(script: &mut Script, outcome: Outcome, lanes: impl Iterator<Item = i32>) {
    let mut by_lane: BTreeMap<i32, i64> = BTreeMap::new();
    for lane in lanes {
        *by_lane.entry(lane).or_default() += 1;
    }
    let column = outcome.name();
    for (lane, count) in by_lane {
        script
            .push("update notify_tally set ")
            .push(column)
            .push(" = ")
            .push(column);
        script
            .push(" + ")
            .number(count)
            .push(" where lane = ")
            .number(lane)
            .push("; ");
    }
}

struct Found {
    receiver: Vec<u8>,
    lane: i32,
    seq: i64,
    created: EpochMs,
    open: bool,
    viewed: bool,
    removed: bool,
}

async fn write_confirmed(
    connection: &mut MySqlConnection,
    confirmations: &[Confirmation],
    now: EpochMs,
) -> Result<Vec<Confirmed>, sqlx::Error> {
    let ids = in_order(confirmations.iter().map(|confirmation| &*confirmation.id));
    let writes = confirmations.iter().any(|confirmation| !confirmation.look_only);
    let mut found = find(connection, &ids, writes).await?;
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
    let change = Change {
        set: "",
        outcome: Outcome::Confirmed,
        now,
    };
    change.write(connection, &ended, &lanes).await?;
    Ok(answers)
}

/// Changes those of the user's rows among `ids` that are `wanted`; says which.
async fn end(
    connection: &mut MySqlConnection,
    user: &str,
    ids: &[String],
    wanted: impl Fn(&Found) -> bool,
    change: Change,
) -> Result<Vec<String>, sqlx::Error> {
    let ids = in_order(ids.iter().map(String::as_str));
    let found = find(connection, &ids, true).await?;
    let mut changed = Vec::new();
    let mut lanes = Vec::new();
    for id in ids {
        if let Some(row) = found.get(id.as_bytes())
            && row.receiver == user.as_bytes()
            && wanted(row)
        {
            changed.push(id);
            if row.open {
                lanes.push(row.lane);
            }
        }
    }
    change.write(connection, &changed, &lanes).await?;
    Ok(changed.into_iter().map(str::to_owned).collect())
}

/// Begins a transaction with the rows that have these ids, each locked if that is asked for. By their index, since another way would lock
/// what it passes, and wait for what dispatchers are about to commit.
async fn find(
    connection: &mut MySqlConnection,
    ids: &[&str],
    lock: bool,
) -> Result<HashMap<Vec<u8>, Found>, sqlx::Error> {
    let mut found = HashMap::new();
    let mut script = Script::new("begin; ");
    for chunk in ids.chunks(ROWS) {
        script.push(
            "select id, receiver, lane, seq, created, outcome = 0, viewed, removed from notify_log force index (notify_log_id) \
             where id in (",
        );
        script.names(chunk);
        script.push(if lock { ") for update" } else { ")" });
        for row in std::mem::take(&mut script).fetch(connection).await? {
            let (id, receiver, lane, seq, created, open, viewed, removed) = FromRow::from_row(&row)?;
            let row = Found {
                receiver,
                lane,
                seq,
                created,
                open,
                viewed,
                removed,
            };
            found.insert(id, row);
        }
    }
    Ok(found)
}

/// What is written to rows that end, or had ended.
struct Change {
    set: &'static str,
    /// For the open ones.
    outcome: Outcome,
    now: EpochMs,
}

impl Change {
    /// Ends the transaction that [`find`] began: changes rows that it locked, and counts those that were open by their `lanes`.
    async fn write(self, connection: &mut MySqlConnection, ids: &[&str], lanes: &[i32]) -> Result<(), sqlx::Error> {
        let mut script = Script::default();
        for chunk in ids.chunks(ROWS) {
            std::mem::take(&mut script).run(connection).await?;
            script.push("update notify_log force index (notify_log_id) set version = version + 1, last_modified = ");
            script
                .number(self.now)
                .push(", outcome = if(outcome = 0, ")
                .number(self.outcome.code());
            script.push(", outcome)").push(self.set).push(" where id in (");
            script.names(chunk).push("); ");
        }
        count(&mut script, self.outcome, lanes.iter().copied());
        script.push("commit");
        script.run(connection).await
    }
}
