//! Whatever happens in whatever order: each session's first deliveries are in the order of the inbox, none is skipped while it is kept, and none
//! is made twice.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use quick_notify::session::{Config, PageRead};

use super::story::{Story, secs};

#[derive(Clone, Debug)]
enum Step {
    /// Stored, and rung at once or not at all.
    Store {
        rings: bool,
    },
    /// A bell of something that is in the record: late, twice, out of order.
    Ring(Index),
    /// Bells were lost to a full mailbox.
    Miss,
    Whisper,
    /// The record reads the page that is asked for; the session gets it later.
    ReadPage,
    GivePage,
    FailPage,
    /// Of what was delivered.
    Ack(Index),
    Nack(Index),
    AppAck(Index),
    /// By another session, or by REST.
    ConfirmElsewhere(Index),
    Delete(Index, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => any::<bool>().prop_map(|rings| Step::Store { rings }),
        3 => any::<Index>().prop_map(Step::Ring),
        1 => Just(Step::Miss),
        1 => Just(Step::Whisper),
        3 => Just(Step::ReadPage),
        3 => Just(Step::GivePage),
        1 => Just(Step::FailPage),
        3 => any::<Index>().prop_map(Step::Ack),
        1 => any::<Index>().prop_map(Step::Nack),
        2 => any::<Index>().prop_map(Step::AppAck),
        2 => any::<Index>().prop_map(Step::ConfirmElsewhere),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(index, told)| Step::Delete(index, told)),
        2 => (0..40_u64).prop_map(Step::Wait),
    ]
}

struct World {
    alice: Story,
    page: Option<PageRead>,
    delivered: Vec<String>,
    /// Not to be expected for certain: it was confirmed or deleted before it was delivered.
    excused: BTreeSet<String>,
    stored: usize,
}

impl World {
    fn new(mode: &str, window: usize, before: usize, last_seq: Option<u64>) -> Self {
        let config = Config {
            window,
            ..Config::default()
        };
        let mut alice = Story::connected_with("1.2", &config);
        alice.hold_reads = true;
        for n in 0..before {
            alice.record.store(&format!("row{n}"));
        }
        let resume = last_seq.map_or(String::new(), |seq| format!(" last-seq:{seq}"));
        alice.says(&format!(
            "SUBSCRIBE id:sub-0 destination:/user/queue/msg ack:{mode}{resume}"
        ));
        Self {
            alice,
            page: None,
            delivered: Vec::new(),
            excused: BTreeSet::new(),
            stored: before,
        }
    }

    fn step(&mut self, step: &Step) {
        let any_row = |alice: &Story, index: &Index| {
            let rows = &alice.record.rows;
            (!rows.is_empty()).then(|| rows[index.index(rows.len())].clone())
        };
        let any_delivered = |delivered: &[String], index: &Index| {
            (!delivered.is_empty()).then(|| delivered[index.index(delivered.len())].clone())
        };
        match step {
            Step::Store { rings } => {
                let seq = self.alice.record.store(&format!("row{}", self.stored));
                self.stored += 1;
                if *rings {
                    self.alice.bell(seq);
                }
            }
            Step::Ring(index) => {
                if let Some(row) = any_row(&self.alice, index) {
                    self.alice.bell(row.seq);
                }
            }
            Step::Miss => self.alice.missed(self.alice.record.last_seq),
            Step::Whisper => self.alice.whisper("whisper"),
            Step::ReadPage => {
                self.page = self
                    .alice
                    .read
                    .map(|read| self.alice.record.page(read))
                    .or(self.page.take())
            }
            Step::GivePage => {
                if let Some(page) = self.page.take() {
                    self.alice.read = None;
                    self.alice.give_page(Some(page));
                }
            }
            Step::FailPage => {
                if self.alice.read.is_some() {
                    self.page = None;
                    self.alice.fail_read();
                }
            }
            Step::Ack(index) | Step::Nack(index) | Step::AppAck(index) => {
                if let Some(id) = any_delivered(&self.delivered, index) {
                    self.alice.says(&match step {
                        Step::Ack(_) => format!("ACK id:{id}"),
                        Step::Nack(_) => format!("NACK id:{id}"),
                        _ => format!("SEND destination:/app/ack | {id}"),
                    });
                }
            }
            Step::ConfirmElsewhere(index) => {
                if let Some(row) = any_row(&self.alice, index) {
                    self.alice.record.row(&row.id).expect("a row").open = false;
                    self.excused.insert(row.id);
                }
            }
            Step::Delete(index, told) => {
                if let Some(row) = any_row(&self.alice, index).filter(|row| !row.deleted) {
                    if *told {
                        self.alice.deletes(&[&row.id]);
                    } else {
                        let row = self.alice.record.row(&row.id).expect("a row");
                        (row.deleted, row.open) = (true, false);
                    }
                    self.excused.insert(row.id);
                }
            }
            Step::Wait(seconds) => self.alice.advance(secs(*seconds)),
        }
        self.look();
    }

    fn look(&mut self) {
        for line in self.alice.sent() {
            assert!(!line.starts_with("ERROR") && !line.starts_with("close"), "{line}");
            if let Some(id) = line
                .strip_prefix("MESSAGE row")
                .and_then(|rest| rest.split_once(" attempt=1"))
            {
                // "attempt=1" is also how "attempt=12" begins.
                if id.1.is_empty() || id.1.starts_with(' ') {
                    self.delivered.push(format!("row{}", id.0));
                }
            }
        }
    }

    /// All is answered, everything is confirmed as it comes, and the last bell is heard.
    fn settle(&mut self) {
        if let Some(page) = self.page.take() {
            self.alice.read = None;
            self.alice.give_page(Some(page));
        }
        self.alice.hold_reads = false;
        if self.alice.read.is_some() {
            self.alice.answer_read();
        }
        self.alice.missed(self.alice.record.last_seq);
        self.alice.advance(secs(2));
        self.look();
        let mut confirmed = 0;
        while confirmed < self.delivered.len() {
            let id = self.delivered[confirmed].clone();
            self.alice.says(&format!("ACK id:{id}"));
            confirmed += 1;
            self.look();
        }
    }
}

fn place(id: &str) -> u64 {
    id[3..].parse::<u64>().expect("a number") + 1
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn first_deliveries_are_in_order_complete_and_made_once(
        mode in prop_oneof![Just("client"), Just("client-individual"), Just("auto")],
        window in prop_oneof![1..4_usize, Just(256)],
        before in 0..8_usize,
        last_seq in proptest::option::of(0..10_u64),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut world = World::new(mode, window, before, last_seq);
        steps.iter().for_each(|step| world.step(step));
        world.settle();
        let places: Vec<_> = world.delivered.iter().map(|id| place(id)).collect();
        prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "out of order, or twice: {places:?}");
        for row in &world.alice.record.rows {
            prop_assert!(
                places.contains(&row.seq) || world.excused.contains(&row.id),
                "{} was skipped: {places:?}", row.id
            );
            // What was kept and lies behind last-seq comes even if somebody else confirmed it.
            let resumed = last_seq.is_some_and(|last| row.seq > last && last <= before as u64);
            prop_assert!(!resumed || row.deleted || places.contains(&row.seq), "{} lies behind last-seq", row.id);
        }
    }
}
