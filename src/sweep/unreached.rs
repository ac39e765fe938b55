//! What nobody was there to get: looks once at each notification that comes to a certain age, and tells of it when it is unconfirmed and its
//! receiver has no session anywhere.
//!
//! How far a lane was looked through is in the record, and moves only after what was found there is handed over; so a crash repeats rather than
//! loses. The nodes look at the same lanes and one of them tells: it takes the lane's turn, which ends by itself should that node die. While the roll
//! can't say who is here, or NATS is away, it waits. Works only while somebody wants to be told.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Config;
use crate::attach::Events;
use crate::attach::protocol::Happening;
use crate::domain::envelope::Message;
use crate::domain::time::EpochMs;
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::store::{Looked, Store, StoreError, Unended};
use crate::telemetry::events;
use crate::topic::Topic;

pub struct Unreached {
    pub config: Config,
    /// The age at which it is looked at, and from which on it is not any more, in milliseconds.
    pub age: EpochMs,
    pub too_old: EpochMs,
    pub store: Arc<dyn Store>,
    pub topic: Arc<dyn Topic>,
    pub told: Events,
}

/// Lanes whose next row is too young: behind which position, and until when.
type Young = HashMap<u32, (u64, EpochMs)>;

/// A lane can't be looked through now; later it can.
enum Later {
    /// Another node does it.
    Elsewhere,
    /// The roll or NATS is away.
    Away,
    Record(StoreError),
}

impl Unreached {
    /// Looks now and then, until the drain.
    pub async fn run(self, lifecycle: Lifecycle) {
        let mut tick = tokio::time::interval(Duration::from_millis(self.config.unreached_every_ms));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut young = Young::new();
        while lifecycle.drain.run_until_cancelled(tick.tick()).await.is_some() {
            if self.told.wants(Happening::Unreached) && self.told.is_connected() {
                lifecycle.drain.run_until_cancelled(self.all(&mut young)).await;
            }
        }
    }

    async fn all(&self, young: &mut Young) {
        let lanes = match self.store.looked().await {
            Ok(lanes) => lanes,
            Err(error) => return events::record_failed("looked", &error, 0),
        };
        for lane in lanes.into_iter().filter(|lane| lane.through < lane.position) {
            let is_young = |(through, until): &(u64, EpochMs)| *through == lane.through && wall_clock() < *until;
            if young.get(&lane.lane).is_some_and(is_young) {
                continue;
            }
            match self.look(lane).await {
                Ok(Some(until)) => young.insert(lane.lane, until),
                Ok(None) | Err(Later::Elsewhere | Later::Away) => young.remove(&lane.lane),
                Err(Later::Record(error)) => return events::record_failed("unended", &error, 0),
            };
        }
    }

    /// Looks through a lane as far as it is old enough.
    async fn look(&self, lane: Looked) -> Result<Option<(u64, EpochMs)>, Later> {
        let mut kept = lane.through;
        let mut after = lane.through;
        let young = loop {
            let now = wall_clock();
            let query = Unended {
                lane: lane.lane,
                after,
                from: now - self.too_old,
                until: now - self.age,
                limit: self.config.unreached_batch,
            };
            let stretch = self.store.unended(&query).await?;
            let missed = self.missed(stretch.rows).await?;
            if !missed.is_empty() {
                self.tell(lane.lane, (kept, stretch.through), &missed).await?;
                kept = stretch.through;
            }
            after = stretch.through;
            if !stretch.more {
                break stretch.next;
            }
        };
        if after > kept {
            self.tell(lane.lane, (kept, after), &[]).await?;
        }
        Ok(young.map(|created| (after, created + self.age)))
    }

    /// Those whose receivers have no session.
    async fn missed(&self, rows: Vec<Message>) -> Result<Vec<Message>, Later> {
        if rows.is_empty() {
            return Ok(rows);
        }
        let users: Vec<&str> = BTreeSet::from_iter(rows.iter().map(|row| &*row.receiver))
            .into_iter()
            .collect();
        let present = self.topic.present(&users).await.map_err(|_| Later::Away)?;
        let here = users.iter().zip(present).filter(|(_, sessions)| *sessions > 0);
        let here: BTreeSet<String> = here.map(|(user, _)| (*user).to_owned()).collect();
        Ok(rows.into_iter().filter(|row| !here.contains(&row.receiver)).collect())
    }

    /// Tells, and notes that the lane was looked through. It is this node's turn meanwhile.
    async fn tell(&self, lane: u32, (from, through): (u64, u64), missed: &[Message]) -> Result<(), Later> {
        let now = wall_clock();
        let turn = self.config.unreached_turn_ms;
        let until = now + turn as EpochMs;
        if !self.store.begin_turn(lane, from, now, until).await? {
            return Err(Later::Elsewhere);
        }
        // Well within the turn: what is handed over after it would be told by another node, too.
        let limit = Duration::from_millis(turn / 2);
        let handed = tokio::time::timeout(limit, self.told.unreached(missed)).await;
        let told = matches!(handed, Ok(true));
        self.store
            .end_turn(lane, until, if told { through } else { from })
            .await?;
        if told { Ok(()) } else { Err(Later::Away) }
    }
}

impl From<StoreError> for Later {
    fn from(error: StoreError) -> Self {
        Self::Record(error)
    }
}
