//! What a lane has at hand, shared by the task that pulls and the dispatcher that takes.

use std::collections::VecDeque;

use async_nats::{HeaderMap, Subject};

use super::order::{Order, Verdict};
use crate::queue::{Entry, Most};

/// An entry with what settles it.
#[derive(Debug)]
pub struct Taken {
    pub entry: Entry,
    pub origin: Origin,
}

/// What is needed of a message after its payload was handed out.
#[derive(Debug)]
pub struct Origin {
    pub sequence: u64,
    /// Where its ack goes.
    pub reply: Subject,
    /// To what it was published.
    pub subject: String,
    pub headers: Option<HeaderMap>,
}

#[derive(Debug, Default)]
pub struct State {
    pub order: Order,
    /// The pin that the server last gave to this node; `None`: it stands by.
    pub pin: Option<String>,
    /// The pin under which the dispatcher works.
    pub held: Option<String>,
    pub ready: VecDeque<Taken>,
    pub ready_bytes: usize,
    pub in_hand: VecDeque<Origin>,
    /// Something arrived since the last look.
    pub lively: bool,
    /// The dispatcher can't work on the lane now: another node is to have it.
    pub resting: bool,
    pub closed: bool,
}

impl State {
    /// A message under `pin`: says what to do with it.
    pub fn arrived(&mut self, pin: Option<&str>, delivery: u64, sequence: u64) -> Verdict {
        if pin != self.pin.as_deref()
            && let Some(pin) = pin
        {
            // Another node may have worked on the lane in between: begin anew, under a new epoch.
            self.stand_by();
            self.pin = Some(pin.to_owned());
            self.order.begin(delivery);
        }
        let verdict = self.order.arrived(delivery, sequence);
        self.lively |= verdict != Verdict::Drop;
        verdict
    }

    /// The lane is another's, or nobody's. What is in hand can still be settled.
    pub fn stand_by(&mut self) {
        self.pin = None;
        self.held = None;
        self.ready.clear();
        self.ready_bytes = 0;
    }

    pub fn push(&mut self, taken: Taken) {
        self.ready_bytes += taken.entry.payload.len();
        self.ready.push_back(taken);
    }

    /// The next entries; they are in hand from then on.
    pub fn take(&mut self, most: Most) -> Vec<Entry> {
        let mut bytes = 0;
        let mut entries = Vec::new();
        while let Some(next) = self.ready.front() {
            let size = next.entry.payload.len();
            if !entries.is_empty() && (entries.len() >= most.entries || bytes + size > most.bytes) {
                break;
            }
            bytes += size;
            self.ready_bytes -= size;
            if let Some(Taken { entry, origin }) = self.ready.pop_front() {
                entries.push(entry);
                self.in_hand.push_back(origin);
            }
        }
        entries
    }

    /// Gives up what the dispatcher had, so that it begins again at the first entry that is not settled.
    pub fn give_up(&mut self) {
        self.in_hand.clear();
        if self.held.take().is_some() {
            self.ready.clear();
            self.ready_bytes = 0;
            self.order.begin_again();
        }
    }

    /// Gives the lane to the dispatcher, if this node is the one.
    pub fn hold(&mut self) -> bool {
        if self.pin.is_none() || self.order.wants_reset() {
            return false;
        }
        self.held.clone_from(&self.pin);
        true
    }

    /// What settles the entries up to `through`.
    pub fn settle(&mut self, through: u64) -> Vec<Origin> {
        self.order.settled(through);
        let count = self.in_hand.partition_point(|origin| origin.sequence <= through);
        self.in_hand.drain(..count).collect()
    }

    /// Where signs of life go, for whatever this node keeps others from.
    pub fn unsettled(&self) -> Vec<Subject> {
        if self.pin.is_none() {
            return Vec::new();
        }
        let ready = self.ready.iter().map(|taken| &taken.origin);
        self.in_hand
            .iter()
            .chain(ready)
            .map(|origin| origin.reply.clone())
            .collect()
    }
}
