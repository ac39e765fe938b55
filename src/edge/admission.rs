//! When a client that says CONNECT has its turn: so many a second, first come, first served, and no more in the queue than it can serve in time.
//!
//! # Why
//! A node that comes back finds everybody at its door at once. To enter ten thousand rolls and to read ten thousand inboxes in the same second
//! takes the cores and the record from those who publish. So the turn comes before all of that, and only the check of the token before the turn:
//! it asks nobody, and whoever brings nonsense would otherwise take the turns of all others. Since a token may end while its bearer waits, its
//! end and its revocation are looked at once more after the turn.
//!
//! # How
//! Nobody stands in a list. Each who knocks is told when the turn is, which is one interval after the one before; so waiting takes a timer and
//! no more, and who would have to wait for too long hears so at once. Those are sent away with a time to come back: when half of the queue will be
//! free, one interval after the one who was sent away before. A client that goes away while it waits is not missed until its turn, since
//! nothing is read from it meanwhile; its turn is then lost, which `wait_ms` bounds.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::lifecycle::now;
use crate::telemetry::events;

/// How fast sessions are admitted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sessions that are admitted a second.
    pub per_second: u32,
    /// So many may come at once after a quiet time.
    pub burst: u32,
    /// Clients that wait for their turn; further ones are asked to come back later.
    pub max_waiting: u32,
    /// The longest wait, in milliseconds; who would have to wait for longer is asked to come back later. Shorter than clients wait for CONNECTED.
    pub wait_ms: u64,
    /// The longest time after which one is asked to come back, in milliseconds.
    pub return_most_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            per_second: 1_000,
            burst: 200,
            max_waiting: 5_000,
            wait_ms: 5_000,
            return_most_ms: 60_000,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `edge.admission`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let bounds = [
            ("per_second", u64::from(self.per_second), 1, 1_000_000),
            ("burst", u64::from(self.burst), 1, 1_000_000),
            ("max_waiting", u64::from(self.max_waiting), 0, 10_000_000),
            ("wait_ms", self.wait_ms, 0, 600_000),
            ("return_most_ms", self.return_most_ms, 1_000, 300_000),
        ];
        bounds
            .into_iter()
            .filter(|(_, value, least, most)| !(least..=most).contains(&value))
            .map(|(path, _, least, most)| (path.to_owned(), format!("must lie between {least} and {most}")))
            .collect()
    }

    /// The least time over which so many clients have to be spread that come back.
    pub fn spread(&self, clients: usize) -> Duration {
        let needed = Duration::from_secs(1) * u32::try_from(clients).unwrap_or(u32::MAX) / self.per_second;
        needed.min(Duration::from_millis(self.return_most_ms))
    }
}

/// Decides; knows no clock.
#[derive(Debug)]
pub struct Gate {
    /// From one turn to the next.
    interval: Duration,
    /// So much earlier than its place in the row a turn may be.
    ahead: Duration,
    longest: Duration,
    return_most: Duration,
    /// The next place in the row.
    next: Instant,
    /// When the next one who is sent away is to come back.
    returns: Instant,
}

/// The queue is full: come back after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentAway {
    pub retry_after: Duration,
}

impl Gate {
    pub fn new(config: &Config, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / config.per_second;
        Self {
            interval,
            ahead: interval * (config.burst - 1),
            longest: Duration::from_millis(config.wait_ms).min(interval * config.max_waiting),
            return_most: Duration::from_millis(config.return_most_ms),
            next: now,
            returns: now,
        }
    }

    /// How long the one who knocks now has to wait. `dice`, of any value, tells those apart who can't be spread by the queue's length.
    pub fn knock(&mut self, now: Instant, dice: u32) -> Result<Duration, SentAway> {
        let place = self.next.max(now);
        let wait = place.saturating_duration_since(now + self.ahead);
        if wait > self.longest {
            return Err(self.send_away(wait, now, dice));
        }
        self.next = place + self.interval;
        Ok(wait)
    }

    fn send_away(&mut self, wait: Duration, now: Instant, dice: u32) -> SentAway {
        let room = wait - self.longest / 2;
        let back = self.returns.max(now + room);
        let retry_after = back - now;
        if retry_after > self.return_most {
            // So many were sent away that a place behind all of them would be too far off: anywhere in the time that is left.
            let room = room.min(self.return_most);
            let share = f64::from(dice) / (f64::from(u32::MAX) + 1.0);
            let retry_after = room + (self.return_most - room).mul_f64(share);
            return SentAway { retry_after };
        }
        self.returns = back + self.interval;
        SentAway { retry_after }
    }
}

/// The gate of this node.
#[derive(Debug)]
pub struct Admission(Mutex<Gate>);

impl Admission {
    pub fn new(config: &Config) -> Self {
        Self(Mutex::new(Gate::new(config, now().instant)))
    }

    /// Waits for the turn.
    pub async fn turn(&self) -> Result<(), SentAway> {
        let dice = uuid::Uuid::new_v4().as_fields().0;
        let knocked = now().instant;
        let wait = self.gate().knock(knocked, dice).inspect_err(|_| events::sent_away())?;
        if !wait.is_zero() {
            let _waiting = Waiting::begin();
            tokio::time::sleep_until((knocked + wait).into()).await;
        }
        events::admitted(wait);
        Ok(())
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counted among those that wait until it is dropped: a drain ends a wait before its time.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        events::waiting_began();
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        events::waiting_ended();
    }
}
