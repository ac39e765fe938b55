//! From the transport's opening to CONNECTED, and the heart-beats from then on.

use quick_notify::session::Config;

use super::story::{Story, ms, secs};

#[test]
fn connect_asks_who_it_is_and_says_what_holds() {
    let mut alice = Story::open();
    alice.hold_tokens = true;
    alice.connect("1.2", "alice");
    assert_eq!(alice.asked(), ["who is alice"]);
    assert_eq!(alice.sent(), [""; 0]);
    assert!(!alice.session.wants_input(), "what the client sends has to wait");
    alice.answer_token();
    assert_eq!(alice.sent(), ["CONNECTED 1.2 alice"]);
    assert_eq!(alice.header("heart-beat"), Some("10000,10000"));
    assert!(
        alice
            .header("server")
            .is_some_and(|server| server.starts_with("quick-notify/"))
    );
    assert!(alice.header("session").is_some());
    assert!(alice.session.wants_input());
}

#[test]
fn a_token_may_stand_behind_either_spelling_of_its_header() {
    let mut alice = Story::open();
    alice.says("STOMP accept-version:1.2 host:x authorization:alice");
    assert_eq!(alice.asked(), ["who is alice"]);
    let mut nobody = Story::open();
    nobody.says("CONNECT accept-version:1.2");
    assert_eq!(nobody.asked(), ["who is "]);
}

#[test]
fn the_highest_common_version_is_taken() {
    for (accepted, version) in [
        (" accept-version:1.0,1.1,1.2", "1.2"),
        (" accept-version:1.1,1.0", "1.1"),
        (" accept-version:1.2,9.9", "1.2"),
        (" accept-version:1.0", "1.0"),
        ("", "1.0"),
    ] {
        let mut alice = Story::open();
        alice.says(&format!("CONNECT{accepted} Authorization:alice"));
        assert_eq!(alice.sent(), [format!("CONNECTED {version} alice")]);
    }
}

#[test]
fn without_a_common_version_the_error_says_which_there_are() {
    let mut alice = Story::open();
    alice.says("CONNECT accept-version:2.0,9 Authorization:alice receipt:r1");
    assert_eq!(
        alice.sent(),
        ["ERROR unsupported-version receipt=r1", "close unsupported-version"]
    );
    assert_eq!(alice.header("version"), Some("1.0,1.1,1.2"));
    assert_eq!(alice.asked(), [""; 0]);
}

#[test]
fn a_refused_token_is_told_with_the_receipt() {
    let mut alice = Story::open();
    alice.says("CONNECT accept-version:1.2 Authorization:bad receipt:r1");
    assert_eq!(alice.sent(), ["ERROR token-expired receipt=r1", "close token-expired"]);
}

#[test]
fn frames_before_connect_are_refused() {
    for frame in [
        "SEND destination:/topic/open",
        "SUBSCRIBE id:1 destination:/user/queue/msg",
        "UNSUBSCRIBE id:1",
        "ACK id:1",
        "NACK id:1",
        "BEGIN transaction:1",
        "COMMIT transaction:1",
        "ABORT transaction:1",
        "DISCONNECT",
    ] {
        let mut nobody = Story::open();
        nobody.says_all(&[
            &format!("{frame} receipt:r1"),
            "CONNECT accept-version:1.2 Authorization:alice",
        ]);
        assert_eq!(
            nobody.sent(),
            ["ERROR not-connected receipt=r1", "close not-connected"],
            "{frame}"
        );
        assert_eq!(nobody.asked(), [""; 0], "nothing behind it is processed");
    }
}

#[test]
fn a_second_connect_is_refused_and_changes_nobody() {
    for command in ["CONNECT", "STOMP"] {
        let mut alice = Story::connected("1.2");
        alice.says(&format!("{command} accept-version:1.2 Authorization:bob receipt:r1"));
        assert_eq!(
            alice.sent(),
            ["ERROR already-connected receipt=r1", "close already-connected"]
        );
        assert_eq!(alice.asked(), [""; 0]);
    }
}

