//! Which places of its user's inbox a session was told: what an ACK may name long after the delivery was confirmed or given up.

use std::ops::Range;

/// Most sessions have one range or two; a replay of an inbox with many holes has more, up to this.
const MOST_RANGES: usize = 64;

/// Places in the inbox, as ranges in ascending order. Bounded: where there are too many holes, the lowest are forgotten, and what lies in them
/// counts as told.
#[derive(Debug, Default)]
pub struct Told(Vec<Range<u64>>);

impl Told {
    pub fn note(&mut self, seq: u64) {
        let at = self.behind(seq);
        let joins_before = at > 0 && self.0[at - 1].end == seq;
        let joins_behind = self.0.get(at).is_some_and(|range| range.start == seq + 1);
        if self.0.get(at).is_some_and(|range| range.contains(&seq)) {
            return;
        }
        match (joins_before, joins_behind) {
            (true, true) => {
                let behind = self.0.remove(at);
                self.0[at - 1].end = behind.end;
            }
            (true, false) => self.0[at - 1].end = seq + 1,
            (false, true) => self.0[at].start = seq,
            (false, false) => {
                // One at a time: spare room would be multiplied by every session.
                self.0.reserve_exact(1);
                self.0.insert(at, seq..seq + 1);
            }
        }
        if self.0.len() > MOST_RANGES {
            let second = self.0.remove(1);
            self.0[0].end = second.end;
        }
    }

    pub fn has(&self, seq: u64) -> bool {
        self.0.get(self.behind(seq)).is_some_and(|range| range.contains(&seq))
    }

    /// The first range that doesn't end at or below this place.
    fn behind(&self, seq: u64) -> usize {
        self.0.partition_point(|range| range.end <= seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seqs: impl IntoIterator<Item = u64>) -> Told {
        let mut told = Told::default();
        seqs.into_iter().for_each(|seq| told.note(seq));
        told
    }

    fn ranges(told: &Told) -> String {
        format!("{:?}", told.0)
    }

    #[test]
    fn neighbours_are_one_range_in_whatever_order_they_come() {
        for seqs in [[1, 2, 3, 4], [4, 3, 2, 1], [1, 4, 2, 3], [3, 1, 4, 2]] {
            assert_eq!(ranges(&told(seqs)), "[1..5]", "{seqs:?}");
        }
        assert_eq!(ranges(&told([1, 1, 2, 2, 1])), "[1..3]");
    }

    #[test]
    fn what_was_not_told_is_not_there() {
        let told = told([2, 3, 7]);
        let has: Vec<_> = (0..10).filter(|seq| told.has(*seq)).collect();
        assert_eq!(has, [2, 3, 7]);
    }

    #[test]
    fn with_too_many_holes_the_lowest_are_forgotten() {
        let told = told((1..=1_000).map(|n| n * 2));
        assert_eq!(told.0.len(), MOST_RANGES);
        assert!(told.has(3), "an old hole counts as told");
        assert!(!told.has(1_999), "a fresh one does not");
        assert!(!told.has(2_001));
    }
}
