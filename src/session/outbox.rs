//! The deliveries of one session that it has not confirmed: when each is due again, and when it is given up.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::parcel::Parcel;
use crate::domain::time::{EpochMs, Now};

/// When an unconfirmed delivery comes again (the contract's section 2).
#[derive(Debug, Clone, Copy)]
pub struct Resend {
    pub first: Duration,
    pub every: Duration,
    pub most: u32,
    pub within: Duration,
}

/// How late a timer may ring and still be on time.
const LATE: Duration = Duration::from_secs(1);

/// Unconfirmed deliveries in the order of their first attempt. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    entries: VecDeque<Delivery>,
    /// No entry is due before this; it may be earlier than any is.
    next_due: Option<Instant>,
    /// How many of the entries have a place in the inbox.
    persisted: usize,
}

#[derive(Debug)]
struct Delivery {
    /// Counts the session's first deliveries.
    number: u64,
    parcel: Arc<Parcel>,
    attempt: u32,
    first_sent: Instant,
    due: Instant,
    last_sent: EpochMs,
}

/// What is to be done about a due delivery.
#[derive(Debug)]
pub enum Due {
    /// Send it again, as this attempt; the one before went out at `last_sent`.
    Again {
        parcel: Arc<Parcel>,
        attempt: u32,
        last_sent: EpochMs,
    },
    /// Its attempts or its time are over. The row stays in the inbox.
    GivenUp,
}

impl Outbox {
    /// Notes a first attempt; `number` is greater than that of any before.
    pub fn sent(&mut self, parcel: Arc<Parcel>, number: u64, resend: &Resend, now: Now) {
        let due = now.instant + resend.first;
        self.persisted += usize::from(parcel.seq().is_some());
        self.next_due = Some(self.next_due.map_or(due, |next| next.min(due)));
        self.entries.push_back(Delivery {
            number,
            last_sent: now.wall,
            first_sent: now.instant,
            attempt: 1,
            due,
            parcel,
        });
    }

    /// Unconfirmed deliveries that have a place in the inbox: what the window counts.
    pub fn persisted(&self) -> usize {
        self.persisted
    }

    /// Unconfirmed deliveries without a record.
    pub fn transient(&self) -> usize {
        self.entries.len() - self.persisted
    }

    /// The number of the delivery with this id.
    pub fn find(&self, id: &str) -> Option<u64> {
        // Confirmations come nearly in order, so what is asked for stands near the front.
        let found = self.entries.iter().find(|delivery| delivery.parcel.id() == id);
        found.map(|delivery| delivery.number)
    }

    /// Forgets one delivery.
    pub fn remove(&mut self, id: &str) -> Option<Arc<Parcel>> {
        let index = self.entries.iter().position(|delivery| delivery.parcel.id() == id)?;
        let delivery = self.entries.remove(index)?;
        self.forgot(&delivery.parcel);
        Some(delivery.parcel)
    }

    /// Forgets the deliveries up to this number: what a cumulative ACK confirms (STOMP 1.2, ACK). In the order of delivery.
    pub fn remove_through(&mut self, number: u64) -> Vec<Arc<Parcel>> {
        let end = self.entries.partition_point(|delivery| delivery.number <= number);
        let removed: Vec<_> = self.entries.drain(..end).map(|delivery| delivery.parcel).collect();
        for parcel in &removed {
            self.forgot(parcel);
        }
        removed
    }

    /// When to ask [`Outbox::take_due`] again.
    pub fn next_due(&self) -> Option<Instant> {
        self.next_due
    }

    /// The deliveries that are due now; those that come again are noted as sent.
    pub fn take_due(&mut self, resend: &Resend, now: Now) -> Vec<Due> {
        if self.next_due.is_none_or(|due| due > now.instant) {
            return Vec::new();
        }
        let mut due = Vec::new();
        let persisted = &mut self.persisted;
        self.entries.retain_mut(|delivery| {
            if delivery.due > now.instant {
                return true;
            }
            let end = delivery.first_sent + resend.within;
            // By the plan, so that the last attempt is not lost to a timer that rings a moment late; by the clock, where it rings much later.
            if delivery.attempt > resend.most || delivery.due > end || now.instant > end + LATE {
                *persisted -= usize::from(delivery.parcel.seq().is_some());
                due.push(Due::GivenUp);
                return false;
            }
            delivery.attempt += 1;
            due.push(Due::Again {
                parcel: Arc::clone(&delivery.parcel),
                attempt: delivery.attempt,
                last_sent: delivery.last_sent,
            });
            delivery.last_sent = now.wall;
            // From the plan and not from now, so that late timers don't add up; but what was missed is not made up for.
            delivery.due += resend.every;
            if delivery.due <= now.instant {
                delivery.due = now.instant + resend.every;
            }
            true
        });
        self.next_due = self.entries.iter().map(|delivery| delivery.due).min();
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
        due
    }

    /// All deliveries, in order, with the attempt that each is at.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Parcel>, u32, EpochMs)> {
        self.entries
            .iter()
            .map(|delivery| (&delivery.parcel, delivery.attempt, delivery.last_sent))
    }

    fn forgot(&mut self, parcel: &Parcel) {
        self.persisted -= usize::from(parcel.seq().is_some());
        if self.entries.is_empty() {
            // An idle session gives its buffer back.
            self.entries = VecDeque::new();
            self.next_due = None;
        }
    }
}
