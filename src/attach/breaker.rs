//! A circuit breaker: a hook that fails again and again is left alone for a while, which doubles; then one question tries it.
//!
//! Pure: the time is an argument.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Breaker {
    failures: u32,
    limit: u32,
    first: Duration,
    most: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
        pause: Duration,
    },
    /// One question is out to try it; until its end is known, or for as long as the last pause, nobody else asks.
    Trying {
        until: Instant,
        pause: Duration,
    },
}

/// How it stands, for people and for the gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Closed,
    Open,
    HalfOpen,
}

impl Standing {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Breaker {
    /// Opens after `limit` failures in a row, for `first`, and at most for `most`.
    pub fn new(limit: u32, first: Duration, most: Duration) -> Self {
        Self {
            failures: 0,
            limit,
            first,
            most,
            state: State::Closed,
        }
    }

    /// Whether to ask now; the one who is let through while it is half open has to say what became of it. An error says how long to wait.
    pub fn ask(&mut self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until, .. } | State::Trying { until, .. } if now < until => Err(until - now),
            State::Open { pause, .. } | State::Trying { pause, .. } => {
                self.state = State::Trying {
                    until: now + pause,
                    pause,
                };
                Ok(())
            }
        }
    }

    /// It answered. Says whether that closed it.
    pub fn succeeded(&mut self) -> bool {
        self.failures = 0;
        std::mem::replace(&mut self.state, State::Closed) != State::Closed
    }

    /// It failed. Says whether that opened it.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let pause = match self.state {
            State::Closed if self.failures < self.limit => return false,
            State::Closed => self.first,
            // One of those that were out when it opened.
            State::Open { .. } => return false,
            State::Trying { pause, .. } => (pause * 2).min(self.most),
        };
        self.state = State::Open {
            until: now + pause,
            pause,
        };
        true
    }

    /// What failed is gone; what comes begins anew.
    pub fn reset(&mut self) {
        self.succeeded();
    }

    /// Half open as soon as the next question would be let through.
    pub fn standing(&self, now: Instant) -> Standing {
        match self.state {
            State::Closed => Standing::Closed,
            State::Open { until, .. } if now < until => Standing::Open,
            State::Open { .. } | State::Trying { .. } => Standing::HalfOpen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn opens_after_failures_in_a_row_lets_one_try_and_doubles_its_pause() {
        let mut breaker = Breaker::new(2, 100 * MS, 300 * MS);
        let start = Instant::now();
        assert!(!breaker.failed(start));
        assert!(!breaker.succeeded(), "it was closed");
        assert!(!breaker.failed(start), "in a row, and not in all");
        assert!(breaker.failed(start));
        assert!(!breaker.failed(start), "one that was out when it opened");
        assert_eq!(breaker.ask(start + 40 * MS), Err(60 * MS));
        assert_eq!(breaker.standing(start + 40 * MS), Standing::Open);
        assert_eq!(
            breaker.standing(start + 100 * MS),
            Standing::HalfOpen,
            "also while nobody asks"
        );

        let tried = start + 100 * MS;
        assert_eq!(breaker.ask(tried), Ok(()));
        assert_eq!(breaker.ask(tried + 10 * MS), Err(90 * MS), "one alone tries");
        assert_eq!(
            breaker.ask(tried + 100 * MS),
            Ok(()),
            "the one who tried never came back"
        );
        assert!(breaker.failed(tried + 100 * MS));
        assert_eq!(breaker.ask(tried + 110 * MS), Err(190 * MS), "twice as long");
        for _ in 0..3 {
            let later = tried + 10_000 * MS;
            assert_eq!(breaker.ask(later), Ok(()));
            assert!(breaker.failed(later));
            assert!(breaker.ask(later).unwrap_err() <= 300 * MS);
            breaker.state = match breaker.state {
                State::Open { pause, .. } => State::Open { until: later, pause },
                other => other,
            };
        }
        assert_eq!(breaker.ask(tried + 20_000 * MS), Ok(()));
        assert!(breaker.succeeded(), "and this closed it");
        assert_eq!(breaker.ask(tried + 20_000 * MS), Ok(()));
        assert_eq!(breaker.ask(tried + 20_000 * MS), Ok(()), "for everybody");

        assert!(!breaker.failed(start) && breaker.failed(start));
        breaker.reset();
        assert_eq!(breaker.standing(start), Standing::Closed);
        assert!(!breaker.failed(start), "it counts anew");
    }
}
