//! How a session ends, and what is no longer done then.

use quick_notify::session::{Disconnect, Reason};

use super::story::{Story, secs};

#[test]
fn disconnect_is_answered_and_nothing_behind_it_is_read() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.asked();
    alice.says_all(&["DISCONNECT receipt:bye", "SEND destination:/topic/open | behind"]);
    assert_eq!(alice.sent(), ["RECEIPT bye", "close bye"]);
    assert_eq!(alice.asked(), [""; 0]);
    assert!(!alice.session.wants_input());
    assert!(alice.session.poll_timeout().is_none());
    let mut alice = Story::connected("1.2");
    alice.says("DISCONNECT");
    assert_eq!(alice.sent(), ["close bye"]);
}

#[test]
fn disconnect_waits_for_the_outcomes() {
    for receipt in ["", " receipt:r1"] {
        let mut alice = Story::listening("1.2", "client-individual");
        alice.notify("ntf_1");
        alice.notify("ntf_2");
        alice.sent();
        alice.hold_confirms = true;
        alice.says(&format!("ACK id:ntf_1{receipt}"));
        alice.says("DISCONNECT receipt:bye");
        assert_eq!(alice.sent(), [""; 0], "not stored yet");
        alice.notify("ntf_3");
        alice.advance(secs(4));
        assert_eq!(alice.sent(), [""; 0], "nothing is delivered to who said goodbye");
        alice.answer_confirms();
        let sent = alice.sent();
        assert_eq!(sent[sent.len() - 2..], ["RECEIPT bye", "close bye"]);
        assert!(!alice.record.is_open("ntf_1"));
    }
}

#[test]
fn disconnect_does_not_wait_for_ever_and_does_not_lie_either() {
    let mut alice = Story::listening("1.2", "client-individual");
    alice.notify("ntf_1");
    alice.sent();
    alice.hold_confirms = true;
    alice.says("ACK id:ntf_1 receipt:r1");
    alice.says("DISCONNECT receipt:bye");
    assert_eq!(
        alice.sent_during(secs(60)),
        ["5s ERROR unavailable receipt=bye", "5s close unavailable"]
    );
}

#[test]
fn nothing_behind_a_bad_frame_is_processed() {
    let behind = "SEND\ndestination:/topic/open\n\nbehind\0";
    for (bad, code) in [
        ("HELLO\n\n\0", "malformed-frame"),
        ("SEND\nno colon\n\n\0", "malformed-frame"),
        ("SEND\ndestination:\\t\n\n\0", "malformed-frame"),
        ("SEND\ncontent-length:x\n\n\0", "malformed-frame"),
        ("SEND\n\nno destination\0", "malformed-frame"),
        ("SUBSCRIBE\nid:1\n\n\0", "malformed-frame"),
        ("SUBSCRIBE\ndestination:/topic/open\n\n\0", "malformed-frame"),
        (
            "SUBSCRIBE\nid:1\ndestination:/topic/open\nack:maybe\n\n\0",
            "malformed-frame",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:/user/queue/msg\nlast-seq:-1\n\n\0",
            "malformed-frame",
        ),
        ("UNSUBSCRIBE\n\n\0", "malformed-frame"),
        ("UNSUBSCRIBE\nid:9\n\n\0", "bad-state"),
        ("ACK\n\n\0", "malformed-frame"),
        ("NACK\n\n\0", "malformed-frame"),
        ("BEGIN\n\n\0", "malformed-frame"),
        ("COMMIT\n\n\0", "malformed-frame"),
        ("COMMIT\ntransaction:9\n\n\0", "bad-state"),
        ("ABORT\ntransaction:9\n\n\0", "bad-state"),
        ("CONNECTED\n\n\0", "malformed-frame"),
    ] {
        let mut alice = Story::connected("1.2");
        alice.sends(format!("{bad}{behind}").as_bytes());
        assert_eq!(
            alice.sent(),
            [format!("ERROR {code}"), format!("close {code}")],
            "{bad:?}"
        );
        assert_eq!(alice.asked(), [""; 0], "{bad:?}");
    }
}

#[test]
fn limits_are_refused_by_their_name_in_the_configuration() {
    let long = format!("SEND\na:{}\n\n\0", "x".repeat(20_000));
    let many = format!("SEND\n{}\n\0", "a:b\n".repeat(65));
    let big = format!("SEND\nreceipt:r1\n\n{}\0", "x".repeat(70_000));
    for (frame, name) in [
        (&*long, "session.max_header_line"),
        (&*many, "session.max_headers"),
        (&*big, "session.max_body"),
        ("SEND\ncontent-length:2000000000\n\n", "session.max_body"),
    ] {
        let mut alice = Story::connected("1.2");
        alice.sends(frame.as_bytes());
        assert_eq!(alice.sent().last().map(String::as_str), Some("close limit-exceeded"));
        let message = alice.header("message").expect("a message");
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn an_error_says_its_code_its_receipt_and_a_sentence() {
    let mut alice = Story::connected("1.1");
    alice.says("SEND destination:/nowhere receipt:r:1");
    assert_eq!(
        alice.sent(),
        ["ERROR unknown-destination receipt=r:1", "close unknown-destination"]
    );
    let sentence = "SEND to /nowhere: there is no such destination; served: /user/queue/msg, /topic/..., /queue/..., /app/ack, /app/token, /app/sendMessage, /app/x/NAME, /user/queue/x/NAME";
    assert_eq!(alice.header("message"), Some(sentence));
    assert_eq!(alice.frames.last().map(|frame| &*frame.body), Some(sentence.as_bytes()));
    assert_eq!(alice.header("content-type"), Some("text/plain"));
}

#[test]
fn an_end_from_outside_is_the_last_word() {
    for (reason, lines) in [
        (Reason::Draining, vec!["close draining"]),
        (Reason::SlowConsumer, vec!["close slow-consumer"]),
        (Reason::Gone, vec!["close gone"]),
        (Reason::Unavailable, vec!["ERROR unavailable", "close unavailable"]),
    ] {
        let mut alice = Story::listening("1.2", "client-individual");
        alice.ends(Disconnect::new(reason, "why"));
        alice.ends(Disconnect::new(Reason::MalformedFrame, "again"));
        alice.notify("ntf_1");
        alice.missed(9);
        alice.give_page(None);
        alice.advance(secs(100));
        assert_eq!(alice.sent(), lines);
    }
}
