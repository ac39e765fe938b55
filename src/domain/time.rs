//! Time as an argument: pure code is told what time it is, and never asks.

use std::time::{Duration, Instant};

/// Milliseconds since 1970-01-01T00:00:00Z, as the wire and the record have them.
pub type EpochMs = i64;

/// One moment, by both clocks: the monotonic one drives timers, the wall one is what users and tokens speak of.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub instant: Instant,
    pub wall: EpochMs,
}

impl Now {
    /// This moment moved by `by` on both clocks.
    pub fn after(self, by: Duration) -> Self {
        Self {
            instant: self.instant + by,
            wall: self.wall.saturating_add(by.as_millis() as i64),
        }
    }

    /// The monotonic instant at which the wall clock will show `wall`; now at the earliest, a year ahead at the latest.
    pub fn instant_of(self, wall: EpochMs) -> Instant {
        const YEAR_MS: i64 = 366 * 24 * 3600 * 1000;
        let ahead = wall.saturating_sub(self.wall).clamp(0, YEAR_MS);
        self.instant + Duration::from_millis(ahead as u64)
    }
}
