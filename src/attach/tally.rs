//! What became of the questions to one hook on this node, since its start: for people who look at a plugin. The metrics say the same to machines.
//!
//! Costs a few atomic additions for a question; only a failure takes a lock. Bounded: of answers, the time that the last [`KEPT`] took is kept.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::protocol::Failure;
use crate::domain::time::EpochMs;

/// Answers whose time is kept.
const KEPT: usize = 256;

pub struct Tally {
    answered: AtomicU64,
    failed: [AtomicU64; Failure::CODES.len()],
    words: Mutex<Words>,
    /// Microseconds; answer number N is at N modulo [`KEPT`].
    took: [AtomicU32; KEPT],
}

/// What a failure says.
#[derive(Default)]
struct Words {
    last: Option<LastFailure>,
    /// By reason, when it was told for the last time, and how often it happened since.
    told: [Option<(Instant, u64)>; Failure::CODES.len()],
}

/// A failure of one reason is told at once, and then once in so long a time.
const TOLD_EVERY: Duration = Duration::from_secs(60);

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
            words: Mutex::default(),
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

    /// `text` is what may be told of it. Says whether it is to be told now, and how often it happened since it was, this time included.
    pub fn failed(&self, failure: &Failure, text: &str, at: EpochMs, now: Instant) -> Option<u64> {
        let reason = failure.code();
        let index = Failure::CODES.iter().position(|known| *known == reason)?;
        self.failed[index].fetch_add(1, Relaxed);
        // That it is left alone doesn't tell why.
        if matches!(failure, Failure::Open | Failure::Disabled) {
            return None;
        }
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.last = Some(LastFailure {
            at,
            reason,
            text: text.to_owned(),
        });
        match &mut words.told[index] {
            Some((told, count)) if now.saturating_duration_since(*told) < TOLD_EVERY => {
                *count += 1;
                None
            }
            told => {
                let count = told.map_or(0, |(_, count)| count) + 1;
                *told = Some((now, 0));
                Some(count)
            }
        }
    }

    pub fn tallied(&self) -> Tallied {
        let answered = self.answered.load(Relaxed);
        let failed = Failure::CODES.iter().zip(&self.failed);
        let failed = failed.map(|(code, count)| (*code, count.load(Relaxed)));
        Tallied {
            answered,
            failed: failed.filter(|(_, count)| *count > 0).collect(),
            last_failure: self.words.lock().unwrap_or_else(PoisonError::into_inner).last.clone(),
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

        let start = Instant::now();
        let fails = |failure: Failure, at, later| {
            tally.failed(&failure, &failure.to_string(), at, start + Duration::from_secs(later))
        };
        assert_eq!(fails(Failure::Timeout(300), 1, 0), Some(1), "told at once");
        assert_eq!(fails(Failure::BadId, 2, 0), Some(1), "another reason");
        assert_eq!(fails(Failure::Timeout(300), 2, 59), None);
        assert_eq!(fails(Failure::Timeout(300), 3, 60), Some(2), "both since");
        assert_eq!(fails(Failure::Open, 4, 60), None);
        let tallied = tally.tallied();
        assert_eq!(tallied.answered, 356);
        assert_eq!(
            tallied.failed,
            BTreeMap::from([("bad-id", 1), ("open", 1), ("timeout", 3)])
        );
        let last = tallied.last_failure.expect("it failed");
        assert_eq!(
            (last.at, last.reason, &*last.text),
            (3, "timeout", "no answer within 300 ms")
        );
    }
}
