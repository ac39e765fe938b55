//! ACK, NACK and `/app/ack`: whom they speak for, in which words, and when they are answered.

use super::story::{Story, secs};

/// A session that holds ntf_1 to ntf_3.
fn holding(version: &str, ack: &str) -> Story {
    let mut alice = Story::listening(version, ack);
    for id in ["ntf_1", "ntf_2", "ntf_3"] {
        alice.notify(id);
    }
    alice.sent();
    alice.asked();
    alice
}

#[test]
fn each_version_has_its_own_words() {
    for (version, ack) in [
        ("1.0", "ACK message-id:ntf_2"),
        ("1.1", "ACK subscription:sub-0 message-id:ntf_2"),
        ("1.2", "ACK id:ntf_2"),
    ] {
        let mut alice = holding(version, "client-individual");
        alice.says(&format!("{ack} receipt:r1"));
        assert_eq!(
            (alice.asked(), alice.sent()),
            (vec!["store ntf_2".into()], vec!["RECEIPT r1".into()]),
            "{version}"
        );
        assert!(!alice.record.is_open("ntf_2") && alice.record.is_open("ntf_1") && alice.record.is_open("ntf_3"));
    }
    for (version, ack) in [
        ("1.0", "ACK id:ntf_2"),
        ("1.1", "ACK message-id:ntf_2"),
        ("1.1", "ACK subscription:sub-0 id:ntf_2"),
        ("1.2", "ACK subscription:sub-0 message-id:ntf_2"),
    ] {
        let mut alice = holding(version, "client-individual");
        alice.says(&format!("{ack} receipt:r1"));
        assert_eq!(
            alice.sent(),
            ["ERROR malformed-frame receipt=r1", "close malformed-frame"],
            "{version} {ack}"
        );
        assert!(alice.record.is_open("ntf_2"));
    }
}

#[test]
fn in_mode_client_an_ack_speaks_for_all_before_it() {
    let mut alice = holding("1.2", "client");
    alice.says("ACK id:ntf_2 receipt:r1");
    assert_eq!(alice.asked(), ["store ntf_1,ntf_2"]);
    assert_eq!(alice.sent(), ["RECEIPT r1"]);
    assert_eq!(alice.sent_during(secs(5)), ["5s MESSAGE ntf_3 attempt=2"]);
    for mode in ["auto", "client-individual"] {
        let mut alice = holding("1.2", mode);
        alice.says("ACK id:ntf_2");
        assert_eq!(alice.asked(), ["store ntf_2"], "{mode}");
    }
}

#[test]
fn app_ack_speaks_for_one_in_every_mode() {
    for mode in ["auto", "client", "client-individual"] {
        let mut alice = holding("1.2", mode);
        alice.says("SEND destination:/app/ack receipt:r1 |  ntf_2\n");
        assert_eq!(
            (alice.asked(), alice.sent()),
            (vec!["store ntf_2".into()], vec!["RECEIPT r1".into()]),
            "{mode}"
        );
    }
}

#[test]
fn in_mode_client_the_ack_of_a_broadcast_speaks_for_what_came_before_it_on_the_queue() {
    let mut alice = Story::listening("1.2", "client");
    alice.says("SUBSCRIBE id:sub-1 destination:/topic/news ack:client");
    alice.notify("ntf_1");
    alice.broadcast("ntf_b");
    alice.notify("ntf_2");
    alice.topic("/topic/news", "ntf_t");
    alice.sent();
    alice.asked();
    alice.says("ACK id:ntf_t receipt:r1");
    assert_eq!(alice.asked(), [""; 0], "another queue's");
    alice.says("ACK id:ntf_b receipt:r2");
    assert_eq!(alice.asked(), ["store ntf_1"], "ntf_2 came later");
    assert_eq!(alice.sent(), ["RECEIPT r1", "RECEIPT r2"]);
}

#[test]
fn with_several_subscriptions_an_ack_is_cumulative_where_it_must_be() {
    // 1.2 names no subscription: it would be wrong for one of them.
    let mut alice = holding("1.2", "client");
    alice.says("SUBSCRIBE id:sub-1 destination:/user/queue/msg ack:client-individual");
    alice.says("ACK id:ntf_2");
    assert_eq!(alice.asked(), ["store ntf_2"]);
    for (named, stored) in [
        ("sub-0", "store ntf_1,ntf_2"),
        ("sub-1", "store ntf_2"),
        ("sub-9", "store ntf_2"),
    ] {
        let mut alice = holding("1.1", "client");
        alice.says("SUBSCRIBE id:sub-1 destination:/user/queue/msg ack:client-individual");
        alice.says(&format!("ACK subscription:{named} message-id:ntf_2"));
        assert_eq!(alice.asked(), [stored]);
    }
}

#[test]
fn nack_ends_the_resends_and_leaves_the_row() {
    for (mode, silent) in [("client-individual", 1), ("client", 2)] {
        let mut alice = holding("1.2", mode);
        alice.says("NACK id:ntf_2 receipt:r1");
        assert_eq!((alice.asked(), alice.sent()), (vec![], vec!["RECEIPT r1".into()]));
        assert_eq!(alice.sent_during(secs(5)).len(), 3 - silent, "{mode}");
        assert!(alice.record.is_open("ntf_2"));
    }
    let mut alice = holding("1.2", "client-individual");
    alice.says("NACK id:ntf_2");
    alice.says("ACK id:ntf_2 receipt:r1");
    assert_eq!(
        alice.asked(),
        ["look for ntf_2", "store ntf_2"],
        "it was told, so it may still be confirmed"
    );
    assert_eq!(alice.sent(), ["RECEIPT r1"]);
}

