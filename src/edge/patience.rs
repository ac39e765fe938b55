//! How long a session waits for its client to take what is sent: not beyond its bound, and not beyond the end of its token.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::mailbox::Mailbox;
use super::transport::Lost;
use crate::auth::Revocations;
use crate::domain::identity::Identity;
use crate::lifecycle::wall_clock;
use crate::session::{Disconnect, Reason};

pub struct Patience<'a> {
    /// The longest wait for one write.
    pub limit: Duration,
    /// The end of the token, if it has one.
    pub token_ends: Option<Instant>,
    /// Whose token it is, once that is known.
    pub identity: Option<&'a Identity>,
    pub mailbox: &'a Mailbox,
    pub revocations: &'a Revocations,
}

impl Patience<'_> {
    /// Writes, and says whether it had to wait; or why the session ends.
    pub async fn with(self, write: impl Future<Output = Result<(), Lost>>) -> Result<bool, Disconnect> {
        let mut write = pin!(write);
        let (waited, done) = match poll_fn(|context| Poll::Ready(write.as_mut().poll(context))).await {
            Poll::Ready(done) => (false, done),
            // Boxed: nearly every write is done at once, and the timers of the others would be carried by every idle connection.
            Poll::Pending => (true, Box::pin(self.wait(write)).await?),
        };
        match done {
            Ok(()) => Ok(waited),
            Err(Lost) => Err(Disconnect::new(Reason::Gone, "the transport broke")),
        }
    }

    async fn wait<T>(self, write: impl Future<Output = T>) -> Result<T, Disconnect> {
        tokio::select! {
            biased;
            done = write => Ok(done),
            end = self.token_over() => Err(end),
            () = sleep(self.limit) => {
                let detail = "the client did not take what was sent (edge.write_timeout_ms)";
                Err(Disconnect::new(Reason::SlowConsumer, detail))
            }
        }
    }

    /// Waits for the end of the token, which a session that waits for its client would see too late.
    async fn token_over(&self) -> Disconnect {
        let expired = async {
            match self.token_ends {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let revoked = async {
            loop {
                self.mailbox.take_revoked().await;
                let covers = |identity: &Identity| self.revocations.cover(identity, wall_clock());
                if self.identity.is_some_and(covers) {
                    return;
                }
            }
        };
        tokio::select! {
            () = expired => Disconnect::new(Reason::Token("token-expired"), "the token has expired"),
            () = revoked => revoked_token(),
        }
    }
}

/// The end of a session whose token was taken back.
pub fn revoked_token() -> Disconnect {
    Disconnect::new(Reason::Token("token-revoked"), "the token was revoked: get a fresh one")
}
