//! Commands for attached plugins, and their answers.

use quick_notify::session::commanding::Undone;
use quick_notify::session::{AppCommand, Disconnect, Reason, Said};

use super::story::{Story, secs};

fn subscribed() -> Story {
    let mut alice = Story::connected("1.2");
    alice.says("SUBSCRIBE id:x destination:/user/queue/x/echo");
    alice.asked();
    alice
}

fn answer(alice: &mut Story, command: &AppCommand, said: Result<&str, &str>) {
    let said = match said {
        Ok(body) => Ok(Said {
            content_type: Some("text/markdown".into()),
            body: body.into(),
        }),
        Err(code) => Err(Undone {
            code: code.into(),
            reason: "why \"not\"".into(),
        }),
    };
    alice.session.handle_answer(&command.answered(said), alice.now);
    alice.carry_out();
}

#[test]
fn a_command_goes_out_with_its_receipt_and_its_answer_comes_back() {
    let mut alice = subscribed();
    alice.says("SEND destination:/app/x/echo content-type:text/plain correlation-id:c:1 receipt:r1 | hello");
    assert_eq!(alice.asked(), ["command echo hello"]);
    assert_eq!(alice.sent(), ["RECEIPT r1"], "taken, and not done yet");
    let command = alice.commands.remove(0);
    assert_eq!(command.content_type.as_deref(), Some("text/plain"));
    answer(&mut alice, &command, Ok("olleh"));
    let frame = alice.frames.last().expect("a MESSAGE");
    let header = |name| frame.headers.get(name);
    assert_eq!(header("destination"), Some("/user/queue/x/echo"));
    assert_eq!(header("subscription"), Some("x"));
    assert_eq!(header("correlation-id"), command.correlation_id.as_deref());
    assert_eq!(header("content-type"), Some("text/markdown"));
    assert_eq!((header("error"), header("ack")), (None, None));
    assert_eq!(&frame.body[..], b"olleh");
}

#[test]
fn a_failure_is_a_message_and_the_session_lives() {
    let mut alice = subscribed();
    alice.says("SEND destination:/app/x/echo | hello");
    let command = alice.commands.remove(0);
    answer(&mut alice, &command, Err("no-such-order"));
    let frame = alice.frames.last().expect("a MESSAGE");
    assert_eq!(frame.headers.get("error"), Some("no-such-order"));
    let body: serde_json::Value = serde_json::from_slice(&frame.body).expect("JSON");
    assert_eq!(
        body,
        serde_json::json!({"code": "no-such-order", "reason": "why \"not\""})
    );
    assert!(!alice.is_closed() && alice.session.wants_input());
}

#[test]
fn an_answer_that_nobody_listens_to_is_dropped() {
    let mut alice = subscribed();
    alice.says("SEND destination:/app/x/other | hello");
    alice.says("SEND destination:/app/x/echo | hello");
    alice.says("UNSUBSCRIBE id:x");
    for command in std::mem::take(&mut alice.commands) {
        answer(&mut alice, &command, Ok("late"));
    }
    assert_eq!(alice.sent(), [""; 0]);
}

#[test]
fn a_body_that_is_no_text_is_answered_at_once() {
    let mut alice = subscribed();
    alice.sends(b"SEND\ndestination:/app/x/echo\n\n\xff\0");
    assert_eq!(alice.asked(), [""; 0]);
    assert_eq!(
        alice.frames.last().and_then(|frame| frame.headers.get("error")),
        Some("no-text")
    );
}

#[test]
fn names_are_one_word_and_queues_are_ones_own() {
    for (frame, code) in [
        ("SEND destination:/app/x/ | x", "unknown-destination"),
        ("SEND destination:/app/x/a.b | x", "unknown-destination"),
        ("SEND destination:/app/x/a/b | x", "unknown-destination"),
        ("SEND destination:/user/queue/x/echo | x", "forbidden-destination"),
        ("SUBSCRIBE id:y destination:/user/queue/x/", "unknown-destination"),
        ("SUBSCRIBE id:y destination:/user/queue/x/*", "forbidden-destination"),
        (
            "SUBSCRIBE id:y destination:/user/bob/queue/x/echo",
            "unknown-destination",
        ),
        ("SUBSCRIBE id:y destination:/user/queue/x/echo ack:client", "bad-state"),
    ] {
        let mut alice = Story::connected("1.2");
        alice.says(frame);
        assert_eq!(alice.sent()[0], format!("ERROR {code}"), "{frame}");
    }
}

#[test]
fn in_a_transaction_commands_go_out_at_its_commit_all_or_none() {
    let mut alice = subscribed();
    alice.says("BEGIN transaction:t");
    alice.says("SEND destination:/app/x/echo transaction:t | one");
    alice.says("SEND destination:/app/x/echo transaction:t | two");
    assert_eq!(alice.asked(), [""; 0]);
    alice.says("COMMIT transaction:t receipt:r1");
    assert_eq!(alice.asked(), ["command echo one", "command echo two"]);
    assert_eq!(alice.sent(), ["RECEIPT r1"]);
    alice.says_all(&[
        "BEGIN transaction:t",
        "SEND destination:/app/x/echo transaction:t | three",
        "SEND destination:/topic/closed transaction:t | refused",
        "COMMIT transaction:t",
    ]);
    assert_eq!(alice.asked(), [""; 0]);
    assert_eq!(alice.sent()[0], "ERROR forbidden-destination");
}

#[test]
fn an_answer_behind_the_end_of_the_token_is_not_sent() {
    let mut alice = Story::open();
    alice.connect("1.2", "alice+60");
    alice.says("SUBSCRIBE id:x destination:/user/queue/x/echo");
    alice.says("SEND destination:/app/x/echo | hello");
    alice.sent();
    let command = alice.commands.remove(0);
    alice.now = alice.now.after(secs(60));
    answer(&mut alice, &command, Ok("late"));
    assert_eq!(alice.sent(), ["ERROR token-expired", "close token-expired"]);
}

#[test]
fn an_answer_that_waits_to_be_sent_is_taken_back_when_the_session_ends_for_a_fault() {
    let mut alice = subscribed();
    alice.says("SEND destination:/app/x/echo | hello");
    let command = alice.commands.remove(0);
    let said = Ok(Said {
        content_type: None,
        body: "secret".into(),
    });
    alice.session.handle_answer(&command.answered(said), alice.now);
    let end = Disconnect::new(Reason::Token("token-revoked"), "revoked");
    alice.session.handle_end(end);
    alice.carry_out();
    assert_eq!(alice.sent(), ["ERROR token-revoked", "close token-revoked"]);
}
