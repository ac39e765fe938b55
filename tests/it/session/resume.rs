//! The place in the inbox: what was stored before, what is rung, and what the record has to be asked for.

use quick_notify::session::Config;

use super::story::{Story, secs};

fn connected_to(rows: usize, config: &Config) -> Story {
    let mut alice = Story::connected_with("1.2", config);
    (1..=rows).for_each(|n| {
        alice.record.store(&format!("ntf_{n}"));
    });
    alice
}

fn resumes(alice: &mut Story, last_seq: &str) {
    alice.says(&format!(
        "SUBSCRIBE id:sub-0 destination:/user/queue/msg ack:client-individual last-seq:{last_seq}"
    ));
}

#[test]
fn what_no_session_confirmed_comes_first_then_what_is_rung() {
    let mut alice = connected_to(4, &Config::default());
    alice.record.row("ntf_2").expect("a row").open = false;
    alice.record.row("ntf_3").expect("a row").deleted = true;
    alice.says("SUBSCRIBE id:sub-0 destination:/user/queue/msg ack:client-individual receipt:r1");
    assert_eq!(alice.asked(), ["read 256 after 0"]);
    assert_eq!(
        alice.sent(),
        [
            "RECEIPT r1",
            "MESSAGE ntf_1 attempt=1 replayed",
            "MESSAGE ntf_4 attempt=1 replayed"
        ]
    );
    assert_eq!(alice.header("seq"), Some("4"));
    alice.notify("ntf_5");
    assert_eq!(alice.sent(), ["MESSAGE ntf_5 attempt=1"]);
    assert_eq!(alice.header("seq"), Some("5"));
    assert_eq!(alice.asked(), [""; 0], "a bell for the next one is delivered as it is");
}

#[test]
fn last_seq_gives_all_that_is_kept_behind_it_and_what_is_unconfirmed_before_it() {
    let mut alice = connected_to(5, &Config::default());
    for confirmed in ["ntf_1", "ntf_3", "ntf_4"] {
        alice.record.row(confirmed).expect("a row").open = false;
    }
    resumes(&mut alice, "3");
    assert_eq!(alice.asked(), ["read 256 after 0, all after 3"]);
    let ids = ["ntf_2", "ntf_4", "ntf_5"].map(|id| format!("MESSAGE {id} attempt=1 replayed"));
    assert_eq!(alice.sent(), ids);
}

#[test]
fn last_seq_0_gives_everything_and_the_last_one_nothing() {
    let mut alice = connected_to(3, &Config::default());
    alice.record.rows.iter_mut().for_each(|row| row.open = false);
    resumes(&mut alice, "0");
    assert_eq!(alice.sent().len(), 3);
    let mut alice = connected_to(3, &Config::default());
    alice.record.rows.iter_mut().for_each(|row| row.open = false);
    resumes(&mut alice, "3");
    assert_eq!(alice.sent(), [""; 0]);
    alice.notify("ntf_4");
    assert_eq!(alice.sent(), ["MESSAGE ntf_4 attempt=1"]);
}

#[test]
fn a_session_that_listens_hears_what_another_one_confirmed_meanwhile() {
    let mut alice = connected_to(1, &Config::default());
    alice.subscribe("client-individual");
    alice.sent();
    // Its bell is lost; another session of hers confirms it.
    alice.record.store("ntf_2");
    alice.record.row("ntf_2").expect("a row").open = false;
    alice.notify("ntf_3");
    assert_eq!(alice.sent(), ["MESSAGE ntf_2 attempt=1", "MESSAGE ntf_3 attempt=1"]);
}

