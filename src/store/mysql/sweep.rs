//! Retention: one transaction a lane. Nodes that sweep at once share the work: each leaves out what another one holds.

use std::collections::BTreeMap;

use sqlx::{FromRow, MySqlConnection};

use super::connect::met_another;
use super::outcomes::count;
use super::script::{ROWS, Script, or_rollback};
use crate::domain::outcome::Outcome;
use crate::domain::time::EpochMs;
use crate::store::{Expired, Swept};

pub(super) async fn sweep(connection: &mut MySqlConnection, cutoff: EpochMs, limit: u32) -> Result<Swept, sqlx::Error> {
    sqlx::query("delete from notify_revocation where until < ? limit ?")
        .bind(cutoff)
        .bind(i64::from(limit))
        .execute(&mut *connection)
        .await?;
    let lanes: Vec<i32> = sqlx::query_scalar("select lane from notify_lane order by lane")
        .fetch_all(&mut *connection)
        .await?;
    // What was taken over since is passed over, so that the rows behind it are looked at.
    let kept: i64 = sqlx::query_scalar("select coalesce(max(row_count), 0) from notify_taken_over where taken_at >= ?")
        .bind(cutoff)
        .fetch_one(&mut *connection)
        .await?;
    let mut swept = Swept::default();
    for lane in lanes {
        let behind = if lane == 0 { kept } else { 0 };
        let left = i64::from(limit) - swept.removed as i64;
        if left <= 0 {
            break;
        }
        // Positions follow the order of creation but for what waited in the queue, so the oldest positions are looked at and no index is
        // needed. Looking locks nothing: most sweeps find that there is nothing to do.
        let through: Option<i64> = sqlx::query_scalar(
            "select max(position) from \
                (select position, created from notify_log where lane = ? and position > ? order by position limit ?) oldest where created < ?",
        )
        .bind(lane)
        .bind(behind)
        .bind(left)
        .bind(cutoff)
        .fetch_one(&mut *connection)
        .await?;
        if let Some(through) = through {
            let of_lane = sweep_lane(connection, lane, (behind, through), cutoff, left).await;
            let of_lane = match or_rollback(connection, of_lane).await {
                // Left for the next sweep: to try the verb again would forget what it has removed of other lanes.
                Err(error) if met_another(&error) => continue,
                of_lane => of_lane?,
            };
            swept.expired.extend(of_lane.expired);
            swept.removed += of_lane.removed;
        }
    }
    Ok(swept)
}

async fn sweep_lane(
    connection: &mut MySqlConnection,
    lane: i32,
    (behind, through): (i64, i64),
    cutoff: EpochMs,
    limit: i64,
) -> Result<Swept, sqlx::Error> {
    let mut script =
        Script::new("begin; select position, receiver, seq, outcome = 0, id, created from notify_log where lane = ");
    script
        .number(lane)
        .push(" and position > ")
        .number(behind)
        .push(" and position <= ")
        .number(through)
        .push(" and created < ")
        .number(cutoff);
    script
        .push(" order by position limit ")
        .number(limit)
        .push(" for update skip locked");
    let old: Vec<Old> = script
        .fetch(connection)
        .await?
        .iter()
        .map(FromRow::from_row)
        .collect::<Result<_, _>>()?;

    let mut script = Script::default();
    for chunk in old.chunks(ROWS) {
        std::mem::take(&mut script).run(connection).await?;
        let mut removed_through: BTreeMap<&[u8], i64> = BTreeMap::new();
        for (_, receiver, seq, ..) in chunk {
            let highest = removed_through.entry(receiver).or_default();
            *highest = (*highest).max(*seq);
        }
        // A receiver that has rows has its counters, so nothing is inserted.
        script.push("insert into notify_receiver (receiver, last_seq, removed_through) values ");
        script.list(removed_through, |script, (receiver, seq)| {
            script
                .push("(")
                .bytes(receiver)
                .push(", ")
                .number(seq)
                .push(", ")
                .number(seq)
                .push(")");
        });
        script.push(" on duplicate key update removed_through = greatest(removed_through, values(removed_through)); ");
        script
            .push("delete from notify_log where lane = ")
            .number(lane)
            .push(" and position in (");
        script.list(chunk, |script, row| {
            script.number(row.0);
        });
        script.push("); ");
    }
    let removed = old.len() as u64;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let expired = old
        .iter()
        .filter(|row| row.3)
        .map(|(_, receiver, seq, _, id, created)| Expired {
            id: text(id),
            receiver: text(receiver),
            seq: *seq as u64,
            created: *created,
        });
    let expired: Vec<_> = expired.collect();
    count(&mut script, Outcome::Expired, std::iter::repeat_n(lane, expired.len()));
    script.push("commit");
    script.run(connection).await?;
    Ok(Swept { expired, removed })
}

/// Position, receiver, seq, whether it is open, id, and when it was created.
type Old = (i64, Vec<u8>, i64, bool, Vec<u8>, EpochMs);
