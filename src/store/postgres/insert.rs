//! Storing a batch: one call of `notify_insert`, in which the lane's row is the fence.

use std::collections::HashMap;

use sqlx::postgres::PgConnection;

use super::pool::Pool;
use crate::domain::notification::{Audience, BodyHash, Notification};
use crate::store::{Batch, Kept, Placed};

/// How often a batch is tried again at once, because another lane stored one of its ids at the same moment. Each time somebody got on.
const MOST_COLLISIONS: usize = 10;

/// Answers `None` when the lane's epoch is another's.
pub(super) async fn insert(pool: &Pool, batch: &Batch) -> Result<Option<Vec<Placed>>, sqlx::Error> {
    let call = Call::of(batch);
    let mut lease = pool.lease().await?;
    let mut collisions = 0;
    let answer = loop {
        match call.run(&mut lease).await {
            Err(error) if is_collision(&error) && collisions < MOST_COLLISIONS => collisions += 1,
            answer => break answer?,
        }
    };
    lease.give_back();
    Ok(answer.held.then(|| call.placed(batch, &answer)))
}

/// The body hashes of those `ids` that are in the record, in their order.
pub(super) async fn lookup(pool: &Pool, ids: &[&str]) -> Result<Vec<Option<Kept>>, sqlx::Error> {
    let mut lease = pool.lease().await?;
    let asked: Vec<&str> = ids.iter().copied().filter(|id| super::fits(id)).collect();
    let rows: Vec<(String, Vec<u8>, i64)> =
        sqlx::query_as("select id, body_hash, seq from notify_log where id = any($1)")
            .bind(asked)
            .fetch_all(&mut *lease)
            .await?;
    lease.give_back();
    let known: HashMap<String, Kept> = rows
        .into_iter()
        .map(|(id, hash, seq)| {
            let hash = body_hash(&hash);
            (id, Kept { hash, seq: seq as u64 })
        })
        .collect();
    Ok(ids.iter().map(|id| known.get(*id).copied()).collect())
}

/// What an item of the batch is to the record.
enum Role {
    /// The row of this number.
    Row(usize),
    /// It has the id of the row of this number.
    Repeat(usize),
    Transient,
    Unreadable,
}

/// The arguments of `notify_insert`, all but the lane's.
#[derive(Default)]
struct Call<'a> {
    roles: Vec<Role>,
    through: i64,
    sequences: Vec<i64>,
    ids: Vec<&'a str>,
    types: Vec<&'a str>,
    receivers: Vec<&'a str>,
    data: Vec<&'a str>,
    created: Vec<i64>,
    hashes: Vec<&'a [u8]>,
    other_sequences: Vec<i64>,
    other_of: Vec<i32>,
    other_hashes: Vec<&'a [u8]>,
    lane: i32,
    epoch: i64,
}

#[derive(sqlx::FromRow)]
struct Answer {
    held: bool,
    settled_before: Option<i64>,
    seqs: Option<Vec<i64>>,
    known_ids: Option<Vec<String>>,
    known_seqs: Option<Vec<i64>>,
    known_hashes: Option<Vec<Vec<u8>>>,
}

const INSERT: &str = "\
    select held, settled_before, seqs, known_ids, known_seqs, known_hashes \
    from notify_insert($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

impl<'a> Call<'a> {
    fn of(batch: &'a Batch) -> Self {
        let mut call = Self {
            lane: batch.lane as i32,
            epoch: batch.epoch as i64,
            through: batch.items.iter().map(|item| item.sequence as i64).max().unwrap_or(0),
            ..Self::default()
        };
        let mut numbers: HashMap<&str, usize> = HashMap::with_capacity(batch.items.len());
        for item in &batch.items {
            let sequence = item.sequence as i64;
            let role = match &item.notification {
                None => call.other(sequence, -1, &[], Role::Unreadable),
                Some(notification) => match &notification.to {
                    Audience::User(user) if notification.persist => match numbers.get(&*notification.id) {
                        Some(&number) => {
                            call.other(sequence, number as i32 + 1, &notification.hash.0, Role::Repeat(number))
                        }
                        None => {
                            numbers.insert(&notification.id, call.ids.len());
                            call.row(sequence, notification, user)
                        }
                    },
                    _ => call.other(sequence, 0, &[], Role::Transient),
                },
            };
            call.roles.push(role);
        }
        call
    }

