//! What waits for a session's task: bounded, and without memory while it is empty.
//!
//! A full mailbox keeps nothing it could not keep forever: of what has a record only the highest `seq` is noted, and the session reads the rest
//! from there. What has no record would be lost without a word, so the session is ended as too slow instead.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use crate::domain::envelope::Content;
use crate::session::parcel::Parcel;
use crate::session::{Confirm, Disconnect, Reason};
use crate::telemetry::events;
use crate::topic::Seat;

pub struct Mailbox {
    inner: Mutex<Inner>,
    bound: usize,
}

#[derive(Default)]
struct Inner {
    mail: Mail,
    waker: Option<Waker>,
}

/// Everything that came since the last look.
#[derive(Default)]
pub struct Mail {
    pub parcels: VecDeque<Arc<Parcel>>,
    /// The highest `seq` whose bell did not fit; 0 for none.
    pub missed: u64,
    /// Confirmations that are stored, with the place of what each named.
    pub confirmed: Vec<(Confirm, Option<u64>)>,
    /// Something was revoked; it may be the session's token.
    pub revoked: bool,
    /// The session is to end.
    pub end: Option<Disconnect>,
}

impl Mailbox {
    pub fn new(bound: usize) -> Self {
        Self {
            inner: Mutex::default(),
            bound,
        }
    }

    /// Rings.
    pub fn push(&self, parcel: &Arc<Parcel>) {
        let mut inner = self.lock();
        if inner.mail.parcels.len() < self.bound {
            inner.mail.parcels.push_back(Arc::clone(parcel));
        } else if let Some(seq) = parcel.seq() {
            inner.mail.missed = inner.mail.missed.max(seq);
        } else if matches!(parcel.envelope.content, Content::Confirmed(_)) {
            // What was confirmed comes again, and no worse.
        } else {
            events::dropped();
            let detail = "more waits for this session than edge.mailbox holds";
            inner
                .mail
                .end
                .get_or_insert_with(|| Disconnect::new(Reason::SlowConsumer, detail));
        }
        wake(inner);
    }

    /// Tells that a confirmation is stored. Not bounded here: there are as many as the session asked for, and those are.
    pub fn confirmed(&self, confirm: Confirm, seq: Option<u64>) {
        let mut inner = self.lock();
        inner.mail.confirmed.push((confirm, seq));
        wake(inner);
    }

    /// Tells that bells up to `seq` may be lost.
    pub fn missed(&self, seq: u64) {
        let mut inner = self.lock();
        inner.mail.missed = inner.mail.missed.max(seq);
        wake(inner);
    }

    /// Tells of a revocation, which may or may not cover the session's token.
    pub fn revoked(&self) {
        let mut inner = self.lock();
        inner.mail.revoked = true;
        wake(inner);
    }

    /// Ends the session.
    pub fn end(&self, disconnect: Disconnect) {
        let mut inner = self.lock();
        inner.mail.end.get_or_insert(disconnect);
        wake(inner);
    }

    /// Waits until there is something, and takes all of it. For one waiter.
    pub async fn take(&self) -> Mail {
        self.wait(|mail| (!mail.is_empty()).then(|| std::mem::take(mail))).await
    }

    /// Waits until something was revoked, and takes note of it; all else stays. For the same waiter, while it can't take its mail.
    pub async fn take_revoked(&self) {
        self.wait(|mail| std::mem::take(&mut mail.revoked).then_some(())).await;
    }

    /// Waits until the session is to end, and answers with how; all else stays. For the same waiter, while it can't take its mail.
    pub async fn take_end(&self) -> Disconnect {
        self.wait(|mail| mail.end.take()).await
    }

    async fn wait<T>(&self, mut take: impl FnMut(&mut Mail) -> Option<T>) -> T {
        poll_fn(|context| {
            let mut inner = self.lock();
            if let Some(taken) = take(&mut inner.mail) {
                return Poll::Ready(taken);
            }
            if inner
                .waker
                .as_ref()
                .is_none_or(|waker| !waker.will_wake(context.waker()))
            {
                inner.waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }
}

impl Seat for Mailbox {
    fn give_up(&self) {
        let detail = "this user has more sessions than session.max_per_user allows, and this is the newest";
        self.end(Disconnect::new(Reason::TooManySessions, detail));
    }
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.parcels.is_empty() && self.missed == 0 && self.confirmed.is_empty() && !self.revoked && self.end.is_none()
    }
}

/// Wakes after the lock is gone, so that the woken task doesn't run into it.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}
