//! What nobody was there to get: looks once at each notification that comes to a certain age, and tells of it when it is unconfirmed and its
//! receiver has no session anywhere.
//!
//! How far a lane was looked through is in the record, and moves only after what was found there is handed over; so a crash repeats rather than
//! loses. The nodes look at the same lanes and one of them tells: it takes the lane's turn, which ends by itself should that node die. While the roll
//! can't say who is here, or NATS is away, it waits. Works only while somebody wants to be told; what was there before that and is too old is skipped.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Config;
use crate::attach::Events;
use crate::attach::protocol::Happening;
use crate::domain::envelope::Message;
use crate::domain::time::EpochMs;
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::store::{Looked, Store, StoreError, Stretch, Unended};
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

/// After so long a look notes how far it came, and lets others go on. A crash repeats no more.
const STINT: Duration = Duration::from_secs(1);

/// What earlier looks found.
#[derive(Default)]
struct Seen {
    /// Lanes whose next row is too young: behind which position, and until when.
    young: HashMap<u32, (u64, EpochMs)>,
    /// The lanes' last positions when the looks began. What is behind them was stored since, perhaps long after it was created.
    begun: HashMap<u32, u64>,
}

/// One look at a lane.
struct Look {
    lane: Looked,
    begun: u64,
    /// Its first row has been waited for: a clock that is ahead holds up nothing for longer.
    waited: bool,
}

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
        let mut seen = Seen::default();
        while lifecycle.drain.run_until_cancelled(tick.tick()).await.is_some() {
            if self.told.wants(Happening::Unreached) && self.told.is_connected() {
                lifecycle.drain.run_until_cancelled(self.all(&mut seen)).await;
            } else {
                // What gets too old meanwhile is passed over.
                seen = Seen::default();
            }
        }
    }

    async fn all(&self, seen: &mut Seen) {
        let lanes = match self.store.looked().await {
            Ok(lanes) => lanes,
            Err(error) => return events::record_failed("looked", &error, 0),
        };
        for lane in lanes {
            let begun = *seen.begun.entry(lane.lane).or_insert(lane.position);
            if lane.through >= lane.position {
                continue;
            }
            let young = seen.young.get(&lane.lane).filter(|(at, _)| *at == lane.through);
            if young.is_some_and(|(_, until)| wall_clock() < *until) {
                continue;
            }
            let waited = young.is_some();
            match self.look(&Look { lane, begun, waited }).await {
                Ok(Some(until)) => {
                    seen.young.insert(lane.lane, until);
                }
                Ok(None) | Err(Later::Elsewhere) => {
                    seen.young.remove(&lane.lane);
                }
                Err(Later::Away) => {
                    seen.young.remove(&lane.lane);
                    seen.begun.remove(&lane.lane);
                }
                Err(Later::Record(error)) => return events::record_failed("unended", &error, 0),
            }
        }
    }

    /// Looks through a lane as far as it is old enough. If there is anything to look at, it is this node's turn meanwhile.
    async fn look(&self, look: &Look) -> Result<Option<(u64, EpochMs)>, Later> {
        let Looked { lane, through, .. } = look.lane;
        let first = self.stretch(look, through, look.waited).await?;
        if first.through == through {
            return Ok(self.wait(&first));
        }
        let now = wall_clock();
        let turn = self.config.unreached_turn_ms;
        let until = now + turn as EpochMs;
        if !self.store.begin_turn(lane, through, now, until).await? {
            return Err(Later::Elsewhere);
        }
        // Well within the turn: what is handed over after it would be told by another node, too.
        let limit = Duration::from_millis(turn / 2);
        let mut came = through;
        let walked = tokio::time::timeout(limit, self.walk(look, first, &mut came)).await;
        // However it ended, so far everything was handed over.
        self.store.end_turn(lane, until, came).await?;
        walked.unwrap_or(if came > through { Ok(None) } else { Err(Later::Away) })
    }

    async fn walk(
        &self,
        look: &Look,
        mut stretch: Stretch,
        through: &mut u64,
    ) -> Result<Option<(u64, EpochMs)>, Later> {
        let start = Instant::now();
        loop {
            let rows = std::mem::take(&mut stretch.rows);
            let nothing = rows.is_empty();
            let missed = self.missed(rows).await?;
            if !missed.is_empty() && !self.told.unreached(&missed).await {
                return Err(Later::Away);
            }
            *through = stretch.through;
            if !stretch.more {
                return Ok(self.wait(&stretch));
            }
            if nothing {
                *through = self.skip(look, *through).await?;
            }
            if start.elapsed() > STINT {
                return Ok(None);
            }
            stretch = self.stretch(look, *through, false).await?;
        }
    }

    /// Until when the row behind this part is waited for.
    fn wait(&self, stretch: &Stretch) -> Option<(u64, EpochMs)> {
        stretch
            .next
            .map(|created| (stretch.through, created.min(wall_clock()) + self.age))
    }

    /// The next part. `waited`: of one row, however young it says it is.
    async fn stretch(&self, look: &Look, after: u64, waited: bool) -> Result<Stretch, StoreError> {
        let now = wall_clock();
        let batch = self.config.unreached_batch;
        // What was there before may be too old; what came since was not, when it came.
        let before = look.begun.saturating_sub(after);
        let (from, limit) = match u32::try_from(before) {
            Ok(0) => (EpochMs::MIN, batch),
            Ok(before) => (now - self.too_old, batch.min(before)),
            Err(_) => (now - self.too_old, batch),
        };
        let query = Unended {
            lane: look.lane.lane,
            after,
            from,
            until: if waited { EpochMs::MAX } else { now - self.age },
            limit: if waited { 1 } else { limit },
        };
        self.store.unended(&query).await
    }

    /// How far what was there before is too old: halves the history instead of reading it. Positions follow the order of creation, or nearly so.
    async fn skip(&self, look: &Look, after: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (after, look.begun);
        while high.saturating_sub(low) > u64::from(self.config.unreached_batch) {
            let middle = low + (high - low) / 2;
            let query = Unended {
                lane: look.lane.lane,
                after: middle,
                from: EpochMs::MAX,
                until: wall_clock() - self.too_old,
                limit: 1,
            };
            let old = self.store.unended(&query).await?.through;
            if old > middle { low = old } else { high = middle }
        }
        Ok(low)
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
}

impl From<StoreError> for Later {
    fn from(error: StoreError) -> Self {
        Self::Record(error)
    }
}
