//! One connection as those see it who answer on it: a response that stays open for a session borrows the whole connection.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
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
    held: Mutex<Option<Held>>,
    /// Where it comes from.
    address: IpAddr,
    places: Arc<Semaphore>,
    doors: TaskTracker,
    /// How long a last response may take.
    patience: Duration,
    /// Counts the requests.
    requests: AtomicU64,
    /// The response that is under way is the last, and ends by then.
    end: Mutex<Option<Instant>>,
    changed: Notify,
    /// The connection is no more.
    over: CancellationToken,
}

/// What it holds of the door.
struct Held {
    /// `None`: there was none left when it came back from a session.
    _place: Option<OwnedSemaphorePermit>,
    _token: TaskTrackerToken,
}

impl Wire {
    /// A connection that holds `place`, one of `places`.
    pub(super) fn new(
        place: OwnedSemaphorePermit,
        address: IpAddr,
        places: &Arc<Semaphore>,
        doors: &TaskTracker,
        patience: Duration,
    ) -> Self {
        let held = Held {
            _place: Some(place),
            _token: doors.token(),
        };
        Self(Arc::new(Line {
            held: Mutex::new(Some(held)),
            address,
            places: Arc::clone(places),
            doors: doors.clone(),
            patience,
            requests: AtomicU64::new(0),
            end: Mutex::new(None),
            changed: Notify::new(),
            over: CancellationToken::new(),
        }))
    }

    /// Lends the connection to a session until the guard is dropped, with the response: meanwhile it counts as the session's.
    pub fn lend(&self) -> Lent {
        drop(lock(&self.0.held).take());
        Lent(self.clone())
    }

    /// Where it comes from: a client, or the proxy before it.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// Whether it takes no further request.
    pub fn is_ending(&self) -> bool {
        lock(&self.0.end).is_some()
    }

    /// A request has come.
    pub(super) fn asked(&self) {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until it is to take no further request.
    pub(super) async fn last(&self) {
        self.until(|line| lock(&line.end).is_some()).await;
    }

    /// Waits until it is lent to nobody.
    pub(super) async fn returned(&self) {
        self.until(|line| lock(&line.held).is_some()).await;
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
            let Some(at) = end else {
                changed.await;
                continue;
            };
            // What changed meanwhile may be that it is sooner.
            if timeout_at(at, changed).await.is_err() {
                return;
            }
        }
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

impl Line {
    /// Of two ends the sooner stands.
    fn end_within(&self, time: Duration) {
        let at = Instant::now() + time;
        {
            let mut end = lock(&self.end);
            *end = Some(end.map_or(at, |sooner| sooner.min(at)));
        }
        self.changed.notify_waiters();
    }
}

/// A connection that is lent to a session. Dropped, it is an HTTP connection again; where there is no place for one, it closes after this response.
pub struct Lent(Wire);

impl Lent {
    /// The response for which it is lent.
    pub fn sent(&self) -> Sent {
        let line = &self.0.0;
        Sent {
            line: Arc::downgrade(line),
            number: line.requests.load(Ordering::Relaxed),
        }
    }

    /// Waits for the connection's end: what was written before it has been taken, or was given up.
    pub async fn over(&self) {
        self.0.0.over.cancelled().await;
    }

    /// Breaks the connection off: its client doesn't take what it is sent.
    pub fn cut(&self) {
        self.0.0.end_within(Duration::ZERO);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let line = &self.0.0;
        let place = Arc::clone(&line.places).try_acquire_owned().ok();
        if place.is_none() {
            line.end_within(line.patience);
        }
        *lock(&line.held) = Some(Held {
            _place: place,
            _token: line.doors.token(),
        });
        line.changed.notify_waiters();
    }
}

/// One response, which may still be on its way when the session has no more to do with it.
pub struct Sent {
    line: Weak<Line>,
    number: u64,
}

impl Sent {
    /// It may take so long to go out, and is its connection's last. Nothing, where that serves another request by now: then it has gone out.
    pub fn cut_within(&self, time: Duration) {
        if let Some(line) = self.line.upgrade()
            && line.requests.load(Ordering::Relaxed) == self.number
        {
            line.end_within(time);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics under this lock")
}
