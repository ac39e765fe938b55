//! Retention: one transaction a lane. Nodes that sweep at once share the work: each leaves out what another one holds.

use std::collections::BTreeMap;

use sqlx::{Connection, MySql, MySqlConnection, QueryBuilder};

use super::outcomes::count;
use super::statement::{self, LIST, ROWS};
use crate::domain::outcome::Outcome;
use crate::domain::time::EpochMs;
use crate::store::Swept;

pub(super) async fn sweep(connection: &mut MySqlConnection, cutoff: EpochMs, limit: u32) -> Result<Swept, sqlx::Error> {
    sqlx::query("delete from notify_revocation where until < ? limit ?")
        .bind(cutoff)
        .bind(i64::from(limit))
        .execute(&mut *connection)
        .await?;
    let lanes: Vec<i32> = sqlx::query_scalar("select lane from notify_lane order by lane")
        .fetch_all(&mut *connection)
        .await?;
    let mut swept = Swept::default();
    for lane in lanes {
        let left = i64::from(limit) - swept.removed as i64;
        if left <= 0 {
            break;
        }
        // Positions follow the order of creation but for what waited in the queue, so the oldest positions are looked at and no index is
        // needed. Looking locks nothing: most sweeps find that there is nothing to do.
        let through: Option<i64> = sqlx::query_scalar(
            "select max(position) from \
                (select position, created from notify_log where lane = ? order by position limit ?) oldest where created < ?",
        )
        .bind(lane)
        .bind(left)
        .bind(cutoff)
        .fetch_one(&mut *connection)
        .await?;
        if let Some(through) = through {
            let of_lane = sweep_lane(connection, lane, through, cutoff, left).await?;
            swept.expired += of_lane.expired;
            swept.removed += of_lane.removed;
        }
    }
    Ok(swept)
}

async fn sweep_lane(
    connection: &mut MySqlConnection,
    lane: i32,
    through: i64,
    cutoff: EpochMs,
    limit: i64,
) -> Result<Swept, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let old: Vec<(i64, Vec<u8>, i64, bool)> = sqlx::query_as(
        "select position, receiver, seq, outcome = 0 from notify_log \
         where lane = ? and position <= ? and created < ? order by position limit ? for update skip locked",
    )
    .bind(lane)
    .bind(through)
    .bind(cutoff)
    .bind(limit)
    .fetch_all(&mut *transaction)
    .await?;
    let expired: Vec<i32> = old.iter().filter(|row| row.3).map(|_| lane).collect();
    let mut removed_through: BTreeMap<&[u8], i64> = BTreeMap::new();
    for (_, receiver, seq, _) in &old {
        let highest = removed_through.entry(receiver).or_default();
        *highest = (*highest).max(*seq);
    }
    let removed_through: Vec<_> = removed_through.into_iter().collect();
    for chunk in removed_through.chunks(ROWS) {
        // A receiver that has rows has its counters, so nothing is inserted.
        let mut update =
            QueryBuilder::<MySql>::new("insert into notify_receiver (receiver, last_seq, removed_through) ");
        update.push_values(chunk, |mut values, (receiver, seq)| {
            values.push_bind(*receiver).push_bind(*seq).push_bind(*seq);
        });
        update.push(" on duplicate key update removed_through = greatest(removed_through, values(removed_through))");
        let kept = statement::is_kept(chunk.len());
        update.build().persistent(kept).execute(&mut *transaction).await?;
    }
    for chunk in old.chunks(LIST) {
        let mut delete = QueryBuilder::<MySql>::new("delete from notify_log where lane = ");
        delete.push_bind(lane).push(" and position in (");
        let mut list = delete.separated(", ");
        for row in chunk {
            list.push_bind(row.0);
        }
        delete.push(")");
        delete.build().persistent(false).execute(&mut *transaction).await?;
    }
    count(&mut transaction, Outcome::Expired, &expired).await?;
    transaction.commit().await?;
    Ok(Swept {
        expired: expired.len() as u64,
        removed: old.len() as u64,
    })
}
