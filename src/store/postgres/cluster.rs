//! What nodes tell each other through the record: how far the lanes have come, and which tokens are no longer good.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::pool::Pool;
use crate::domain::outcome::Outcome;
use crate::domain::revocation::{Revocation, Target};
use crate::domain::time::EpochMs;
use crate::store::{Lane, Mark, Rung};

pub(super) async fn claim(pool: &Pool, lane: u32) -> Result<u64, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let epoch: i64 = sqlx::query_scalar(
        "insert into notify_lane as l (lane, epoch) values ($1, 1) on conflict (lane) do update set epoch = l.epoch + 1 returning epoch",
    )
    .bind(lane as i32)
    .fetch_one(&mut *lease)
    .await?;
    lease.give_back();
    Ok(epoch as u64)
}

pub(super) async fn marks(pool: &Pool) -> Result<Vec<Mark>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows: Vec<(i32, i64, i64)> = sqlx::query_as("select lane, position, doubted from notify_lane order by lane")
        .fetch_all(&mut *lease)
        .await?;
    lease.give_back();
    Ok(rows
        .into_iter()
        .map(|(lane, position, doubted)| Mark {
            lane: lane as u32,
            position: position as u64,
            doubted: doubted as u64,
        })
        .collect())
}

pub(super) async fn doubt(pool: &Pool, lane: u32) -> Result<(), sqlx::Error> {
    let mut lease = pool.lease().await?;
    sqlx::query("update notify_lane set doubted = position where lane = $1")
        .bind(lane as i32)
        .execute(&mut *lease)
        .await?;
    lease.give_back();
    Ok(())
}

pub(super) async fn rung(
    pool: &Pool,
    lane: u32,
    after: u64,
    through: u64,
    limit: u32,
) -> Result<Vec<Rung>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows: Vec<(i64, String, i64)> = sqlx::query_as(
        "select position, receiver, seq from notify_log where lane = $1 and position > $2 and position <= $3 order by position limit $4",
    )
    .bind(lane as i32)
    .bind(after as i64)
    .bind(through as i64)
    .bind(i64::from(limit))
    .fetch_all(&mut *lease)
    .await?;
    lease.give_back();
    Ok(rows
        .into_iter()
        .map(|(position, receiver, seq)| Rung {
            position: position as u64,
            receiver,
            seq: seq as u64,
        })
        .collect())
}

/// Names are bytes here: a token's own may hold what PostgreSQL's text can't.
#[derive(sqlx::FromRow)]
struct Revoked {
    jti: Vec<u8>,
    receiver: Vec<u8>,
    issued_before: EpochMs,
    created: EpochMs,
    until: EpochMs,
}

pub(super) async fn revoke(pool: &Pool, revocation: &Revocation) -> Result<(), sqlx::Error> {
    let (jti, user, issued_before) = match &revocation.target {
        Target::Token(jti) => (&**jti, "", 0),
        Target::User { user, issued_before } => ("", &**user, *issued_before),
    };
    let mut lease = pool.lease().await?;
    sqlx::query(
        "insert into notify_revocation as r (jti, receiver, issued_before, created, until) values ($1, $2, $3, $4, $5) \
         on conflict (jti, receiver, issued_before) do update set created = excluded.created, until = greatest(r.until, excluded.until)",
    )
    .bind(jti.as_bytes())
    .bind(user.as_bytes())
    .bind(issued_before)
    .bind(revocation.created)
    .bind(revocation.until)
    .execute(&mut *lease)
    .await?;
    lease.give_back();
    Ok(())
}

pub(super) async fn revocations(pool: &Pool, since: EpochMs, now: EpochMs) -> Result<Vec<Revocation>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows: Vec<Revoked> = sqlx::query_as(
        "select jti, receiver, issued_before, created, until from notify_revocation where created >= $1 and until > $2",
    )
    .bind(since)
    .bind(now)
    .fetch_all(&mut *lease)
    .await?;
    lease.give_back();
    let text = |bytes| String::from_utf8(bytes).map_err(|error| sqlx::Error::Decode(error.into()));
    rows.into_iter()
        .map(|row| {
            Ok(Revocation {
                target: match row.receiver.is_empty() {
                    true => Target::Token(text(row.jti)?),
                    false => Target::User {
                        user: text(row.receiver)?,
                        issued_before: row.issued_before,
                    },
                },
                created: row.created,
                until: row.until,
            })
        })
        .collect()
}

/// One snapshot of counters, however many rows there are: what is open is what was stored and has not ended.
pub(super) async fn lanes(pool: &Pool) -> Result<Vec<Lane>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let rows = sqlx::query(
        "select l.*, t.* from notify_lane l cross join lateral ( \
            select coalesce(sum(confirmed), 0)::bigint as confirmed, coalesce(sum(deleted), 0)::bigint as deleted, \
                coalesce(sum(expired), 0)::bigint as expired, coalesce(sum(superseded), 0)::bigint as superseded, \
                coalesce(sum(cancelled), 0)::bigint as cancelled, coalesce(sum(dead), 0)::bigint as dead \
            from notify_tally t where t.lane = l.lane) t \
         order by l.lane",
    )
    .fetch_all(&mut *lease)
    .await?;
    lease.give_back();
    rows.iter().map(lane).collect()
}

fn lane(row: &PgRow) -> Result<Lane, sqlx::Error> {
    let count = |column: &str| row.try_get::<i64, _>(column).map(|n| n as u64);
    let ended: Vec<(Outcome, u64)> = Outcome::ALL
        .into_iter()
        .map(|outcome| Ok((outcome, count(outcome.name())?)))
        .collect::<Result<_, sqlx::Error>>()?;
    let stored = count("stored")?;
    let all_ended: u64 = ended.iter().map(|(_, count)| count).sum();
    Ok(Lane {
        lane: row.try_get::<i32, _>("lane")? as u32,
        epoch: count("epoch")?,
        settled: count("settled")?,
        position: count("position")?,
        stored,
        duplicates: count("duplicates")?,
        transient: count("transient")?,
        refused: count("refused")?,
        ended,
        open: stored.saturating_sub(all_ended),
    })
}
