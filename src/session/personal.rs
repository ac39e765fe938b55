//! The personal queue of a session: `/user/queue/msg`, as a cursor in the inbox and an outbox of what is unconfirmed.

use std::time::{Duration, Instant};

use super::inbox::{Inbox, Read};
use super::outbox::Outbox;

/// The destination of the session's own user.
pub const DESTINATION: &str = "/user/queue/msg";

/// Exists while the session is subscribed to the personal queue.
#[derive(Debug)]
pub struct Personal {
    pub inbox: Inbox,
    pub outbox: Outbox,
    /// When to try again to read the record.
    retry: Option<Instant>,
}

/// How long to wait before a page that could not be read is asked for again.
const READ_AGAIN: Duration = Duration::from_secs(1);

impl Personal {
    pub fn new(last_seq: Option<u64>) -> Self {
        Self {
            inbox: Inbox::new(last_seq),
            outbox: Outbox::default(),
            retry: None,
        }
    }

    /// How many more deliveries the window takes.
    pub fn room(&self, window: usize) -> usize {
        window.saturating_sub(self.outbox.persisted())
    }

    /// The page to read now, if any.
    pub fn next_read(&mut self, window: usize, now: Instant) -> Option<Read> {
        if self.retry.is_some_and(|retry| retry > now) {
            return None;
        }
        self.retry = None;
        self.inbox.next_read(self.room(window))
    }

    /// The record could not be read.
    pub fn read_failed(&mut self, now: Instant) {
        self.inbox.failed();
        self.retry = Some(now + READ_AGAIN);
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.outbox.next_due().into_iter().chain(self.retry).min()
    }
}
