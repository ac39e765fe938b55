//! The checker: what was accepted goes in, every broken promise comes out. Proved able to fail.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

/// A receipt that a producer got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    pub id: String,
    pub receiver: String,
}

/// A row of the record.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub id: String,
    pub receiver: String,
    pub seq: i64,
    pub outcome: i64,
}

/// The tallies of the record's only lane, and how far the queue has come.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Tally {
    pub settled: i64,
    pub stored: i64,
    pub duplicates: i64,
    pub transient: i64,
    pub refused: i64,
    pub ended: i64,
}

/// The record of a server that has stopped.
pub struct Record {
    pub rows: Vec<Row>,
    pub tally: Tally,
}

impl Record {
    pub async fn read(data: &Path) -> Self {
        let mut record = open(data, "record.db").await;
        let rows = sqlx::query_as("select id, receiver, seq, outcome from notify_log order by position")
            .fetch_all(&mut record)
            .await
            .expect("the record can be read");
        let tally = sqlx::query_as(
            "select settled, stored, duplicates, transient, refused, \
             confirmed + deleted + expired + superseded + cancelled + dead as ended from lane",
        )
        .fetch_one(&mut record)
        .await
        .expect("there is a lane");
        record.close().await.expect("the record closes");
        Self { rows, tally }
    }

    /// Everything that is not as promised. `sessions` are first deliveries, each session's in the order in which it got them.
    pub fn check(&self, accepted: &[Accepted], sessions: &[Vec<(String, u64)>]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
        let mut seqs: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        for row in &self.rows {
            rows.entry(&row.id).or_default().push(row);
            seqs.entry(&row.receiver).or_default().push(row.seq);
        }
        for receipt in accepted {
            match rows.get(&*receipt.id).map(Vec::as_slice) {
                None | Some([]) => wrong.push(format!("lost: {} for {}", receipt.id, receipt.receiver)),
                Some([row]) if row.receiver != receipt.receiver => wrong.push(format!("astray: {}", receipt.id)),
                Some([_]) => {}
                Some(_) => wrong.push(format!("twice in the inbox: {}", receipt.id)),
            }
        }
        for (receiver, seqs) in &seqs {
            // In the order of commits, 1, 2, 3 … without gaps.
            if seqs.iter().zip(1..).any(|(seq, expected)| *seq != expected) {
                wrong.push(format!("{receiver}'s seq is not 1, 2, 3 …: {seqs:?}"));
            }
        }
        let open = self.rows.iter().filter(|row| row.outcome == 0).count() as i64;
        let tally = &self.tally;
        if tally.stored != tally.ended + open {
            wrong.push(format!(
                "stored {} != ended {} + open {open}",
                tally.stored, tally.ended
            ));
        }
        if tally.settled != tally.stored + tally.duplicates + tally.transient + tally.refused {
            wrong.push(format!("the queue's entries are not all accounted for: {tally:?}"));
        }
        for (index, session) in sessions.iter().enumerate() {
            for pair in session.windows(2) {
                if pair[1].1 <= pair[0].1 {
                    wrong.push(format!("session {index} got seq {} after {}", pair[1].1, pair[0].1));
                }
            }
        }
        wrong
    }
}

/// Opens a database of a server that has stopped, for looking and for planting faults.
pub async fn open(data: &Path, file: &str) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(data.join(file))
        .connect()
        .await
        .expect("the database opens")
}

fn right() -> (Record, Vec<Accepted>) {
    let row = |id: &str, receiver: &str, seq, outcome| Row {
        id: id.into(),
        receiver: receiver.into(),
        seq,
        outcome,
    };
    let record = Record {
        rows: vec![row("a", "alice", 1, 0), row("b", "bob", 1, 1), row("c", "alice", 2, 0)],
        tally: Tally {
            settled: 4,
            stored: 3,
            duplicates: 1,
            transient: 0,
            refused: 0,
            ended: 1,
        },
    };
    let accepted = record
        .rows
        .iter()
        .map(|row| Accepted {
            id: row.id.clone(),
            receiver: row.receiver.clone(),
        })
        .collect();
    (record, accepted)
}

#[test]
fn the_checker_finds_every_kind_of_fault() {
    let (record, accepted) = right();
    assert_eq!(
        record.check(&accepted, &[vec![("a".into(), 1), ("c".into(), 2)]]),
        Vec::<String>::new()
    );

    type Fault = fn(&mut Record);
    let faults: [(&str, Fault); 7] = [
        ("lost", |record| drop(record.rows.remove(1))),
        ("twice", |record| record.rows.push(record.rows[1].clone())),
        ("astray", |record| record.rows[1].receiver = "eve".into()),
        ("seq is not", |record| record.rows[2].seq = 3),
        ("seq is not", |record| record.rows.swap(0, 2)),
        ("stored", |record| record.rows[1].outcome = 0),
        ("accounted", |record| record.tally.settled = 5),
    ];
    for (word, plant) in faults {
        let (mut record, accepted) = right();
        plant(&mut record);
        let wrong = record.check(&accepted, &[]);
        assert!(
            wrong.iter().any(|fault| fault.contains(word)),
            "{word} was not found: {wrong:?}"
        );
    }
    let swapped = vec![("c".into(), 2), ("a".into(), 1)];
    assert!(
        !record.check(&accepted, &[swapped]).is_empty(),
        "a swap in a session was not found"
    );
}