#[test]
fn bells_beyond_the_next_one_ask_the_record_and_old_ones_do_nothing() {
    let mut alice = connected_to(0, &Config::default());
    alice.subscribe("client-individual");
    alice.asked();
    for id in ["ntf_1", "ntf_2", "ntf_3"] {
        alice.record.store(id);
    }
    alice.bell(3);
    assert_eq!(alice.asked(), ["read 256 after 0, all after 0"]);
    let all = ["ntf_1", "ntf_2", "ntf_3"].map(|id| format!("MESSAGE {id} attempt=1"));
    assert_eq!(alice.sent(), all);
    for seq in [1, 3, 2, 2] {
        alice.bell(seq);
    }
    assert_eq!((alice.sent(), alice.asked()), (vec![], vec![]));
}

#[test]
fn holes_are_closed_by_the_records_answer() {
    let mut alice = connected_to(0, &Config::default());
    alice.subscribe("client-individual");
    for id in ["ntf_1", "ntf_2", "ntf_3"] {
        alice.record.store(id);
    }
    alice.record.row("ntf_1").expect("a row").deleted = true;
    alice.record.row("ntf_3").expect("a row").deleted = true;
    alice.bell(3);
    assert_eq!(alice.sent(), ["MESSAGE ntf_2 attempt=1"]);
    alice.asked();
    alice.notify("ntf_4");
    assert_eq!(
        (alice.sent(), alice.asked()),
        (vec!["MESSAGE ntf_4 attempt=1".into()], vec![])
    );
}

#[test]
fn while_a_page_is_read_bells_are_only_noted() {
    let mut alice = connected_to(2, &Config::default());
    alice.hold_reads = true;
    alice.subscribe("client-individual");
    let page = alice.record.page(alice.read.take().expect("a read"));
    alice.notify("ntf_3");
    alice.notify("ntf_4");
    assert_eq!((alice.sent(), alice.asked().len()), (vec![], 1));
    alice.give_page(Some(page));
    assert_eq!(
        alice.sent(),
        ["MESSAGE ntf_1 attempt=1 replayed", "MESSAGE ntf_2 attempt=1 replayed"]
    );
    assert_eq!(
        alice.asked(),
        ["read 254 after 2, all after 2"],
        "what was rung meanwhile"
    );
    alice.answer_read();
    assert_eq!(alice.sent(), ["MESSAGE ntf_3 attempt=1", "MESSAGE ntf_4 attempt=1"]);
    assert_eq!(alice.asked(), [""; 0]);
}

#[test]
fn bells_for_what_the_page_already_holds_do_not_read_again() {
    let mut alice = connected_to(2, &Config::default());
    alice.hold_reads = true;
    alice.subscribe("client-individual");
    alice.notify("ntf_3");
    alice.answer_read();
    assert_eq!(alice.sent().len(), 3);
    assert_eq!(alice.asked(), ["read 256 after 0"]);
    alice.bell(3);
    assert_eq!(alice.sent(), [""; 0]);
}

#[test]
fn missed_bells_are_looked_up() {
    let mut alice = connected_to(0, &Config::default());
    alice.subscribe("client-individual");
    alice.record.store("ntf_1");
    alice.record.store("ntf_2");
    alice.asked();
    alice.missed(2);
    assert_eq!(alice.asked(), ["read 256 after 0, all after 0"]);
    assert_eq!(alice.sent(), ["MESSAGE ntf_1 attempt=1", "MESSAGE ntf_2 attempt=1"]);
    alice.missed(2);
    assert_eq!(alice.asked(), [""; 0]);
}

