//! What was found, in numbers.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::{Accepted, Record, Session};

/// Something that the nemesis did, and when, in milliseconds of the epoch.
#[derive(Debug, Clone)]
pub struct Fault {
    pub what: String,
    pub from: i64,
    pub to: i64,
}

#[derive(Debug, Default)]
pub struct Figures {
    pub accepted: usize,
    pub stored: i64,
    pub delivered: usize,
    pub acked: i64,
    /// Entries that the record knew already; not one of them is in the inbox twice.
    pub duplicates: i64,
    /// Deliveries of an id to a device that had it: allowed.
    pub repeated: usize,
    /// Accepted and not in the record.
    pub lost: usize,
    /// In the record twice.
    pub twice: usize,
    /// Places that nobody has.
    pub gaps: i64,
    pub faults: Vec<Told>,
    /// The longest delay of what was accepted in nobody's shadow.
    pub in_peace: i64,
    /// The 99th percentile of all.
    pub p99: i64,
}

/// One kind of fault: how often, for how long at most, and the longest delay of what it touched, in milliseconds.
#[derive(Debug)]
pub struct Told {
    pub what: String,
    pub times: usize,
    pub lasted: i64,
    pub delay: i64,
}

/// What is accepted before this has passed since a fault's end is put down to the fault.
const SHADOW_MS: i64 = 2_000;

/// What was accepted this long before a fault and had not arrived is put down to it, too.
const LEAD_MS: i64 = 1_000;

impl Record {
    pub fn figures(&self, accepted: &[Accepted], sessions: &[Session], faults: &[Fault]) -> Figures {
        let mut rows: HashMap<&str, usize> = HashMap::new();
        let mut places: HashMap<&str, HashSet<i64>> = HashMap::new();
        for row in &self.rows {
            *rows.entry(&row.id).or_default() += 1;
            places.entry(&row.receiver).or_default().insert(row.seq);
        }
        let mut had: HashSet<(&str, Option<&str>, &str)> = HashSet::new();
        let mut first: HashMap<&str, (i64, i64)> = HashMap::new();
        let mut heard_in_all = 0;
        for session in sessions {
            for heard in &session.heard {
                heard_in_all += 1;
                had.insert((&session.user, session.resumes.as_deref(), &heard.id));
                let (_, at) = first.entry(&heard.id).or_insert((heard.created, heard.at));
                *at = (*at).min(heard.at);
            }
        }
        let mut figures = Figures {
            accepted: accepted.len(),
            stored: self.tally.stored,
            delivered: first.len(),
            acked: self.tally.ended,
            duplicates: self.tally.duplicates,
            repeated: heard_in_all - had.len(),
            lost: accepted
                .iter()
                .filter(|receipt| !rows.contains_key(&*receipt.id))
                .count(),
            twice: rows.values().filter(|count| **count > 1).count(),
            gaps: places.values().map(gaps).sum(),
            ..Figures::default()
        };
        figures.delays(first.into_values().collect(), faults);
        figures
    }
}

/// How many places below the last one nobody has.
fn gaps(places: &HashSet<i64>) -> i64 {
    let last = places.iter().max().copied().unwrap_or_default();
    (1..=last).filter(|place| !places.contains(place)).count() as i64
}

impl Figures {
    /// `first`: when each was accepted, and when the first device got it.
    fn delays(&mut self, first: Vec<(i64, i64)>, faults: &[Fault]) {
        let mut all: Vec<i64> = first.iter().map(|(created, at)| at - created).collect();
        all.sort_unstable();
        self.p99 = all.get(all.len() * 99 / 100).copied().unwrap_or_default();
        for (created, at) in first {
            let delay = at - created;
            let touched =
                |fault: &&Fault| created >= fault.from - LEAD_MS && created <= fault.to + SHADOW_MS && at >= fault.from;
            match faults.iter().rev().find(touched) {
                Some(fault) => {
                    let told = self.told(fault);
                    told.delay = told.delay.max(delay);
                }
                None => self.in_peace = self.in_peace.max(delay),
            }
        }
        for fault in faults {
            let told = self.told(fault);
            told.times += 1;
            told.lasted = told.lasted.max(fault.to - fault.from);
        }
        self.faults.sort_by(|a, b| a.what.cmp(&b.what));
    }

    fn told(&mut self, fault: &Fault) -> &mut Told {
        let known = self.faults.iter().position(|told| told.what == fault.what);
        let index = known.unwrap_or_else(|| {
            self.faults.push(Told {
                what: fault.what.clone(),
                times: 0,
                lasted: 0,
                delay: 0,
            });
            self.faults.len() - 1
        });
        &mut self.faults[index]
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            stored,
            delivered,
            acked,
            duplicates,
            repeated,
            lost,
            twice,
            gaps,
            ..
        } = self;
        writeln!(
            f,
            "accepted {accepted}, stored {stored}, delivered {delivered}, confirmed {acked}"
        )?;
        writeln!(f, "lost {lost}, twice in the inbox {twice}, gaps in seq {gaps}")?;
        writeln!(
            f,
            "entries the record knew {duplicates}, deliveries to a device that had it {repeated}"
        )?;
        writeln!(
            f,
            "p99 from acceptance to a device {} ms, longest without a fault {} ms",
            self.p99, self.in_peace
        )?;
        writeln!(
            f,
            "{:<44} {:>5} {:>11} {:>16}",
            "fault", "times", "lasted, ms", "longest delay, ms"
        )?;
        for told in &self.faults {
            writeln!(
                f,
                "{:<44} {:>5} {:>11} {:>16}",
                told.what, told.times, told.lasted, told.delay
            )?;
        }
        Ok(())
    }
}
