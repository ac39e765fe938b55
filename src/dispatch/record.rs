//! What a dispatcher asks of the record, which may be away: tried again for as long as the lane is better here than elsewhere.

use std::time::{Duration, Instant};

use super::{Dispatcher, Interrupted};
use crate::lifecycle::Lifecycle;
use crate::store::{Batch, Kept, Placed, StoreError};
use crate::telemetry::events;

impl Dispatcher {
    /// Stores the batch; `None` when the drain came first. Where the record stays away the batch is left to the lane's next holder.
    pub(super) async fn store(
        &self,
        batch: &Batch,
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Inserted>, Interrupted> {
        let mut backoff = self.config.backoff();
        let until = self.patience(given_back);
        let mut retried = false;
        loop {
            let error = match self.store.insert(batch).await {
                Ok(placed) => {
                    if retried || given_back > 0 {
                        events::record_recovered("insert");
                    }
                    return Ok(Some(Inserted { placed, retried }));
                }
                Err(StoreError::Fenced) => return Err(Interrupted::Fenced),
                Err(error) => error,
            };
            events::record_failed("insert", &error, batch.items.len());
            retried = true;
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Interrupted::Record(error));
            }
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Takes the lane over in the record; `None` when the drain came first.
    pub(super) async fn claim(&self, given_back: u32, lifecycle: &Lifecycle) -> Result<Option<u64>, Interrupted> {
        let claim = || self.store.claim(self.lane);
        self.answered("claim", claim, given_back, lifecycle).await
    }

    /// What the record has under `ids`; `None` when the drain came first.
    pub(super) async fn kept(
        &self,
        ids: &[&str],
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<Vec<Option<Kept>>>, Interrupted> {
        let lookup = || self.store.lookup(ids);
        self.answered("lookup", lookup, given_back, lifecycle).await
    }

    /// Asks until the record answers; `None` when the drain came first.
    pub(super) async fn answered<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        verb: &'static str,
        ask: impl Fn() -> F,
        given_back: u32,
        lifecycle: &Lifecycle,
    ) -> Result<Option<T>, Interrupted> {
        let mut backoff = self.config.backoff();
        let until = self.patience(given_back);
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => error,
            };
            events::record_failed(verb, &error, 0);
            if until.is_some_and(|until| Instant::now() >= until) {
                return Err(Interrupted::Record(error));
            }
            let wait = tokio::time::sleep(backoff.delay());
            if lifecycle.drain.run_until_cancelled(wait).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Until when the record is tried from here: without end where there is nobody else.
    fn patience(&self, given_back: u32) -> Option<Instant> {
        let limit = self.config.give_back_ms.saturating_mul(1 << given_back.min(20));
        let limit = Duration::from_millis(limit.min(self.config.give_back_most_ms));
        self.queue.is_shared().then(|| Instant::now() + limit)
    }
}

/// A batch that is in the record.
pub struct Inserted {
    pub placed: Vec<Placed>,
    /// Whether a try before this one failed; it may have been committed all the same.
    pub retried: bool,
}
