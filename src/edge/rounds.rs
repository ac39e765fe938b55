//! Goes the rounds for the tail: asks the record how far the lanes have come, and rings this node's own users for what `tail` says they may have
//! missed. It asks nothing of the topic but the state of the line, and costs nothing per notification while that is well.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::Config;
use super::hub::Hub;
use super::tail::{Span, Tail};
use crate::lifecycle::{Lifecycle, now};
use crate::store::{Store, StoreError};
use crate::telemetry::events;
use crate::topic::{Line, Topic};

pub struct Rounds {
    tail: Tail,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    line: watch::Receiver<Line>,
    every: Duration,
    every_in_trouble: Duration,
    batch: u32,
    failing: bool,
}

/// A line that comes and goes does not make the rounds follow each other closer than this.
const BREATH: Duration = Duration::from_millis(50);

impl Rounds {
    /// Begins where the record is now: to be called before the first session is let in.
    pub async fn begin(
        store: Arc<dyn Store>,
        topic: &dyn Topic,
        hub: Arc<Hub>,
        config: &Config,
    ) -> Result<Self, StoreError> {
        let mut line = topic.line();
        let state = *line.borrow_and_update();
        let marks = store.marks().await?;
        let every = Duration::from_millis(config.tail_every_ms);
        let grace = Duration::from_millis(config.tail_grace_ms);
        Ok(Self {
            tail: Tail::new(&marks, state, grace, every, now().instant),
            store,
            hub,
            line,
            every,
            every_in_trouble: Duration::from_millis(config.tail_trouble_ms),
            batch: config.tail_batch,
            failing: false,
        })
    }

    /// Runs until the drain.
    pub async fn run(mut self, lifecycle: Lifecycle) {
        let rounds = async {
            loop {
                let wait = match self.tail.is_troubled() {
                    true => self.every_in_trouble,
                    false => self.every,
                };
                tokio::select! {
                    () = sleep(wait) => {}
                    // At once: each moment more is a moment later for whoever was not rung.
                    Ok(()) = self.line.changed() => {}
                }
                self.go().await;
                sleep(BREATH).await;
            }
        };
        lifecycle.drain.run_until_cancelled(rounds).await;
    }

    async fn go(&mut self) {
        // Before the marks: what they don't have yet is rung after this.
        let line = *self.line.borrow_and_update();
        match self.read(line).await {
            Ok(()) if self.failing => {
                self.failing = false;
                events::record_recovered("tail");
            }
            Ok(()) => {}
            Err(error) if !self.failing => {
                self.failing = true;
                events::record_failed("tail", &error, 0);
            }
            // Said once; what is certain stays, and the next round goes on from there.
            Err(_) => {}
        }
    }

    async fn read(&mut self, line: Line) -> Result<(), StoreError> {
        let marks = self.store.marks().await?;
        for span in self.tail.handle_marks(&marks, line, now().instant) {
            self.ring(span).await?;
        }
        Ok(())
    }

    /// Rings for a span, batch by batch.
    async fn ring(&mut self, span: Span) -> Result<(), StoreError> {
        let Span {
            lane,
            mut after,
            through,
        } = span;
        while after < through {
            let rows = self.store.rung(lane, after, through, self.batch).await?;
            let here = rows.iter().filter(|row| self.hub.rouse(&row.receiver, row.seq)).count();
            events::tail_rung(here);
            let full = rows.len() >= self.batch as usize;
            after = rows.last().filter(|_| full).map_or(through, |row| row.position);
            self.tail.handle_rung(lane, after);
        }
        Ok(())
    }
}
