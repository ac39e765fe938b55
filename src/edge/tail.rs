//! What the tail reads: which rows of the record this node may not have heard of. Pure; `rounds` asks the record and rings.
//!
//! In health every row is rung by its dispatcher, over the topic, and the tail reads nothing: it only follows how far each lane has come. Two
//! things make it read: this node's line to the topic broke, or a dispatcher noted that it could not ring (a doubt).
//!
//! # Which rows are certain
//! A row that is in the record may not have been rung yet: its dispatcher is about to, or died between commit and bell, and whoever takes the
//! lane over rings it again. So a position counts as certain only a *grace* after it was seen, through all of which the line was up. The grace
//! is longer than a takeover and the time in which a broken line is noticed, together.
//! - Only time that was watched counts: a node that was frozen, or that could not ask the record, does not let it pass.
//! - What the tail has rung itself is certain at once: positions are in the order of commits, so what is visible has nothing missing below it.
//! - A broken line is made good only by marks that were asked for after it was up again: a row that is committed later is rung later.
//! - A doubt is looked at before anything becomes certain, and what is in doubt is younger than the grace. (A dispatcher that is taken over later
//!   than that *and* can't ring is not covered; its rows come with the user's next notification or session.)

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::store::Mark;
use crate::topic::Line;

/// How far this node has come, lane by lane.
#[derive(Debug)]
pub struct Tail {
    grace: Duration,
    /// So much time passes between two looks at most; what is beyond it was not watched.
    every: Duration,
    /// The time that was watched, up to `last`.
    watched: Duration,
    last: Instant,
    /// The breaks of the line that are made good; none while it is down.
    settled: Option<u64>,
    lanes: BTreeMap<u32, Reach>,
    troubled: bool,
}

/// Rows of a lane to be read and rung: behind `after`, up to `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub lane: u32,
    pub after: u64,
    pub through: u64,
}

/// How far a lane has come.
#[derive(Debug, Default)]
struct Reach {
    /// Every row up to here was rung.
    certain: u64,
    /// Rows up to here are to be rung by the tail.
    owed: u64,
    /// Positions that were seen with the line up, and when; not certain yet.
    seen: VecDeque<(Duration, u64)>,
}

impl Tail {
    /// Begins where the record is: no session of this node is older, and each reads the record when it subscribes. `line` was looked at before the
    /// marks were asked for.
    pub fn new(marks: &[Mark], line: Line, grace: Duration, every: Duration, now: Instant) -> Self {
        let begin = |mark: &Mark| Reach {
            certain: mark.position,
            ..Reach::default()
        };
        Self {
            grace,
            every,
            watched: Duration::ZERO,
            last: now,
            settled: line.up.then_some(line.breaks),
            lanes: marks.iter().map(|mark| (mark.lane, begin(mark))).collect(),
            troubled: !line.up,
        }
    }

    /// Takes the lanes' marks, and says what to read now. `line` is its state from before the marks were asked for.
    pub fn handle_marks(&mut self, marks: &[Mark], line: Line, now: Instant) -> Vec<Span> {
        self.watched += now.saturating_duration_since(self.last).min(self.every);
        self.last = now;
        let broken = !line.up || self.settled != Some(line.breaks);
        self.settled = line.up.then_some(line.breaks);
        self.troubled = broken;
        let mut spans = Vec::new();
        for mark in marks {
            // A lane that is new to this node began after it: all of it is younger than its sessions, or read by them.
            let reach = self.lanes.entry(mark.lane).or_default();
            reach.follow(mark, broken, self.watched, self.grace);
            if reach.owed > reach.certain {
                self.troubled = true;
                spans.push(Span {
                    lane: mark.lane,
                    after: reach.certain,
                    through: reach.owed,
                });
            }
        }
        spans
    }

    /// Rows of `lane` up to `through` have been rung by the tail.
    pub fn handle_rung(&mut self, lane: u32, through: u64) {
        if let Some(reach) = self.lanes.get_mut(&lane) {
            reach.certain = reach.certain.max(through);
        }
    }

    /// Whether bells are missing now, so that the next look should come sooner.
    pub fn is_troubled(&self) -> bool {
        self.troubled
    }
}

impl Reach {
    fn follow(&mut self, mark: &Mark, broken: bool, watched: Duration, grace: Duration) {
        if mark.position < self.certain {
            // The record was set back; its next rows get these positions again.
            *self = Self {
                certain: mark.position,
                ..Self::default()
            };
        }
        let owes = self.owed > self.certain;
        if broken || owes || mark.doubted > self.certain {
            self.owed = mark.position;
            self.seen.clear();
            return;
        }
        while let Some(&(_, position)) = self.seen.front().filter(|(at, _)| *at + grace <= watched) {
            self.certain = position;
            self.seen.pop_front();
        }
        let newest = self.seen.back().map_or(self.certain, |(_, position)| *position);
        if mark.position > newest {
            self.seen.push_back((watched, mark.position));
        }
    }
}
