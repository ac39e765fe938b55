//! The last deliveries that have no record, so that a confirmation for one isn't taken for an unknown id.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Bounded; 16 octets each.
#[derive(Debug, Default)]
pub struct Recent {
    told: VecDeque<Told>,
    /// Some have been forgotten: an id that isn't here may still have been delivered.
    forgot: bool,
}

#[derive(Debug)]
struct Told {
    fingerprint: u64,
    /// What was delivered before it: see [`Recent::find`].
    number: u64,
}

impl Recent {
    /// Remembers one more. From `most` on, the oldest makes room.
    pub fn note(&mut self, id: &str, number: u64, most: usize) {
        if self.told.len() >= most {
            self.told.pop_front();
            self.forgot = true;
        }
        self.told.push_back(Told {
            fingerprint: fingerprint(id),
            number,
        });
    }

    /// The number of the delivery with this id; the last one, where it came more than once.
    pub fn find(&self, id: &str) -> Option<u64> {
        let fingerprint = fingerprint(id);
        let found = self.told.iter().rev().find(|told| told.fingerprint == fingerprint);
        found.map(|told| told.number)
    }

    /// Whether there were more than are remembered: of an id that isn't here nothing can be said then.
    pub fn forgot(&self) -> bool {
        self.forgot
    }
}

fn fingerprint(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
