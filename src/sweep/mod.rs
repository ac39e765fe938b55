//! Housekeeping: ends and removes what retention is over for, and samples the gauges that have to be asked for. It never delivers.

mod unreached;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::unreached::Unreached;
use crate::attach::Events;
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::queue::Queue;
use crate::store::{Lane, Store};
use crate::telemetry::events;

/// What is kept, and for how long.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Age at which a notification is removed, in seconds. One that is still unconfirmed ends as expired.
    pub retention_seconds: u64,
    /// How often to look, in milliseconds.
    pub every_ms: u64,
    /// Rows that one transaction removes.
    pub batch: u32,
    /// How often to look for what nobody was there to get (`attach.events.unreached_after_ms`), in milliseconds, and rows that one look takes.
    pub unreached_every_ms: u64,
    pub unreached_batch: u32,
    /// How long a node has for such rows before another one may take its turn, in milliseconds.
    pub unreached_turn_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention_seconds: 90 * 24 * 3600,
            every_ms: 60_000,
            batch: 500,
            unreached_every_ms: 1_000,
            unreached_batch: 200,
            unreached_turn_ms: 30_000,
        }
    }
}

impl Config {
    /// Every mistake in this table, as (path below `sweep`, reason).
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.retention_seconds == 0 || self.retention_seconds > 100 * 366 * 24 * 3600 {
            problems.push(("retention_seconds".into(), "must lie between 1 and 100 years".into()));
        }
        if !(10..=86_400_000).contains(&self.every_ms) {
            problems.push(("every_ms".into(), "must lie between 10 and 86400000".into()));
        }
        if !(1..=10_000).contains(&self.batch) {
            problems.push(("batch".into(), "must lie between 1 and 10000".into()));
        }
        if !(10..=3_600_000).contains(&self.unreached_every_ms) {
            problems.push(("unreached_every_ms".into(), "must lie between 10 and 3600000".into()));
        }
        if !(1..=10_000).contains(&self.unreached_batch) {
            problems.push(("unreached_batch".into(), "must lie between 1 and 10000".into()));
        }
        if !(1_000..=3_600_000).contains(&self.unreached_turn_ms) {
            problems.push(("unreached_turn_ms".into(), "must lie between 1000 and 3600000".into()));
        }
        problems
    }
}

/// Removes what is older than retention, until the drain.
pub async fn run(config: Config, store: Arc<dyn Store>, told: Events, lifecycle: Lifecycle) {
    let mut tick = tokio::time::interval(Duration::from_millis(config.every_ms));
    while lifecycle.drain.run_until_cancelled(tick.tick()).await.is_some() {
        // Batch by batch, so that deliveries find the record free in between.
        while !lifecycle.drain.is_cancelled() {
            let cutoff = wall_clock() - (config.retention_seconds * 1_000) as i64;
            match store.sweep(cutoff, config.batch).await {
                Ok(swept) if swept.removed == 0 => break,
                Ok(swept) => {
                    events::swept(swept.expired.len() as u64, swept.removed);
                    for row in swept.expired {
                        told.expired(&row.receiver, &row.id, row.seq, row.created);
                    }
                }
                Err(error) => {
                    events::record_failed("sweep", &error, 0);
                    break;
                }
            }
        }
    }
}

/// Samples the queue's depth, the events that wait, and the record's tallies, until the drain.
pub async fn sample(every: Duration, queue: Arc<dyn Queue>, store: Arc<dyn Store>, told: Events, lifecycle: Lifecycle) {
    let mut tick = tokio::time::interval(every);
    while lifecycle.drain.run_until_cancelled(tick.tick()).await.is_some() {
        events::events_waiting(told.waiting());
        if let Ok(depth) = queue.depth().await {
            events::queue_sampled(depth.last_sequence, depth.pending);
        }
        match store.lanes().await {
            Ok(lanes) => {
                let (open, tallies) = sum(lanes);
                events::record_sampled(open, tallies.into_iter());
            }
            Err(error) => events::record_failed("lanes", &error, 0),
        }
    }
}

/// What is open, and each tally, over all lanes.
fn sum(lanes: Vec<Lane>) -> (u64, BTreeMap<&'static str, u64>) {
    let mut open = 0;
    let mut tallies = BTreeMap::new();
    for lane in lanes {
        open += lane.open;
        let counted = [
            ("stored", lane.stored),
            ("duplicates", lane.duplicates),
            ("transient", lane.transient),
            ("refused", lane.refused),
        ];
        let ended = lane.ended.into_iter().map(|(outcome, count)| (outcome.name(), count));
        for (tally, count) in counted.into_iter().chain(ended) {
            *tallies.entry(tally).or_default() += count;
        }
    }
    (open, tallies)
}
