//! The checker is shown each kind of fault, and has to find it.

use super::{Accepted, Fault, Heard, QueueEnd, Record, Row, Session, Tally};

struct World {
    record: Record,
    accepted: Vec<Accepted>,
    sessions: Vec<Session>,
}

fn right() -> World {
    let row = |id: &str, receiver: &str, seq, outcome| Row {
        id: id.into(),
        receiver: receiver.into(),
        seq,
        outcome,
    };
    let rows = vec![
        row("a", "alice", 1, 0),
        row("b", "bob", 1, 1),
        row("c", "alice", 2, 0),
        row("d", "alice", 3, 1),
    ];
    let accepted = rows.iter().zip(0..).map(|(row, turn)| Accepted {
        id: row.id.clone(),
        receiver: row.receiver.clone(),
        turn: Some((1, turn)),
    });
    let accepted = accepted.collect();
    let heard = |id: &str, seq, attempt| Heard {
        id: id.into(),
        seq,
        attempt,
        replayed: false,
        created: 1_000,
        at: 1_010,
    };
    let phone = Session {
        user: "alice".into(),
        resumes: Some("phone".into()),
        heard: vec![heard("a", 1, 1), heard("c", 2, 1), heard("a", 1, 2), heard("d", 3, 1)],
        confirmed: vec!["d".into()],
    };
    let tally = Tally {
        settled: 5,
        stored: 4,
        duplicates: 1,
        ended: 2,
        ..Tally::default()
    };
    World {
        record: Record {
            rows,
            tally,
            queue: QueueEnd::OneLane,
        },
        accepted,
        sessions: vec![phone],
    }
}

#[test]
fn the_checker_finds_every_kind_of_fault() {
    let World {
        record,
        accepted,
        sessions,
    } = right();
    assert_eq!(record.check(&accepted, &sessions), Vec::<String>::new());

    type Plant = fn(&mut World);
    let faults: [(&str, Plant); 13] = [
        ("lost: b", |world| drop(world.record.rows.remove(1))),
        ("twice", |world| world.record.rows.push(world.record.rows[1].clone())),
        ("astray", |world| world.record.rows[1].receiver = "eve".into()),
        ("seq is not", |world| world.record.rows[3].seq = 4),
        ("seq is not", |world| world.record.rows.swap(0, 2)),
        ("stored", |world| world.record.rows[1].outcome = 0),
        ("accounted", |world| world.record.tally.settled = 6),
        ("accounted", |world| {
            world.record.queue = QueueEnd::Asked {
                last_sequence: 7,
                pending: 1,
            }
        }),
        ("swapped", |world| {
            let rows = &mut world.record.rows;
            (rows[0].id, rows[2].id) = (rows[2].id.clone(), rows[0].id.clone());
        }),
        ("got seq 1 after 2", |world| world.sessions[0].heard.swap(0, 1)),
        ("has a gap: 3 after 1", |world| drop(world.sessions[0].heard.remove(1))),
        ("never got c", |world| world.sessions[0].heard[1].id = "a".into()),
        ("confirmed and yet open", |world| {
            world.sessions[0].confirmed.push("a".into())
        }),
    ];
    for (word, plant) in faults {
        let mut world = right();
        plant(&mut world);
        let wrong = world.record.check(&world.accepted, &world.sessions);
        assert!(
            wrong.iter().any(|fault| fault.contains(word)),
            "{word} was not found: {wrong:?}"
        );
    }
}

#[test]
fn the_figures_count_each_kind_of_fault_and_the_longest_delay_after_it() {
    let World {
        mut record,
        mut accepted,
        mut sessions,
    } = right();
    record.rows.push(record.rows[1].clone());
    accepted.push(Accepted {
        id: "e".into(),
        receiver: "alice".into(),
        turn: None,
    });
    record.rows[3].seq = 4;
    sessions[0].heard[3].created = 5_000;
    sessions[0].heard[3].at = 8_000;
    let faults = [(4_000, 7_000), (20_000, 21_000)].map(|(from, to)| Fault {
        what: "Redis killed".into(),
        from,
        to,
    });
    let figures = record.figures(&accepted, &sessions, &faults);
    assert_eq!(
        (figures.accepted, figures.lost, figures.twice, figures.gaps),
        (5, 1, 1, 1)
    );
    assert_eq!((figures.delivered, figures.repeated), (3, 1));
    let told = &figures.faults[0];
    assert_eq!((told.times, told.lasted, told.delay), (2, 3_000, 3_000));
    assert_eq!(figures.in_peace, 10);
}
