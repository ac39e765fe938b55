//! Writing outcomes: conditional updates, each with its tally in the same transaction.

use std::collections::HashMap;

use sqlx::sqlite::SqlitePool;
use sqlx::{FromRow, QueryBuilder, Sqlite, SqliteConnection};

use super::insert::bind_all;
use crate::domain::outcome::Outcome;
use crate::domain::time::EpochMs;
use crate::store::{Confirmation, Confirmed, Expired, Swept};

const ROWS: usize = 1_000;

pub(super) async fn confirm(
    pool: &SqlitePool,
    confirmations: &[Confirmation],
    now: EpochMs,
) -> Result<Vec<Confirmed>, sqlx::Error> {
    let mut transaction = pool.begin_with("begin immediate").await?;
    let mut open = Vec::new();
    let mut found = HashMap::new();
    for chunk in confirmations.chunks(ROWS) {
        let mut select = QueryBuilder::<Sqlite>::new(
            "select position, id, receiver, seq, created, outcome from notify_log where id in (",
        );
        bind_all(&mut select, chunk.iter().map(|confirmation| &*confirmation.id));
        let rows: Vec<(i64, String, String, i64, EpochMs, i64)> =
            select.build_query_as().fetch_all(&mut *transaction).await?;
        for (position, id, receiver, seq, created, outcome) in rows {
            found.insert(id, (receiver, position, seq as u64, created, outcome == 0));
        }
    }
    let answers: Vec<_> = confirmations
        .iter()
        .map(|confirmation| match found.get_mut(&confirmation.id) {
            // Somebody else's is as unknown as none at all.
            Some((receiver, position, seq, created, is_open)) if **receiver == *confirmation.user => {
                if !confirmation.look_only && std::mem::take(is_open) {
                    open.push(*position);
                    Confirmed::First {
                        seq: *seq,
                        created: *created,
                    }
                } else {
                    Confirmed::Again { seq: *seq }
                }
            }
            _ => Confirmed::Unknown,
        })
        .collect();
    if open.is_empty() {
        return Ok(answers);
    }
    for chunk in open.chunks(ROWS) {
        let mut update = QueryBuilder::<Sqlite>::new("update notify_log set outcome = ");
        update.push_bind(Outcome::Confirmed.code());
        update.push(", version = version + 1, last_modified = ").push_bind(now);
        update.push(" where outcome = 0 and position in (");
        let mut list = update.separated(", ");
        for position in chunk {
            list.push_bind(*position);
        }
        update.push(") returning lane");
        let lanes: Vec<i64> = update.build_query_scalar().fetch_all(&mut *transaction).await?;
        count(&mut transaction, Outcome::Confirmed, &lanes).await?;
    }
    transaction.commit().await?;
    Ok(answers)
}

pub(super) async fn mark_viewed(
    pool: &SqlitePool,
    user: &str,
    ids: &[String],
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    change(
        pool,
        user,
        ids,
        now,
        "viewed = true",
        "viewed = false",
        Outcome::Confirmed,
    )
    .await
}

pub(super) async fn delete(
    pool: &SqlitePool,
    user: &str,
    ids: &[String],
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    // The row stays without its data: its id is taken, and its outcome, if it had one, stands.
    let set = "removed = true, viewed = true, data = 'null'";
    change(pool, user, ids, now, set, "removed = false", Outcome::Deleted).await
}

