//! One connection as those see it who answer on it: a response that stays open for a session borrows the whole connection.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The connection that a request came by; in the request's extensions.
#[derive(Clone)]
pub struct Wire(Arc<Line>);

struct Line {
    /// Its place among `http.max_connections` and among what a drain of the doors waits for, unless it is lent to a session.
    place: Mutex<Option<(OwnedSemaphorePermit, TaskTrackerToken)>>,
    places: Arc<Semaphore>,
    doors: TaskTracker,
    end: Mutex<Option<End>>,
    changed: Notify,
    /// The connection is no more.
    over: CancellationToken,
}

/// How a connection is to end before its client ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// With the response that is under way, whatever time that takes.
    AfterThis,
    /// The same, but no later than this.
    By(Instant),
}

impl Wire {
    /// A connection that holds `place`, one of `places`.
    pub(super) fn new(place: OwnedSemaphorePermit, places: &Arc<Semaphore>, doors: &TaskTracker) -> Self {
        Self(Arc::new(Line {
            place: Mutex::new(Some((place, doors.token()))),
            places: Arc::clone(places),
            doors: doors.clone(),
            end: Mutex::new(None),
            changed: Notify::new(),
            over: CancellationToken::new(),
        }))
    }

    /// Lends the connection to a session until the guard is dropped, with the response: meanwhile it counts as the session's.
    pub fn lend(&self) -> Lent {
        drop(lock(&self.0.place).take());
        Lent(self.clone())
    }

    /// Waits until it is to take no further request.
    pub(super) async fn last(&self) {
        self.until(|line| lock(&line.end).is_some()).await;
    }

    /// Waits until it is lent to nobody.
    pub(super) async fn returned(&self) {
        self.until(|line| lock(&line.place).is_some()).await;
    }

    /// What is held for as long as there is a connection.
    pub(super) fn over_with_this(&self) -> DropGuard {
        self.0.over.clone().drop_guard()
    }

    /// Waits until it has to be broken off.
    pub(super) async fn broken_off(&self) {
        loop {
            let changed = self.0.changed.notified();
            let end = *lock(&self.0.end);
            let Some(End::By(at)) = end else {
                changed.await;
                continue;
            };
            // What changed meanwhile may be that it is sooner.
            if timeout_at(at, changed).await.is_err() {
                return;
            }
        }
    }

    /// Of two ends the sooner stands.
    fn end(&self, end: End) {
        {
            let mut slot = lock(&self.0.end);
            *slot = Some(match (*slot, end) {
                (Some(End::By(one)), End::By(other)) => End::By(one.min(other)),
                (Some(End::By(at)), End::AfterThis) => End::By(at),
                (_, end) => end,
            });
        }
        self.0.changed.notify_waiters();
    }

    async fn until(&self, is_so: impl Fn(&Line) -> bool) {
        loop {
            let changed = self.0.changed.notified();
            if is_so(&self.0) {
                return;
            }
            changed.await;
        }
    }
}

/// A connection that is lent to a session. Dropped, it is an HTTP connection again; where there is no place for one, it closes after this response.
pub struct Lent(Wire);

impl Lent {
    /// Waits for the connection's end: what was written before it has been taken, or was given up.
    pub async fn over(&self) {
        self.0.0.over.cancelled().await;
    }

    /// Breaks the connection off: its client doesn't take what it is sent.
    pub fn cut(&self) {
        self.cut_within(Duration::ZERO);
    }

    /// The response that is under way is the connection's last, and may take so long to go out.
    pub fn cut_within(&self, time: Duration) {
        self.0.end(End::By(Instant::now() + time));
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let line = &self.0.0;
        match Arc::clone(&line.places).try_acquire_owned() {
            Ok(place) => {
                *lock(&line.place) = Some((place, line.doors.token()));
                line.changed.notify_waiters();
            }
            Err(_) => self.0.end(End::AfterThis),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}
