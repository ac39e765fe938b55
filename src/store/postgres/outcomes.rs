//! Writing outcomes: conditional updates, each with its tally in the same transaction.

use std::collections::{HashMap, HashSet};

use super::fits;
use super::pool::Pool;
use crate::domain::time::EpochMs;
use crate::store::{Confirmation, Confirmed, Expired, Swept};

#[derive(sqlx::FromRow)]
struct Answer {
    numbers: Option<Vec<i64>>,
    seqs: Option<Vec<i64>>,
    created: Option<Vec<i64>>,
    ended_users: Option<Vec<String>>,
    ended_seqs: Option<Vec<i64>>,
}

const CONFIRM: &str = "select numbers, seqs, created, ended_users, ended_seqs from notify_confirm($1, $2, $3)";

pub(super) async fn confirm(pool: &Pool, confirmations: &[Confirmation]) -> Result<Vec<Confirmed>, sqlx::Error> {
    // Each pair is asked for once, whoever of its sessions confirmed it how often.
    let mut numbers: HashMap<(&str, &str), usize> = HashMap::with_capacity(confirmations.len());
    let (mut ids, mut users, mut write) = (Vec::new(), Vec::new(), Vec::new());
    for confirmation in confirmations.iter().filter(|confirmation| fits(&confirmation.id)) {
        let number = *numbers
            .entry((&confirmation.id, &confirmation.user))
            .or_insert_with(|| {
                ids.push(&*confirmation.id);
                users.push(&*confirmation.user);
                write.push(false);
                ids.len() - 1
            });
        write[number] |= !confirmation.look_only;
    }
    let mut found = vec![Confirmed::Unknown; ids.len()];
    let mut lease = pool.lease().await?;
    let answer: Answer = sqlx::query_as(CONFIRM)
        .bind(&ids)
        .bind(&users)
        .bind(&write)
        .fetch_one(&mut *lease)
        .await?;
    lease.give_back();
    let ended_users = answer.ended_users.unwrap_or_default();
    let ended: HashSet<(&str, i64)> = ended_users
        .iter()
        .map(String::as_str)
        .zip(answer.ended_seqs.unwrap_or_default())
        .collect();
    if let (Some(rows), Some(seqs), Some(created)) = (answer.numbers, answer.seqs, answer.created) {
        for ((row, seq), created) in rows.into_iter().zip(seqs).zip(created) {
            let number = row as usize - 1;
            found[number] = match ended.contains(&(users[number], seq)) {
                true => Confirmed::First {
                    seq: seq as u64,
                    created,
                },
                false => Confirmed::Again { seq: seq as u64 },
            };
        }
    }
    Ok(confirmations
        .iter()
        .map(|confirmation| {
            let Some(&number) = numbers.get(&(&*confirmation.id, &*confirmation.user)) else {
                return Confirmed::Unknown;
            };
            match found[number] {
                Confirmed::First { seq, .. } if confirmation.look_only => Confirmed::Again { seq },
                first @ Confirmed::First { seq, .. } => {
                    found[number] = Confirmed::Again { seq };
                    first
                }
                other => other,
            }
        })
        .collect())
}

/// Marks as viewed, or deletes.
pub(super) async fn change(
    pool: &Pool,
    user: &str,
    ids: &[String],
    delete: bool,
    now: EpochMs,
) -> Result<Vec<String>, sqlx::Error> {
    let ids: Vec<&str> = ids.iter().map(String::as_str).filter(|id| fits(id)).collect();
    let mut lease = pool.lease().await?;
    let changed = sqlx::query_scalar("select notify_change($1, $2, $3, $4)")
        .bind(user)
        .bind(ids)
        .bind(delete)
        .bind(now)
        .fetch_one(&mut *lease)
        .await?;
    lease.give_back();
    Ok(changed)
}

#[derive(sqlx::FromRow)]
struct SweptRows {
    rows_removed: i64,
    expired_ids: Vec<String>,
    expired_receivers: Vec<String>,
    expired_seqs: Vec<i64>,
    expired_created: Vec<EpochMs>,
}

pub(super) async fn sweep(pool: &Pool, cutoff: EpochMs, limit: u32) -> Result<Swept, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let swept: SweptRows = sqlx::query_as(
        "select rows_removed, expired_ids, expired_receivers, expired_seqs, expired_created from notify_sweep($1, $2)",
    )
    .bind(cutoff)
    .bind(i64::from(limit))
    .fetch_one(&mut *lease)
    .await?;
    lease.give_back();
    let names = swept.expired_ids.into_iter().zip(swept.expired_receivers);
    let places = swept.expired_seqs.into_iter().zip(swept.expired_created);
    let expired = names.zip(places).map(|((id, receiver), (seq, created))| Expired {
        id,
        receiver,
        seq: seq as u64,
        created,
    });
    Ok(Swept {
        expired: expired.collect(),
        removed: swept.rows_removed as u64,
    })
}