/// Sets `set` on the user's rows among `ids` for which `condition` holds, and ends the open ones with `outcome`.
async fn change(
    pool: &SqlitePool,
    user: &str,
    ids: &[String],
    now: EpochMs,
    set: &str,
    condition: &str,
    outcome: Outcome,
) -> Result<Vec<String>, sqlx::Error> {
    let mut transaction = pool.begin_with("begin immediate").await?;
    let mut changed = Vec::new();
    for chunk in ids.chunks(ROWS) {
        let mut ended = QueryBuilder::<Sqlite>::new("update notify_log set outcome = ");
        ended.push_bind(outcome.code());
        ended
            .push(" where outcome = 0 and receiver = ")
            .push_bind(user.to_owned());
        ended.push(" and id in (");
        bind_all(&mut ended, chunk.iter().map(String::as_str));
        ended.push(" returning lane");
        let lanes: Vec<i64> = ended.build_query_scalar().fetch_all(&mut *transaction).await?;
        count(&mut transaction, outcome, &lanes).await?;

        let mut update = QueryBuilder::<Sqlite>::new("update notify_log set version = version + 1, last_modified = ");
        update.push_bind(now);
        update.push(", ").push(set).push(" where ").push(condition);
        update
            .push(" and removed = false and receiver = ")
            .push_bind(user.to_owned());
        update.push(" and id in (");
        bind_all(&mut update, chunk.iter().map(String::as_str));
        update.push(" returning id");
        let ids: Vec<String> = update.build_query_scalar().fetch_all(&mut *transaction).await?;
        changed.extend(ids);
    }
    transaction.commit().await?;
    Ok(changed)
}

pub(super) async fn sweep(pool: &SqlitePool, cutoff: EpochMs, limit: u32) -> Result<Swept, sqlx::Error> {
    sqlx::query("delete from revocation where until < ?")
        .bind(cutoff)
        .execute(pool)
        .await?;
    let mut transaction = pool.begin_with("begin immediate").await?;
    // Positions follow the order of creation but for what waited in the queue, so the oldest positions are looked at and no index is needed.
    let old: Vec<Old> = sqlx::query_as(
        "select * from \
            (select position, id, receiver, seq, outcome, lane, created from notify_log order by position limit ?) where created < ?",
    )
    .bind(limit)
    .bind(cutoff)
    .fetch_all(&mut *transaction)
    .await?;
    if old.is_empty() {
        return Ok(Swept::default());
    }
    let expired: Vec<i64> = old.iter().filter(|row| row.outcome == 0).map(|row| row.lane).collect();
    count(&mut transaction, Outcome::Expired, &expired).await?;
    let mut removed_through: HashMap<&str, i64> = HashMap::new();
    for row in &old {
        let highest = removed_through.entry(&row.receiver).or_default();
        *highest = (*highest).max(row.seq);
    }
    for (receiver, seq) in removed_through {
        sqlx::query("update receiver set removed_through = max(removed_through, ?) where receiver = ?")
            .bind(seq)
            .bind(receiver)
            .execute(&mut *transaction)
            .await?;
    }
    for chunk in old.chunks(ROWS) {
        let mut delete = QueryBuilder::<Sqlite>::new("delete from notify_log where position in (");
        let mut list = delete.separated(", ");
        for row in chunk {
            list.push_bind(row.position);
        }
        delete.push(")");
        delete.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    let removed = old.len() as u64;
    let expired = old.into_iter().filter(|row| row.outcome == 0).map(|row| Expired {
        id: row.id,
        receiver: row.receiver,
        seq: row.seq as u64,
        created: row.created,
    });
    Ok(Swept {
        expired: expired.collect(),
        removed,
    })
}

#[derive(FromRow)]
struct Old {
    position: i64,
    id: String,
    receiver: String,
    seq: i64,
    outcome: i64,
    lane: i64,
    created: EpochMs,
}

/// Raises the tally of `outcome` for each lane by how often it is named.
async fn count(connection: &mut SqliteConnection, outcome: Outcome, lanes: &[i64]) -> Result<(), sqlx::Error> {
    let mut by_lane: HashMap<i64, i64> = HashMap::new();
    for lane in lanes {
        *by_lane.entry(*lane).or_default() += 1;
    }
    for (lane, count) in by_lane {
        let column = outcome.name();
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "update lane set {column} = {column} + ? where lane = ?"
        )))
        .bind(count)
        .bind(lane)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
