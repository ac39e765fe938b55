//! Bounds of the commands that a session sends to attached plugins, and what the client is told where one is not asked.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::attach::command::Undone;
use crate::attach::protocol::Failure;
use crate::session::commanding;

/// Commands of one session. One over a bound is answered with an error, and the session lives on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Octets of a command's body.
    pub max_body: usize,
    /// Commands a second, in the long run.
    pub per_second: u32,
    /// Commands at once, after a while without any.
    pub burst: u32,
    /// Commands that wait for their answers.
    pub in_flight: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body: 32_768,
            per_second: 10,
            burst: 20,
            in_flight: 4,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `edge.commands`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("max_body", self.max_body as u64, 1, 16_777_216),
            ("per_second", u64::from(self.per_second), 1, 100_000),
            ("burst", u64::from(self.burst), 1, 100_000),
            ("in_flight", self.in_flight as u64, 1, 10_000),
        ];
        bounds
            .into_iter()
            .filter(|&(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .collect()
    }
}

/// How many commands a session may still send: `burst` at first, and more as time passes.
#[derive(Debug)]
pub struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub fn full(config: &Config, now: Instant) -> Self {
        Self {
            left: f64::from(config.burst),
            at: now,
        }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, config: &Config, now: Instant) -> bool {
        self.left = self.left_at(config, now);
        self.at = now;
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }

    /// Whether it is as if none had been taken.
    pub fn is_full(&self, config: &Config, now: Instant) -> bool {
        self.left_at(config, now) >= f64::from(config.burst)
    }

    fn left_at(&self, config: &Config, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at);
        let grown = passed.min(A_DAY).as_secs_f64() * f64::from(config.per_second);
        (self.left + grown).min(f64::from(config.burst))
    }
}

const A_DAY: Duration = Duration::from_secs(86_400);

/// Why a command was not even asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    TooLarge,
    TooMany,
    Busy,
    Unserved,
    Away,
}

impl Refused {
    /// A closed set: the metric's label, and what the client's program reads.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::TooMany => "too-many",
            Self::Busy => "busy",
            Self::Unserved => "unknown-command",
            Self::Away => "unavailable",
        }
    }

    pub fn told(self, config: &Config) -> commanding::Undone {
        let reason = match self {
            Self::TooLarge => format!(
                "a command has at most {} octets (edge.commands.max_body)",
                config.max_body
            ),
            Self::TooMany => format!(
                "more than {} commands a second (edge.commands.per_second)",
                config.per_second
            ),
            Self::Busy => format!(
                "{} commands wait for their answers already (edge.commands.in_flight)",
                config.in_flight
            ),
            Self::Unserved => "no plugin serves this command".to_owned(),
            Self::Away => "the plugin that serves this command can't be asked now; try again".to_owned(),
        };
        commanding::Undone {
            code: self.code().to_owned(),
            reason,
        }
    }
}

/// What the client is told of a command that a plugin was asked, and didn't do. What went wrong inside is the operator's to know.
pub fn told(undone: Undone, config: &Config) -> commanding::Undone {
    let (code, reason) = match undone {
        Undone::Refused { code, reason } => return commanding::Undone { code, reason },
        Undone::Unserved => return Refused::Unserved.told(config),
        Undone::Away => return Refused::Away.told(config),
        Undone::Failed(Failure::Timeout(_)) => ("timeout", "the plugin did not answer in time; it may still do it"),
        Undone::Failed(Failure::Busy) => ("busy", "the plugin is asked too much at once; try again"),
        Undone::Failed(Failure::TooLarge("the question", ..)) => {
            ("too-large", "the command is too large for the plugin")
        }
        Undone::Failed(_) => ("failed", "the plugin failed"),
    };
    commanding::Undone {
        code: code.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_is_taken_at_once_or_as_it_grows_and_never_grows_beyond_its_burst() {
        let config = Config {
            per_second: 10,
            burst: 3,
            ..Config::default()
        };
        let start = Instant::now();
        let mut allowance = Allowance::full(&config, start);
        assert_eq!(
            [(); 5].map(|()| allowance.take(&config, start)),
            [true, true, true, false, false]
        );
        let soon = start + Duration::from_millis(100);
        assert_eq!([(); 2].map(|()| allowance.take(&config, soon)), [true, false]);
        assert!(!allowance.is_full(&config, soon));
        let later = soon + Duration::from_secs(3_600);
        assert!(allowance.is_full(&config, later));
        assert_eq!(
            [(); 4].map(|()| allowance.take(&config, later)),
            [true, true, true, false]
        );
    }
}
