//! A cluster in simulated time, with everything that can go wrong at random: in the end every row has been rung at this node, by its bell or by the
//! tail. The seed of a failure is printed.

use std::time::{Duration, Instant};

use proptest::prelude::Rng;
use proptest::test_runner::{RngAlgorithm, TestRng};
use quick_notify::edge::tail::Tail;
use quick_notify::store::Mark;
use quick_notify::topic::Line;

use super::{EVERY, GRACE};

/// One step of the clock.
const STEP_MS: u64 = 50;
const LANES: usize = 2;
/// Longest time between a commit and its bell: a takeover.
const TAKEOVER_MS: u64 = 10_000;
/// Longest time in which a broken line is noticed.
const NOTICE_MS: u64 = 3_000;
/// From here on nothing more goes wrong; what did, passes.
const WELL_MS: u64 = 120_000;
const END_MS: u64 = 150_000;

struct World {
    rng: TestRng,
    ms: u64,
    lanes: [Vec<Row>; LANES],
    doubted: [u64; LANES],
    /// Doubts on their way to the record.
    doubts: Vec<(u64, usize)>,
    topic_away: Span,
    cut_off: Span,
    record_away: Span,
    frozen: Span,
    /// Whether bells reach this node, and what it knows of that.
    hears: bool,
    line: Line,
    notices_at: Option<u64>,
}

/// A row: when its bell is due, and whether this node's sessions were rung.
struct Row {
    bell_at: u64,
    rung: bool,
}

/// Something is wrong until then.
#[derive(Default)]
struct Span(u64);