#[test]
fn an_inbox_larger_than_the_window_comes_in_pages() {
    let config = Config {
        window: 2,
        ..Config::default()
    };
    let mut alice = connected_to(5, &config);
    alice.subscribe("client-individual");
    alice.notify("ntf_6");
    assert_eq!(alice.asked(), ["read 2 after 0"]);
    let mut seen = alice.sent();
    for n in 1..=6 {
        alice.says(&format!("ACK id:ntf_{n}"));
        seen.extend(alice.sent());
    }
    let expected: Vec<_> = (1..=6)
        .map(|n| format!("MESSAGE ntf_{n} attempt=1{}", if n <= 5 { " replayed" } else { "" }))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn pages_keep_what_the_client_asked_for() {
    let config = Config {
        window: 1,
        ..Config::default()
    };
    let mut alice = connected_to(4, &config);
    alice.record.row("ntf_1").expect("a row").open = false;
    alice.record.row("ntf_3").expect("a row").open = false;
    alice.record.row("ntf_4").expect("a row").open = false;
    resumes(&mut alice, "2");
    let mut seen = alice.sent();
    for id in ["ntf_2", "ntf_3", "ntf_4"] {
        alice.says(&format!("ACK id:{id}"));
        seen.extend(alice.sent());
    }
    assert_eq!(
        seen,
        ["ntf_2", "ntf_3", "ntf_4"].map(|id| format!("MESSAGE {id} attempt=1 replayed"))
    );
}

#[test]
fn a_resume_from_what_retention_removed_says_from_where_it_can() {
    let mut alice = connected_to(9, &Config::default());
    alice.record.retain_after(6);
    resumes(&mut alice, "4");
    let sent = alice.sent();
    assert_eq!(
        sent[1..],
        ["ntf_7", "ntf_8", "ntf_9"].map(|id| format!("MESSAGE {id} attempt=1 replayed"))
    );
    let body: serde_json::Value = serde_json::from_slice(&alice.frames[1].body).expect("JSON");
    assert_eq!(
        (&body["type"], body["data"].to_string()),
        (&"REPLAY_GAP".into(), r#"{"from":7,"requested":4}"#.into())
    );
    let mut alice = connected_to(9, &Config::default());
    alice.record.retain_after(6);
    resumes(&mut alice, "6");
    assert_eq!(alice.sent().len(), 3, "nothing is missing behind 6");
}

#[test]
fn a_resume_from_what_was_never_there_begins_anew() {
    for rows in [0, 3] {
        let mut alice = connected_to(rows, &Config::default());
        alice.record.rows.iter_mut().for_each(|row| row.open = false);
        resumes(&mut alice, "7");
        let sent = alice.sent();
        assert_eq!(sent.len(), rows + 1, "{sent:?}");
        let body: serde_json::Value = serde_json::from_slice(&alice.frames[1].body).expect("JSON");
        assert_eq!(body["data"].to_string(), r#"{"from":1,"requested":7}"#);
        alice.notify("ntf_new");
        assert_eq!(alice.sent(), ["MESSAGE ntf_new attempt=1"]);
    }
}

#[test]
fn a_read_that_failed_is_tried_again_a_second_later() {
    let mut alice = connected_to(2, &Config::default());
    alice.hold_reads = true;
    resumes(&mut alice, "7");
    assert_eq!(alice.asked(), ["read 256 after 0, all after 7"]);
    alice.fail_read();
    alice.notify("ntf_3");
    alice.missed(3);
    assert_eq!(alice.asked(), [""; 0], "not at once");
    alice.advance(secs(1));
    assert_eq!(
        alice.asked(),
        ["read 256 after 0, all after 7"],
        "what the client asked for still holds"
    );
    alice.fail_read();
    alice.advance(secs(1));
    alice.hold_reads = false;
    alice.answer_read();
    assert_eq!(alice.sent().len(), 4, "the gap and all three");
}

#[test]
fn no_bell_of_a_user_who_does_not_listen_is_kept() {
    let mut alice = Story::connected("1.2");
    alice.notify("ntf_1");
    alice.whisper("ntf_w");
    alice.broadcast("ntf_b");
    alice.missed(1);
    alice.give_page(None);
    assert_eq!((alice.sent(), alice.asked()), (vec![], vec![]));
}

#[test]
fn last_seq_must_be_a_number() {
    for bad in ["x", "", "1.5", "-1"] {
        let mut alice = Story::connected("1.2");
        resumes(&mut alice, bad);
        assert_eq!(
            alice.sent(),
            ["ERROR malformed-frame", "close malformed-frame"],
            "{bad}"
        );
    }
}
