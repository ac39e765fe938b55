//! How the process lives and ends: one clock, one pair of stop signals, one tracker for every task.

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::time::{EpochMs, Now};

/// What every room is told about stopping. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    /// Finish what is in hand and take nothing new.
    pub drain: CancellationToken,
    /// Stop at once.
    pub abort: CancellationToken,
    /// Owns every task, so that the end of the process waits for them.
    pub tasks: TaskTracker,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// A lifecycle whose drain comes later than (or with) this one's: `app` stops the rooms in order.
    pub fn stage(&self) -> Self {
        Self {
            drain: CancellationToken::new(),
            abort: self.abort.clone(),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs `work` as an owned task, which ends at once on abort.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = abort.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Starts the drain and waits until every task has ended, `limit` at most. Says whether they all did.
    pub async fn drained(&self, limit: Duration) -> bool {
        self.drain.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => true,
            () = tokio::time::sleep(limit) => false,
            () = self.abort.cancelled() => false,
        }
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

/// The one clock.
pub fn now() -> Now {
    Now {
        instant: Instant::now(),
        wall: wall_clock(),
    }
}

/// Wall time alone.
pub fn wall_clock() -> EpochMs {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_millis() as EpochMs)
}

/// Delays between tries: doubles from `first` to `most`.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// The delay to wait now.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.most);
        delay
    }
}
