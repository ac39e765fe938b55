//! The checker: what was accepted and what sessions saw goes in, every broken promise comes out, and what was found in
//! numbers. Proved able to fail.

mod faults;
mod figures;
mod record;

use std::collections::{BTreeMap, HashMap, HashSet};

use quick_notify::lifecycle::wall_clock;

use crate::harness::Delivery;

pub use figures::{Fault, Figures};
pub use record::{QueueEnd, Record, Row, Tally, open, remove};

/// A receipt that a producer got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub id: String,
    pub receiver: String,
    /// Which producer, and its how manieth: it waited for each receipt before the next.
    pub turn: Option<(usize, u64)>,
}

/// A MESSAGE, as a session got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub id: String,
    pub seq: u64,
    pub attempt: u32,
    /// It was stored before SUBSCRIBE.
    pub replayed: bool,
    /// When it was accepted, and when it came, in milliseconds of the epoch.
    pub created: i64,
    pub at: i64,
}

/// What one session got, in its order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    pub user: String,
    /// The device whose session it is, when it resumes by its last `seq`: over all its sessions it gets everything.
    pub resumes: Option<String>,
    pub heard: Vec<Heard>,
    /// Ids whose confirmation the server confirmed.
    pub confirmed: Vec<String>,
}

impl Heard {
    /// `None`: it has no place, for it is not persisted.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        Some(Self {
            id: delivery.id.clone(),
            seq: delivery.seq?,
            attempt: delivery.attempt,
            replayed: delivery.replayed,
            created: delivery.body()["created"].as_i64().expect("a time"),
            at: wall_clock(),
        })
    }
}

impl Record {
    /// Everything that is not as promised.
    pub fn check(&self, accepted: &[Accepted], sessions: &[Session]) -> Vec<String> {
        let mut wrong = Vec::new();
        self.nothing_lost(accepted, &mut wrong);
        self.places(accepted, &mut wrong);
        self.identity(&mut wrong);
        for (index, session) in sessions.iter().enumerate() {
            in_order(index, session, &mut wrong);
        }
        self.confirmed(sessions, &mut wrong);
        self.resumed(sessions, &mut wrong);
        wrong
    }

    /// P1, P2, P3: each receipt has one row, with its receiver.
    fn nothing_lost(&self, accepted: &[Accepted], wrong: &mut Vec<String>) {
        let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in &self.rows {
            rows.entry(&row.id).or_default().push(row);
        }
        for receipt in accepted {
            match rows.get(&*receipt.id).map(Vec::as_slice) {
                None | Some([]) => wrong.push(format!("lost: {} for {}", receipt.id, receipt.receiver)),
                Some([row]) if row.receiver != receipt.receiver => wrong.push(format!("astray: {}", receipt.id)),
                Some([_]) => {}
                Some(_) => wrong.push(format!("twice in the inbox: {}", receipt.id)),
            }
        }
    }

    /// P6: a receiver's places are 1, 2, 3 … in the order of commits, and a producer's stand in the order of its receipts.
    fn places(&self, accepted: &[Accepted], wrong: &mut Vec<String>) {
        let mut seqs: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        let mut place: HashMap<&str, i64> = HashMap::new();
        for row in &self.rows {
            seqs.entry(&row.receiver).or_default().push(row.seq);
            place.insert(&row.id, row.seq);
        }
        for (receiver, seqs) in &seqs {
            if let Some((seq, expected)) = seqs.iter().zip(1..).find(|(seq, expected)| *seq != expected) {
                wrong.push(format!(
                    "{receiver}'s seq is not 1, 2, 3 …: {seq} where {expected} belongs"
                ));
            }
        }
        let mut turns: BTreeMap<(usize, &str), Vec<(u64, &str)>> = BTreeMap::new();
        for receipt in accepted {
            if let Some((producer, turn)) = receipt.turn {
                turns
                    .entry((producer, &receipt.receiver))
                    .or_default()
                    .push((turn, &receipt.id));
            }
        }
        for ((producer, receiver), mut turns) in turns {
            turns.sort_unstable();
            for pair in turns.windows(2) {
                let [before, after] = [pair[0].1, pair[1].1].map(|id| place.get(id));
                if before >= after && after.is_some() {
                    wrong.push(format!(
                        "producer {producer}'s are swapped for {receiver}: {pair:?} at {before:?}, {after:?}"
                    ));
                }
            }
        }
    }

    /// P2: stored = ended + open; the queue's entries all became something.
    fn identity(&self, wrong: &mut Vec<String>) {
        let open = self.rows.iter().filter(|row| row.outcome == 0).count() as i64;
        let tally = &self.tally;
        if tally.stored != tally.ended + open {
            wrong.push(format!(
                "stored {} != ended {} + open {open}",
                tally.stored, tally.ended
            ));
        }
        let expected = match self.queue {
            QueueEnd::OneLane => tally.settled,
            QueueEnd::Asked { last_sequence, pending } => last_sequence - pending,
            QueueEnd::NotAsked => return,
        };
        if expected != tally.handled() {
            let queue = self.queue;
            wrong.push(format!(
                "the queue's entries are not all accounted for: {queue:?}, {tally:?}"
            ));
        }
    }

    /// P2: what a server confirmed as confirmed has that outcome.
    fn confirmed(&self, sessions: &[Session], wrong: &mut Vec<String>) {
        let open: HashSet<&str> = self
            .rows
            .iter()
            .filter(|row| row.outcome == 0)
            .map(|row| &*row.id)
            .collect();
        for id in sessions.iter().flat_map(|session| &session.confirmed) {
            if open.contains(&**id) {
                wrong.push(format!("confirmed and yet open: {id}"));
            }
        }
    }

    /// P4, P7: over all its sessions, a device that resumes gets everything.
    fn resumed(&self, sessions: &[Session], wrong: &mut Vec<String>) {
        let mut devices: BTreeMap<(&str, &str), HashSet<&str>> = BTreeMap::new();
        for session in sessions {
            if let Some(device) = &session.resumes {
                let heard = session.heard.iter().map(|heard| &*heard.id);
                devices.entry((&session.user, device)).or_default().extend(heard);
            }
        }
        for ((user, device), heard) in devices {
            for row in self
                .rows
                .iter()
                .filter(|row| row.receiver == user && !heard.contains(&*row.id))
            {
                wrong.push(format!("{user}'s {device} never got {} (seq {})", row.id, row.seq));
            }
        }
    }
}

/// P6 for a session: first deliveries come in order; from the first live one on none is left out (P4).
fn in_order(index: usize, session: &Session, wrong: &mut Vec<String>) {
    let user = &session.user;
    let first: Vec<&Heard> = session.heard.iter().filter(|heard| heard.attempt <= 1).collect();
    for pair in first.windows(2) {
        let (before, after) = (pair[0].seq, pair[1].seq);
        if after <= before {
            wrong.push(format!("session {index} of {user} got seq {after} after {before}"));
        } else if after > before + 1 && !pair[0].replayed {
            wrong.push(format!("session {index} of {user} has a gap: {after} after {before}"));
        }
    }
}