#[test]
fn app_ack_never_ends_a_session() {
    let mut alice = holding("1.2", "client-individual");
    alice.broadcast("ntf_b");
    alice.sent();
    let long = "x".repeat(5_000);
    for id in [
        "ntf_1",
        "ntf_1",
        "ntf_of_bob",
        "ntf_b",
        "",
        " ",
        &long,
        "a\u{1}b",
        "ntf_unknown",
    ] {
        alice.says(&format!("SEND destination:/app/ack receipt:r | {id}"));
        assert_eq!(alice.sent(), ["RECEIPT r"], "{id}");
    }
    assert_eq!(
        alice.asked(),
        ["store ntf_1", "store ntf_1", "store ntf_of_bob", "store ntf_unknown"],
        "what can be no id, or is a broadcast's, isn't looked for"
    );
    let bytes = b"SEND\ndestination:/app/ack\nreceipt:r\ncontent-length:2\n\n\xff\xfe\0";
    alice.sends(bytes);
    assert_eq!(alice.sent(), ["RECEIPT r"], "no text at all");
}

#[test]
fn an_ack_for_what_was_never_delivered_here_is_an_error_and_changes_nothing() {
    let long = "x".repeat(999);
    for frame in ["ACK", "NACK"] {
        for id in ["ntf_unknown", &long, "confirmed_before", "not_rung_yet"] {
            let mut alice = Story::connected("1.2");
            for seen in ["confirmed_before", "seen"] {
                alice.record.store(seen);
            }
            alice.record.row("confirmed_before").expect("a row").open = false;
            alice.subscribe("client-individual");
            assert_eq!(alice.sent(), ["MESSAGE seen attempt=1 replayed"]);
            alice.record.store("not_rung_yet");
            let was_open = alice.record.is_open(id);
            alice.says_all(&[
                &format!("{frame} id:{id} receipt:r1"),
                "SEND destination:/topic/open | behind",
            ]);
            assert_eq!(
                alice.sent(),
                ["ERROR unknown-message receipt=r1", "close unknown-message"],
                "{frame} {id}"
            );
            assert_eq!(alice.record.is_open(id), was_open, "{frame} {id}");
        }
    }
}

#[test]
fn what_was_delivered_here_may_be_confirmed_late_and_again() {
    let mut alice = holding("1.2", "client-individual");
    alice.advance(secs(65));
    alice.sent();
    alice.says("ACK id:ntf_2 receipt:given-up");
    alice.says("ACK id:ntf_2 receipt:again");
    assert_eq!(alice.sent(), ["RECEIPT given-up", "RECEIPT again"]);
    assert!(!alice.record.is_open("ntf_2"));
    alice.says("UNSUBSCRIBE id:sub-0");
    alice.says("ACK id:ntf_3 receipt:unsubscribed");
    alice.hold_reads = true;
    alice.subscribe("client-individual");
    alice.says("ACK id:ntf_1 receipt:subscribed-again");
    assert_eq!(alice.sent(), ["RECEIPT unsubscribed", "RECEIPT subscribed-again"]);
    assert!(!alice.record.is_open("ntf_1") && !alice.record.is_open("ntf_3"));
}

#[test]
fn what_has_no_record_may_be_confirmed_by_ack_frames_once_and_again() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.says("SUBSCRIBE id:sub-1 destination:/topic/news ack:client-individual");
    alice.whisper("ntf_w");
    alice.broadcast("ntf_b");
    alice.topic("/topic/news", "ntf_t");
    alice.sent();
    alice.asked();
    for id in ["ntf_w", "ntf_b", "ntf_t"] {
        for frame in ["ACK", "ACK", "NACK"] {
            alice.says(&format!("{frame} id:{id} receipt:r"));
            assert_eq!(alice.sent(), ["RECEIPT r"], "{frame} {id}");
        }
    }
    assert_eq!(alice.asked(), [""; 0], "the record knows nothing of them");
    assert_eq!(alice.sent_during(secs(60)), [""; 0]);
}

#[test]
fn many_broadcasts_do_not_make_the_session_forget_what_it_was_told() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.advance(secs(65));
    for n in 0..1_000 {
        alice.broadcast(&format!("ntf_b{n}"));
    }
    alice.sent();
    alice.asked();
    alice.says("ACK id:ntf_1 receipt:r1");
    assert_eq!(alice.sent(), ["RECEIPT r1"]);
    assert!(!alice.record.is_open("ntf_1"), "a receipt says that it is stored");
    alice.says("ACK id:ntf_b3 receipt:r2");
    assert_eq!(
        alice.sent(),
        ["RECEIPT r2"],
        "it was delivered, though that is forgotten"
    );
    alice.record.store("ntf_2");
    alice.says("ACK id:ntf_2");
    assert_eq!(alice.sent(), ["ERROR unknown-message", "close unknown-message"]);
}

#[test]
fn a_receipt_for_a_confirmation_comes_after_its_outcome_is_stored() {
    let mut alice = holding("1.2", "client");
    alice.hold_confirms = true;
    for frame in [
        "ACK id:ntf_1 receipt:by-ack",
        "SEND destination:/app/ack receipt:by-send | ntf_3",
        "SEND destination:/topic/open receipt:no-confirmation | hello",
    ] {
        alice.says(frame);
    }
    assert_eq!(alice.sent(), ["RECEIPT no-confirmation"]);
    alice.answer_confirms();
    assert_eq!(alice.sent(), ["RECEIPT by-ack", "RECEIPT by-send"]);
}

#[test]
fn without_a_receipt_nobody_is_told() {
    let mut alice = holding("1.2", "client-individual");
    alice.hold_confirms = true;
    alice.says("ACK id:ntf_1");
    alice.says("SEND destination:/app/ack | ntf_2");
    assert!(alice.confirms.iter().all(|confirm| confirm.ticket.is_none()));
}
