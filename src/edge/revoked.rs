//! Learns of revocations from the record, where they are whatever became of their bell: a node that was away, or whose line is, finds them here.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Config;
use super::hub::Hub;
use crate::domain::time::EpochMs;
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::store::{Store, StoreError};
use crate::telemetry::events;
use crate::topic::{Line, Topic};

pub struct Watch {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    line: watch::Receiver<Line>,
    every: Duration,
    /// Who wrote one may have another clock, and may take a moment to commit it.
    overlap: EpochMs,
    /// Everything that was written before this is known.
    known: EpochMs,
}

/// How soon to ask again a record that failed.
const AGAIN: Duration = Duration::from_millis(500);

impl Watch {
    /// Reads all of them: to be called before the first session is let in.
    pub async fn begin(
        store: Arc<dyn Store>,
        topic: &dyn Topic,
        hub: Arc<Hub>,
        config: &Config,
    ) -> Result<Self, StoreError> {
        let mut line = topic.line();
        line.mark_unchanged();
        let mut watch = Self {
            store,
            hub,
            line,
            every: Duration::from_millis(config.revocation_poll_ms),
            overlap: config.revocation_overlap_ms as EpochMs,
            known: 0,
        };
        watch.look().await?;
        Ok(watch)
    }

    /// Runs until the drain.
    pub async fn run(mut self, lifecycle: Lifecycle) {
        let looking = async {
            let mut failing = false;
            loop {
                tokio::select! {
                    () = sleep(if failing { AGAIN.min(self.every) } else { self.every }) => {}
                    // It broke or is back: bells may be missing.
                    Ok(()) = self.line.changed() => {}
                }
                let looked = self.look().await;
                match &looked {
                    Ok(()) if failing => events::record_recovered("revocations"),
                    Err(error) if !failing => events::record_failed("revocations", error, 0),
                    _ => {}
                }
                failing = looked.is_err();
            }
        };
        lifecycle.drain.run_until_cancelled(looking).await;
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let now = wall_clock();
        let since = self.known.saturating_sub(self.overlap).max(0);
        let found = self.store.revocations(since, now).await?;
        self.hub.learn(&found);
        self.known = now;
        let revocations = self.hub.revocations();
        revocations.forget_ended(now);
        events::revocations(revocations.count());
        Ok(())
    }
}
