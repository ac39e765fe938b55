//! What became of the questions to one hook on this node, since its start: for people who look at a plugin. The metrics say the same to machines.
//!
//! Costs a few atomic additions for a question; only a failure takes a lock. Bounded: of answers, the time that the last [`KEPT`] took is kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use super::protocol::Failure;
use crate::domain::time::EpochMs;

/// Answers whose time is kept.
const KEPT: usize = 256;

pub struct Tally {
    answered: AtomicU64,
    failed: [AtomicU64; Failure::CODES.len()],
    last: Mutex<Option<LastFailure>>,
    /// Microseconds; answer number N is at N modulo [`KEPT`].
    took: [AtomicU32; KEPT],
}

/// The last question that got no answer that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastFailure {
    pub at: EpochMs,
    /// A word of the closed set.
    pub reason: &'static str,
    /// A sentence.
    pub text: String,
}

/// The tally, for people.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tallied {
    pub answered: u64,
    /// By reason; those that never happened are left out.
    pub failed: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// What the last answers took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// So many answers.
    pub of: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            answered: AtomicU64::new(0),
            failed: Default::default(),
            last: Mutex::new(None),
            took: [const { AtomicU32::new(0) }; KEPT],
        }
    }
}

impl Tally {
    pub fn answered(&self, took: Duration) {
        let number = self.answered.fetch_add(1, Relaxed);
        let micros = took.as_micros().try_into().unwrap_or(u32::MAX);
        self.took[(number % KEPT as u64) as usize].store(micros, Relaxed);
    }

    pub fn failed(&self, failure: &Failure, at: EpochMs) {
        let code = failure.code();
        if let Some(index) = Failure::CODES.iter().position(|known| *known == code) {
            self.failed[index].fetch_add(1, Relaxed);
        }
        // That it is left alone doesn't tell why.
        if !matches!(failure, Failure::Open | Failure::Disabled) {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(LastFailure {
                at,
                reason: code,
                text: failure.to_string(),
            });
        }
    }

    pub fn tallied(&self) -> Tallied {
        let answered = self.answered.load(Relaxed);
        let failed = Failure::CODES.iter().zip(&self.failed);
        let failed = failed.map(|(code, count)| (*code, count.load(Relaxed)));
        Tallied {
            answered,
            failed: failed.filter(|(_, count)| *count > 0).collect(),
            last_failure: self.last.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            latency: self.latency(answered.min(KEPT as u64) as usize),
        }
    }

    fn latency(&self, of: usize) -> Option<Latency> {
        let mut took: Vec<u32> = self.took[..of].iter().map(|micros| micros.load(Relaxed)).collect();
        took.sort_unstable();
        // The nearest rank: a time that an answer did take.
        let percentile = |percent: usize| f64::from(took[(of * percent).div_ceil(100).max(1) - 1]) / 1_000.0;
        (of > 0).then(|| Latency {
            of,
            p50_ms: percentile(50),
            p99_ms: percentile(99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_reason_and_keeps_the_times_of_the_last_answers() {
        let tally = Tally::default();
        assert!(tally.tallied().latency.is_none());
        for ms in 1..=100 {
            tally.answered(Duration::from_millis(ms));
        }
        let latency = |of, p50_ms, p99_ms| Some(Latency { of, p50_ms, p99_ms });
        assert_eq!(tally.tallied().latency, latency(100, 50.0, 99.0));
        for _ in 0..KEPT {
            tally.answered(Duration::from_micros(1_500));
        }
        assert_eq!(
            tally.tallied().latency,
            latency(KEPT, 1.5, 1.5),
            "the old ones are forgotten"
        );

        tally.failed(&Failure::Timeout(300), 1);
        tally.failed(&Failure::BadId, 2);
        tally.failed(&Failure::Timeout(300), 3);
        tally.failed(&Failure::Open, 4);
        let tallied = tally.tallied();
        assert_eq!(tallied.answered, 356);
        assert_eq!(
            tallied.failed,
            BTreeMap::from([("bad-id", 1), ("open", 1), ("timeout", 2)])
        );
        let last = tallied.last_failure.expect("it failed");
        assert_eq!(
            (last.at, last.reason, &*last.text),
            (3, "timeout", "no answer within 300 ms")
        );
    }
}
