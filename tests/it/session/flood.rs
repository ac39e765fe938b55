//! A client that sends more than can be answered at once is read at the pace of the answers.

use std::sync::Arc;

use quick_notify::domain::envelope::{Content, Envelope, Relay};
use quick_notify::domain::notification::Audience;
use quick_notify::session::parcel::Parcel;
use quick_notify::session::{Output, Session};

use super::record::{message, parcel};
use super::story::{Story, secs};

fn pending(session: &mut Session) -> Vec<Output> {
    std::iter::from_fn(|| session.poll_output()).collect()
}

#[test]
fn a_message_full_of_frames_is_answered_in_portions() {
    let mut alice = Story::connected("1.2");
    let frame = alice.frame("SEND destination:/topic/open receipt:r");
    let count = 1_000_000 / frame.len();
    alice.session.handle_bytes(frame.repeat(count).into(), alice.now);
    let mut receipts = 0;
    let mut rounds = 0;
    loop {
        let outputs = pending(&mut alice.session);
        assert!(outputs.len() <= 512, "{} outputs at once", outputs.len());
        receipts += outputs
            .iter()
            .filter(|output| matches!(output, Output::Send(_)))
            .count();
        rounds += 1;
        if alice.session.poll_timeout().is_none() {
            break;
        }
        assert!(!alice.session.wants_input(), "nothing more is read meanwhile");
        assert!(
            alice.session.poll_timeout() <= Some(alice.now.instant),
            "it goes on at once"
        );
        alice.session.handle_timeout(alice.now);
    }
    assert_eq!(receipts, count);
    assert!(rounds > 50, "{rounds}");
    assert!(alice.session.wants_input());
}

#[test]
fn confirmations_that_wait_for_the_record_are_bounded() {
    let mut alice = Story::connected("1.2");
    alice.hold_confirms = true;
    let frame = alice.frame("SEND destination:/app/ack receipt:r | ntf_1");
    let count = 5_000;
    alice.session.handle_bytes(frame.repeat(count).into(), alice.now);
    let mut receipts = 0;
    while receipts < count {
        for _ in 0..5 {
            alice.carry_out();
            alice.advance(secs(0));
        }
        assert!(alice.confirms.len() <= 256, "{} wait", alice.confirms.len());
        assert!(!alice.confirms.is_empty());
        alice.answer_confirms();
        receipts += alice.sent().len();
    }
    assert_eq!(receipts, count);
    assert!(alice.session.wants_input());
}

#[test]
fn a_body_does_not_keep_the_message_that_brought_it() {
    let mut alice = Story::connected("1.2");
    alice.says("BEGIN transaction:t");
    let mut chunk = alice.frame("SEND transaction:t destination:/topic/open | tiny");
    chunk.extend(alice.frame("SEND destination:/topic/open | tiny"));
    chunk.resize(1_000_000, b'\n');
    let chunk = bytes::Bytes::from(chunk);
    alice.session.handle_bytes(chunk.clone(), alice.now);
    let outputs = pending(&mut alice.session);
    assert!(matches!(&outputs[..], [Output::Publish(_)]), "{outputs:?}");
    assert!(chunk.is_unique(), "somebody still holds a megabyte for a few octets");
}

#[test]
fn deliveries_wait_as_pointers_however_many_subscriptions_they_go_to() {
    let mut alice = Story::listening("1.2", "auto");
    for n in 1..64 {
        alice.says(&format!("SUBSCRIBE id:{n} destination:/user/queue/msg"));
    }
    let relay = Relay {
        id: "ntf_large".into(),
        content_type: None,
        body: vec![b'x'; 65_536].into(),
    };
    let large = parcel(Audience::Everyone, Content::Relay(relay));
    for _ in 0..100 {
        alice.session.handle_parcel(&large, alice.now);
    }
    // 6,400 MESSAGEs of 64 KiB are under way, as 6,400 pointers; taken one at a time, they never exist at once.
    assert_eq!(Arc::strong_count(&large), 6_401);
    let mut sent = 0;
    while let Some(output) = alice.session.poll_output() {
        assert!(matches!(output, Output::Deliver(_, bytes, _) if bytes.len() > 65_536));
        sent += 1;
    }
    assert_eq!(sent, 6_400);
}

#[test]
fn one_frame_is_encoded_for_all_who_get_the_same() {
    let envelope = Envelope {
        to: Audience::Everyone,
        content: Content::Message(message("ntf_b", None)),
    };
    let parcel = Arc::new(Parcel::new(envelope));
    let frames: Vec<_> = ["1.2", "1.2", "1.1"]
        .into_iter()
        .map(|version| {
            let mut alice = Story::listening(version, "auto");
            alice.session.handle_parcel(&parcel, alice.now);
            match alice.session.poll_output() {
                Some(Output::Deliver(_, bytes, _)) => bytes,
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(frames[0].as_ptr(), frames[1].as_ptr());
    assert_ne!(frames[0].as_ptr(), frames[2].as_ptr());
}