#[test]
fn frames_behind_connect_wait_for_the_answer_and_are_read_by_its_version() {
    let mut alice = Story::open();
    alice.hold_tokens = true;
    let mut bytes = alice.frame("CONNECT accept-version:1.2 Authorization:alice");
    bytes.extend(alice.frame("SUBSCRIBE id:sub-0 destination:/user/queue/msg receipt:a:b"));
    alice.record.store("ntf_1");
    alice.sends(&bytes);
    assert_eq!(alice.asked(), ["who is alice"]);
    alice.answer_token();
    assert_eq!(
        alice.sent(),
        ["CONNECTED 1.2 alice", "RECEIPT a:b", "MESSAGE ntf_1 attempt=1 replayed"]
    );
}

#[test]
fn who_never_says_connect_is_sent_away_in_time() {
    let mut nobody = Story::open();
    nobody.advance(ms(9_999));
    nobody.sends(b"\n\n");
    assert_eq!(nobody.sent(), [""; 0], "a heart-beat buys no time");
    nobody.advance(ms(1));
    assert_eq!(nobody.sent(), ["ERROR connect-timeout", "close connect-timeout"]);
}

#[test]
fn a_heart_beat_that_is_none_is_refused() {
    let mut alice = Story::open();
    alice.says("CONNECT accept-version:1.2 Authorization:alice heart-beat:often receipt:r1");
    assert_eq!(
        alice.sent(),
        ["ERROR malformed-frame receipt=r1", "close malformed-frame"]
    );
}

#[test]
fn the_server_beats_in_time_and_only_when_it_said_nothing_else() {
    let mut alice = Story::open();
    alice.says("CONNECT accept-version:1.2 Authorization:alice heart-beat:0,10000");
    alice.subscribe("client-individual");
    alice.sent();
    assert_eq!(alice.sent_during(secs(20)), ["8.75s beat", "17.5s beat"]);
    alice.notify("ntf_1");
    assert_eq!(
        alice.sent_during(secs(12)),
        [
            "0s MESSAGE ntf_1 attempt=1",
            "5s MESSAGE ntf_1 attempt=2",
            "10s MESSAGE ntf_1 attempt=3"
        ]
    );
}

#[test]
fn a_client_that_promised_and_is_silent_is_dropped_after_its_grace() {
    let mut alice = Story::open();
    alice.says("CONNECT accept-version:1.2 Authorization:alice heart-beat:10000,0");
    alice.sent();
    alice.advance(secs(29));
    alice.sends(b"\n");
    alice.advance(secs(29));
    assert_eq!(alice.sent(), [""; 0]);
    alice.advance(secs(1));
    assert_eq!(alice.sent(), ["ERROR heartbeat-missed", "close heartbeat-missed"]);
}

#[test]
fn a_client_that_said_it_cannot_beat_is_never_dropped_nor_sent_beats() {
    for offer in ["", " heart-beat:0,0"] {
        let mut alice = Story::open();
        alice.says(&format!("CONNECT accept-version:1.2 Authorization:alice{offer}"));
        alice.sent();
        assert_eq!(alice.sent_during(secs(1_000_000)), [""; 0]);
    }
}

#[test]
fn silence_while_the_session_itself_does_not_listen_is_not_the_clients() {
    let config = Config {
        window: 1,
        ..Config::default()
    };
    let mut alice = Story::open_with(&config);
    alice.says("CONNECT accept-version:1.2 Authorization:alice heart-beat:10000,0");
    alice.sent();
    alice.hold_confirms = true;
    alice.says("SEND destination:/app/ack receipt:r1 | ntf_1");
    assert!(!alice.session.wants_input(), "the record is away");
    alice.advance(secs(300));
    alice.answer_confirms();
    assert_eq!(alice.sent(), ["RECEIPT r1"]);
}

#[test]
fn a_process_that_was_frozen_does_not_blame_its_clients() {
    let beating = || {
        let mut alice = Story::open();
        alice.says("CONNECT accept-version:1.2 Authorization:alice heart-beat:10000,0");
        alice.sent();
        // The client beats meanwhile, but nobody reads.
        alice.freeze(secs(300));
        alice
    };
    let mut alice = beating();
    alice.sends(b"\n\n\n");
    assert_eq!(alice.sent_during(secs(29)), [""; 0]);
    let mut alice = beating();
    assert_eq!(
        alice.sent_during(secs(29)),
        ["1s ERROR heartbeat-missed", "1s close heartbeat-missed"],
        "what it sent would have been read by now"
    );
}