impl World {
    fn new(seed: u64) -> Self {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self {
            rng: TestRng::from_seed(RngAlgorithm::ChaCha, &bytes),
            ms: 0,
            lanes: Default::default(),
            doubted: [0; LANES],
            doubts: Vec::new(),
            topic_away: Span::default(),
            cut_off: Span::default(),
            record_away: Span::default(),
            frozen: Span::default(),
            hears: true,
            line: Line { up: true, breaks: 0 },
            notices_at: None,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.next_u64() % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }

    /// Something goes wrong, now and then.
    fn misfortune(&mut self) {
        let until = self.ms + 100 + self.below(6_000);
        match self.below(1_600) {
            0 => self.topic_away.0 = until,
            1 => self.cut_off.0 = until,
            2 => self.record_away.0 = until,
            3 => self.frozen.0 = (until + self.ms % 30_000).min(WELL_MS + 6_000),
            _ => {}
        }
    }

    /// `STEP_MS` pass.
    fn step(&mut self) {
        self.ms += STEP_MS;
        self.hold_line();
        let record = self.record_away.0 <= self.ms;
        for lane in 0..LANES {
            if record && self.one_in(4) {
                let late = match self.below(20) {
                    0 => self.below(TAKEOVER_MS),
                    _ => self.below(300),
                };
                self.lanes[lane].push(Row {
                    bell_at: self.ms + late,
                    rung: false,
                });
            }
            self.ring(lane);
        }
        if record {
            for (at, lane) in std::mem::take(&mut self.doubts) {
                match at <= self.ms {
                    true => self.doubted[lane] = self.lanes[lane].len() as u64,
                    false => self.doubts.push((at, lane)),
                }
            }
        }
    }

    /// What this node knows of its line comes later than the truth; while it is frozen it learns nothing.
    fn hold_line(&mut self) {
        let whole = self.topic_away.0 <= self.ms && self.cut_off.0 <= self.ms;
        let awake = self.frozen.0 <= self.ms;
        if self.hears && (!whole || (!awake && self.one_in(20))) {
            self.hears = false;
            self.notices_at = Some(self.ms + self.below(NOTICE_MS));
        }
        if let (false, Some(at)) = (awake, &mut self.notices_at) {
            // It needs its time when it is awake again.
            *at += STEP_MS;
        }
        if awake && self.notices_at.is_some_and(|at| at <= self.ms) {
            self.notices_at = None;
            self.line.up = false;
            self.line.breaks += 1;
        } else if awake && whole && !self.hears && self.notices_at.is_none() && self.one_in(5) {
            self.hears = true;
            self.line.up = true;
        }
    }

    fn ring(&mut self, lane: usize) {
        let (now, away, hears) = (self.ms, self.topic_away.0 > self.ms, self.hears);
        let mut failed = false;
        // A row a step at most; older ones have had their bell.
        let young = (TAKEOVER_MS / STEP_MS) as usize + 1;
        for row in self.lanes[lane].iter_mut().rev().take(young) {
            if row.bell_at > now - STEP_MS && row.bell_at <= now {
                row.rung |= hears && !away;
                failed |= away;
            }
        }
        if failed {
            // The dispatcher takes a moment until it knows.
            let noted = now + self.below(1_000);
            self.doubts.push((noted, lane));
        }
    }

    fn marks(&self) -> Vec<Mark> {
        let mark = |lane: usize| Mark {
            lane: lane as u32,
            position: self.lanes[lane].len() as u64,
            doubted: self.doubted[lane],
        };
        (0..LANES).map(mark).collect()
    }
}

/// Lives through `seed`; says which rows were not rung in the end, and how many the tail read.
fn live(seed: u64, misfortunes: bool, grace: Duration, every: Duration) -> (Vec<(usize, usize)>, usize) {
    let mut world = World::new(seed);
    let begin = Instant::now();
    let mut tail = Tail::new(&world.marks(), world.line, grace, every, begin);
    let (mut next, mut read) = (EVERY.as_millis() as u64, 0);
    while world.ms < END_MS {
        if misfortunes && world.ms < WELL_MS {
            world.misfortune();
        }
        world.step();
        if world.ms < next || world.frozen.0 > world.ms {
            continue;
        }
        let line = world.line;
        // The line may break, and rows may come, between the look at the line and the marks.
        world.step();
        next = world.ms + EVERY.as_millis() as u64 / if tail.is_troubled() { 2 } else { 1 };
        if world.record_away.0 > world.ms {
            continue;
        }
        let marks = world.marks();
        let now = begin + Duration::from_millis(world.ms);
        for span in tail.handle_marks(&marks, line, now) {
            let half = span.after + (span.through - span.after) / 2;
            let through = if misfortunes && world.one_in(5) {
                half
            } else {
                span.through
            };
            for position in span.after..through {
                world.lanes[span.lane as usize][position as usize].rung = true;
                read += 1;
            }
            tail.handle_rung(span.lane, through);
        }
    }
    let rows = world.lanes.iter().enumerate();
    let lost = rows.flat_map(|(lane, rows)| {
        let due = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| row.bell_at < END_MS - 10_000 && !row.rung);
        due.map(move |(at, _)| (lane, at + 1))
    });
    (lost.collect(), read)
}

#[test]
fn whatever_goes_wrong_every_row_is_rung() {
    let mut read = 0;
    for seed in 0..200 {
        let (lost, rows) = live(seed, true, GRACE, EVERY);
        assert!(lost.is_empty(), "seed {seed}: not rung (lane, position): {lost:?}");
        read += rows;
    }
    assert!(
        read > 10_000,
        "too little went wrong to prove anything: {read} rows read"
    );
}

/// What the tail is careful about is needed: without it this simulation finds rows that nobody rang.
#[test]
fn a_careless_tail_is_found_out() {
    const LONG: Duration = Duration::from_secs(3_600);
    for (what, grace, every) in [
        ("takes what it has seen for rung", Duration::ZERO, EVERY),
        ("takes the time it was frozen for watched", GRACE, LONG),
    ] {
        let loses = |seed: &u64| !live(*seed, true, grace, every).0.is_empty();
        assert!((0..200).find(loses).is_some(), "one that {what} lost nothing");
    }
}

#[test]
fn with_nothing_wrong_nothing_is_read() {
    for seed in 0..50 {
        let (lost, read) = live(seed, false, GRACE, EVERY);
        assert_eq!((lost.len(), read), (0, 0), "seed {seed}");
    }
}
