//! How the process lives and ends: one clock, one pair of stop signals, one tracker for every task.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
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
    /// A task that the process can't do without has failed; the same for all stages.
    pub failed: CancellationToken,
    /// Owns every task, so that the end of the process waits for them.
    pub tasks: TaskTracker,
}

impl Lifecycle {
    pub fn new() -> Self {
        Self {
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            failed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// A lifecycle whose drain comes later than (or with) this one's: `app` stops the rooms in order.
    pub fn stage(&self) -> Self {
        Self {
            drain: CancellationToken::new(),
            abort: self.abort.clone(),
            failed: self.failed.clone(),
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

    /// Runs `work`, without which the process is of no use: a dispatcher that is gone would leave its lane lying and nobody would know. When it
    /// panics, or ends though no drain began, the process is told by `failed`.
    pub fn spawn_vital(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (drain, failed) = (self.drain.clone(), self.failed.clone());
        self.spawn(async move {
            // Nothing of `work` is looked at after a panic.
            let done = AssertUnwindSafe(work).catch_unwind().await;
            if done.is_err() || !drain.is_cancelled() {
                let how = if done.is_err() { "panicked" } else { "ended by itself" };
                tracing::error!(
                    task = name,
                    how,
                    "a task that everything depends on is gone; the process ends"
                );
                failed.cancel();
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

/// What people call this node: its host's name, and the port that it serves.
pub fn node(port: u16) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => format!("node:{port}"),
        host => format!("{host}:{port}"),
    }
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
