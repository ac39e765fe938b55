//! The tail reads what this node may not have heard, and nothing else: stories without a record and without a topic, by hand.

mod random;
mod redis;

use std::time::{Duration, Instant};

use quick_notify::edge::tail::{Span, Tail};
use quick_notify::store::Mark;
use quick_notify::topic::Line;

const GRACE: Duration = Duration::from_secs(15);
const EVERY: Duration = Duration::from_secs(1);

/// A tail on one lane, and what stands around it.
struct Story {
    tail: Tail,
    now: Instant,
    line: Line,
    mark: Mark,
}

impl Story {
    /// Starts with so many rows in the record.
    fn at(position: u64) -> Self {
        let line = Line { up: true, breaks: 0 };
        let mark = mark(0, position, 0);
        let now = Instant::now();
        Self {
            tail: Tail::new(&[mark], line, GRACE, EVERY, now),
            now,
            line,
            mark,
        }
    }

    /// A second passes, and the tail looks; what it asks for is read.
    fn tick(&mut self) -> Vec<(u64, u64)> {
        let spans = self.look();
        for span in &spans {
            self.tail.handle_rung(span.lane, span.through);
        }
        spans.iter().map(|span| (span.after, span.through)).collect()
    }

    /// The same where the record does not answer any more when it comes to reading.
    fn tick_in_vain(&mut self) -> Vec<(u64, u64)> {
        self.look().iter().map(|span| (span.after, span.through)).collect()
    }

    fn look(&mut self) -> Vec<Span> {
        self.now += EVERY;
        self.tail.handle_marks(&[self.mark], self.line, self.now)
    }

    /// So many seconds of health, one row each.
    fn health(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.mark.position += 1;
            assert_eq!(self.tick(), []);
        }
    }

    fn breaks(&mut self) {
        self.line.up = false;
        self.line.breaks += 1;
    }
}

fn mark(lane: u32, position: u64, doubted: u64) -> Mark {
    Mark {
        lane,
        position,
        doubted,
    }
}

#[test]
fn in_health_nothing_is_read() {
    let mut node = Story::at(1_000);
    node.health(100);
    assert!(!node.tail.is_troubled());
}

#[test]
fn a_break_reads_back_as_far_as_bells_may_have_been_under_way() {
    let mut node = Story::at(1_000);
    // Rows 1001 to 1100; those of the last fifteen looks are not certain.
    node.health(100);
    node.breaks();
    assert_eq!(node.tick(), [(1_085, 1_100)]);
    assert!(node.tail.is_troubled());
}

#[test]
fn while_the_line_is_down_each_row_is_read_once() {
    let mut node = Story::at(0);
    node.breaks();
    node.mark.position = 5;
    assert_eq!(node.tick(), [(0, 5)]);
    assert_eq!(node.tick(), []);
    node.mark.position = 7;
    assert_eq!(node.tick(), [(5, 7)]);
}

#[test]
fn what_came_between_the_last_look_and_the_line_is_read_when_the_line_is_back() {
    let mut node = Story::at(0);
    node.breaks();
    node.mark.position = 5;
    assert_eq!(node.tick(), [(0, 5)]);
    node.line.up = true;
    node.mark.position = 6;
    assert_eq!(node.tick(), [(5, 6)], "6 may have been rung before the line was up");
    node.mark.position = 7;
    assert_eq!(
        node.tick(),
        [],
        "7 was not there when the line was up, so it was rung after that"
    );
    assert!(!node.tail.is_troubled());
}

#[test]
fn a_break_between_two_looks_is_seen_by_its_number() {
    let mut node = Story::at(10);
    node.health(1);
    node.line.breaks += 2;
    assert_eq!(node.tick(), [(10, 11)]);
    assert_eq!(node.tick(), []);
}

#[test]
fn a_node_that_starts_without_a_line_makes_that_good_when_it_has_one() {
    let line = Line { up: false, breaks: 0 };
    let now = Instant::now();
    let mut tail = Tail::new(&[mark(0, 10, 0)], line, GRACE, EVERY, now);
    assert!(tail.is_troubled());
    let up = Line { up: true, breaks: 0 };
    let spans = tail.handle_marks(&[mark(0, 12, 0)], up, now + EVERY);
    assert_eq!(
        spans,
        [Span {
            lane: 0,
            after: 10,
            through: 12
        }]
    );
}

#[test]
fn a_doubt_is_read_from_the_last_certain_row() {
    let mut node = Story::at(0);
    node.health(30);
    node.mark.doubted = 29;
    assert_eq!(node.tick(), [(15, 30)]);
    assert_eq!(node.tick(), [], "the same doubt is settled");
    node.health(30);
    node.mark.doubted = 60;
    assert_eq!(node.tick(), [(45, 60)]);
}

#[test]
fn a_doubt_older_than_the_node_says_nothing_to_it() {
    let mut node = Story::at(1_000);
    node.mark.doubted = 1_000;
    assert_eq!(node.tick(), []);
}

#[test]
fn a_doubt_about_a_quiet_lane_is_read() {
    let mut node = Story::at(0);
    node.mark.position = 1;
    for _ in 0..5 {
        assert_eq!(node.tick(), []);
    }
    node.mark.doubted = 1;
    assert_eq!(node.tick(), [(0, 1)]);
}

#[test]
fn a_node_that_was_frozen_does_not_take_the_time_for_watched() {
    let mut node = Story::at(0);
    node.health(1);
    node.now += Duration::from_secs(600);
    node.mark.position = 50;
    // It does not know yet that Redis has cut it off.
    assert_eq!(node.tick(), []);
    node.breaks();
    assert_eq!(node.tick(), [(0, 50)]);
}

#[test]
fn what_the_record_did_not_answer_is_asked_again() {
    let mut node = Story::at(0);
    node.health(5);
    node.line.breaks += 1;
    assert_eq!(node.tick_in_vain(), [(0, 5)]);
    node.mark.position = 6;
    assert_eq!(node.tick_in_vain(), [(0, 6)]);
    node.tail.handle_rung(0, 4);
    assert_eq!(node.tick(), [(4, 6)], "from where it came to");
    assert_eq!(node.tick(), []);
}

#[test]
fn a_lane_that_appears_later_is_followed_from_its_first_row() {
    let mut node = Story::at(100);
    node.health(20);
    node.breaks();
    node.now += EVERY;
    let marks = [node.mark, mark(4, 3, 0)];
    let spans = node.tail.handle_marks(&marks, node.line, node.now);
    let lane = |lane| spans.iter().find(|span| span.lane == lane).copied();
    assert_eq!(spans.len(), 2);
    assert_eq!(lane(4).map(|span| (span.after, span.through)), Some((0, 3)));
}

#[test]
fn a_record_that_was_set_back_is_followed_from_there() {
    let mut node = Story::at(1_000);
    node.mark.position = 400;
    assert_eq!(node.tick(), []);
    node.mark.position = 410;
    node.breaks();
    assert_eq!(node.tick(), [(400, 410)]);
}