    fn row(&mut self, sequence: i64, notification: &'a Notification, user: &'a str) -> Role {
        self.sequences.push(sequence);
        self.ids.push(&notification.id);
        self.types.push(&notification.kind);
        self.receivers.push(user);
        self.data.push(notification.data.get());
        self.created.push(notification.created);
        self.hashes.push(&notification.hash.0);
        Role::Row(self.ids.len() - 1)
    }

    fn other(&mut self, sequence: i64, of: i32, hash: &'a [u8], role: Role) -> Role {
        self.other_sequences.push(sequence);
        self.other_of.push(of);
        self.other_hashes.push(hash);
        role
    }

    async fn run(&self, connection: &mut PgConnection) -> Result<Answer, sqlx::Error> {
        sqlx::query_as(INSERT)
            .bind(self.lane)
            .bind(self.epoch)
            .bind(self.through)
            .bind(&self.sequences)
            .bind(&self.ids)
            .bind(&self.types)
            .bind(&self.receivers)
            .bind(&self.data)
            .bind(&self.created)
            .bind(&self.hashes)
            .bind(&self.other_sequences)
            .bind(&self.other_of)
            .bind(&self.other_hashes)
            .fetch_one(connection)
            .await
    }

    /// What became of each item.
    fn placed(&self, batch: &Batch, answer: &Answer) -> Vec<Placed> {
        let known: HashMap<&str, (u64, BodyHash)> = match answer {
            Answer {
                known_ids: Some(ids),
                known_seqs: Some(seqs),
                known_hashes: Some(hashes),
                ..
            } => ids
                .iter()
                .zip(seqs)
                .zip(hashes)
                .map(|((id, seq), hash)| (&**id, (*seq as u64, body_hash(hash))))
                .collect(),
            _ => HashMap::new(),
        };
        let mut fresh = answer.seqs.iter().flatten().map(|seq| *seq as u64);
        // The place of each row and whose body has it.
        let mut rows: Vec<(u64, BodyHash)> = Vec::with_capacity(self.ids.len());
        let settled = answer.settled_before.unwrap_or(0) as u64;
        let mut placed = Vec::with_capacity(self.roles.len());
        for (role, item) in self.roles.iter().zip(&batch.items) {
            let hash = item.notification.as_ref().map(|notification| notification.hash);
            let again = |(seq, first): (u64, BodyHash)| match hash == Some(first) {
                true => Placed::Duplicate { seq },
                false => Placed::Conflict,
            };
            placed.push(match *role {
                Role::Row(number) => match known.get(self.ids[number]) {
                    Some(row) => {
                        rows.push(*row);
                        again(*row)
                    }
                    None => {
                        let seq = fresh.next().unwrap_or_default();
                        rows.push((seq, hash.unwrap_or(BodyHash([0; 16]))));
                        Placed::Stored { seq }
                    }
                },
                Role::Repeat(number) => again(rows[number]),
                Role::Transient => Placed::Transient {
                    repeated: item.sequence <= settled,
                },
                Role::Unreadable => Placed::Unreadable,
            });
        }
        placed
    }
}

/// Another lane stored an id of this batch between the look and the insert, or the server chose this one to break a circle of waits.
fn is_collision(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("23505" | "40P01" | "40001"))
}

/// Rows of before the upgrade have none, which equals no other.
fn body_hash(bytes: &[u8]) -> BodyHash {
    BodyHash(bytes.try_into().unwrap_or_default())
}
