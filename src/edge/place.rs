//! One of the places that this node has for connections: taken before anything else is done for a client, and given up when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::domain::facts::Facts;

/// How many places there are, and how many are taken.
#[derive(Debug)]
pub struct Places {
    taken: Arc<AtomicUsize>,
    most: usize,
}

#[derive(Debug)]
pub struct Place {
    taken: Arc<AtomicUsize>,
}

/// What a session is let in with.
#[derive(Debug)]
pub struct Pass {
    pub place: Place,
    /// What its tokens are shown with; `None` where nobody looks at it, so that an idle session holds no such thing.
    pub facts: Option<Arc<Facts>>,
}

impl Places {
    pub fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    /// A place, if there is one.
    pub fn take(&self) -> Option<Place> {
        let place = Place {
            taken: Arc::clone(&self.taken),
        };
        // Given back by the drop when there were none left.
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
