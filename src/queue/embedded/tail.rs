//! What the writer shows to the consumer: the newest entries, at hand, and how deep the queue is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::queue::{Depth, Entry, Most};

/// What the writer shows to whoever reads.
#[derive(Default)]
pub(super) struct Shared {
    pub tail: Mutex<Tail>,
    pub arrived: Notify,
}

#[derive(Default)]
pub(super) struct Tail {
    /// The newest committed entries, in order, without gaps.
    pub entries: VecDeque<Entry>,
    pub bytes: usize,
    /// The last sequence that was handed out.
    pub handed_out: u64,
    pub depth: Depth,
    pub closed: bool,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().expect("nothing panics under this lock")
    }
}

impl Tail {
    /// The next entries, if they are at hand.
    pub fn take(&mut self, most: Most) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.sequence;
        if first > self.handed_out + 1 && self.depth.pending > self.entries.len() as u64 {
            return None;
        }
        let mut bytes = 0;
        let mut count = 0;
        for entry in self.entries.iter().take(most.entries) {
            bytes += entry.payload.len();
            if bytes > most.bytes && count > 0 {
                bytes -= entry.payload.len();
                break;
            }
            count += 1;
        }
        let taken: Vec<_> = self.entries.drain(..count).collect();
        self.bytes -= bytes;
        self.handed_out = taken.last()?.sequence;
        Some(taken)
    }

    pub fn push(&mut self, entry: Entry, bound: usize) {
        self.bytes += entry.payload.len();
        self.entries.push_back(entry);
        while self.bytes > bound {
            let Some(first) = self.entries.pop_front() else { break };
            self.bytes -= first.payload.len();
        }
    }
}
