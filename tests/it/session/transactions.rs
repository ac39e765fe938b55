//! BEGIN, COMMIT and ABORT.

use quick_notify::session::Config;

use super::story::Story;

#[test]
fn what_stands_in_a_transaction_waits_for_its_commit() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.notify("ntf_2");
    alice.notify("ntf_3");
    alice.sent();
    alice.asked();
    alice.hold_confirms = true;
    for frame in [
        "BEGIN transaction:t receipt:r1",
        "SEND transaction:t destination:/topic/open receipt:r2 | one",
        "ACK transaction:t id:ntf_1 receipt:r3",
        "NACK transaction:t id:ntf_2",
        "SEND transaction:t destination:/app/ack | ntf_3",
    ] {
        alice.says(frame);
    }
    assert_eq!(alice.sent(), ["RECEIPT r1", "RECEIPT r2", "RECEIPT r3"]);
    assert_eq!(alice.asked(), [""; 0]);
    alice.says("COMMIT transaction:t receipt:r4");
    assert_eq!(alice.asked(), ["publish /topic/open", "store ntf_1", "store ntf_3"]);
    assert_eq!(alice.sent(), [""; 0], "not stored yet");
    alice.answer_confirms();
    assert_eq!(alice.sent(), ["RECEIPT r4"]);
    assert!(alice.record.is_open("ntf_2"));
}

#[test]
fn what_was_aborted_never_happened() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.asked();
    alice.says_all(&[
        "BEGIN transaction:t",
        "ACK transaction:t id:ntf_1",
        "SEND transaction:t destination:/topic/open | one",
        "ABORT transaction:t receipt:r1",
    ]);
    assert_eq!(alice.sent().last().map(String::as_str), Some("RECEIPT r1"));
    alice.advance(super::story::secs(5));
    assert_eq!(
        (alice.sent(), alice.asked()),
        (vec!["MESSAGE ntf_1 attempt=2".into()], vec![])
    );
    alice.says("BEGIN transaction:t receipt:r2");
    assert_eq!(alice.sent(), ["RECEIPT r2"], "its name is free again");
}

#[test]
fn transactions_do_not_mix() {
    let mut alice = Story::connected("1.2");
    for frame in [
        "BEGIN transaction:a",
        "BEGIN transaction:b",
        "SEND transaction:a destination:/topic/open.a | 1",
        "SEND transaction:b destination:/topic/open.b | 2",
        "SEND transaction:a destination:/topic/open.c | 3",
        "ABORT transaction:b",
        "COMMIT transaction:a",
    ] {
        alice.says(frame);
    }
    assert_eq!(alice.asked(), ["publish /topic/open.a", "publish /topic/open.c"]);
}

#[test]
fn what_is_open_at_the_end_is_aborted() {
    let mut alice = Story::connected("1.2");
    alice.says_all(&[
        "BEGIN transaction:t",
        "SEND transaction:t destination:/topic/open | 1",
        "DISCONNECT receipt:bye",
    ]);
    assert_eq!(
        (alice.sent(), alice.asked()),
        (vec!["RECEIPT bye".into(), "close bye".into()], vec![])
    );
}

#[test]
fn a_commit_is_all_or_nothing() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.sent();
    alice.asked();
    alice.says_all(&[
        "BEGIN transaction:t",
        "SEND transaction:t destination:/topic/open | 1",
        "ACK transaction:t id:ntf_1",
        "SEND transaction:t destination:/user/bob/queue/msg | forged",
        "COMMIT transaction:t receipt:r1",
    ]);
    assert_eq!(
        alice.sent(),
        ["ERROR forbidden-destination receipt=r1", "close forbidden-destination"]
    );
    assert_eq!(alice.asked(), [""; 0], "nothing was published, nothing is stored");
    assert!(alice.record.is_open("ntf_1"));
}

#[test]
fn a_commit_that_confirms_what_was_never_delivered_is_an_error_with_its_receipt() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.says_all(&[
        "BEGIN transaction:t",
        "ACK transaction:t id:ntf_unknown",
        "ACK transaction:t id:ntf_unknown_too",
        "COMMIT transaction:t receipt:r1",
    ]);
    assert_eq!(
        alice.sent(),
        ["ERROR unknown-message receipt=r1", "close unknown-message"]
    );
}

#[test]
fn names_must_be_known_and_new() {
    for frames in [
        &["BEGIN transaction:t", "BEGIN transaction:t receipt:r1"][..],
        &["COMMIT transaction:t receipt:r1"],
        &["ABORT transaction:t receipt:r1"],
        &["SEND transaction:t destination:/topic/open receipt:r1"],
        &["ACK transaction:t id:ntf_1 receipt:r1"],
        &[
            "BEGIN transaction:t",
            "COMMIT transaction:t",
            "COMMIT transaction:t receipt:r1",
        ],
    ] {
        let mut alice = Story::connected("1.2");
        alice.says_all(frames);
        assert_eq!(
            alice.sent(),
            ["ERROR bad-state receipt=r1", "close bad-state"],
            "{frames:?}"
        );
    }
}

#[test]
fn so_much_and_no_more() {
    let config = Config {
        max_transactions: 2,
        max_transaction_frames: 3,
        max_transaction_bytes: 1_000,
        ..Config::default()
    };
    let body = format!(
        "SEND transaction:a destination:/topic/open receipt:r1 | {}",
        "x".repeat(950)
    );
    let small = "SEND transaction:a destination:/topic/open receipt:r1 | x";
    for (frames, limit) in [
        (
            vec!["BEGIN transaction:b", "BEGIN transaction:c receipt:r1"],
            "session.max_transactions",
        ),
        (vec![small, small, small, small], "session.max_transaction_frames"),
        (vec![&*body, small], "session.max_transaction_bytes"),
        (
            vec![
                "BEGIN transaction:b",
                &*body,
                "SEND transaction:b destination:/topic/open receipt:r1 | x",
            ],
            "session.max_transaction_bytes",
        ),
    ] {
        let mut alice = Story::connected_with("1.2", &config);
        alice.says("BEGIN transaction:a");
        alice.says_all(&frames);
        let sent = alice.sent();
        assert_eq!(
            sent[sent.len() - 2..],
            ["ERROR limit-exceeded receipt=r1", "close limit-exceeded"],
            "{limit}"
        );
        assert!(
            alice.header("message").is_some_and(|message| message.contains(limit)),
            "{limit}"
        );
    }
    let mut alice = Story::connected_with("1.2", &config);
    for _ in 0..50 {
        alice.says_all(&["BEGIN transaction:a", small, small, "COMMIT transaction:a"]);
        alice.says_all(&["BEGIN transaction:a", small, small, small, "ABORT transaction:a"]);
    }
    assert!(!alice.is_closed(), "what has ended counts no more");
}
