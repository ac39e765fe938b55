//! Where a client may SUBSCRIBE and SEND.

use super::story::Story;

#[test]
fn what_is_served_can_be_subscribed_to() {
    for destination in ["/user/queue/msg", "/topic/news", "/topic/open.a.b", "/queue/anything"] {
        let mut alice = Story::connected("1.2");
        alice.says(&format!("SUBSCRIBE id:1 destination:{destination} receipt:r1"));
        assert_eq!(alice.sent(), ["RECEIPT r1"], "{destination}");
    }
}

#[test]
fn other_peoples_queues_patterns_and_forbidden_topics_cannot() {
    let long = format!("/topic/open.{}", "x".repeat(64));
    for (destination, code) in [
        ("/user/bob/queue/msg", "forbidden-destination"),
        ("/user/alice/queue/msg", "forbidden-destination"),
        ("/user/*/queue/msg", "forbidden-destination"),
        ("/user/**", "forbidden-destination"),
        ("/queue/*", "forbidden-destination"),
        ("/queue/**", "forbidden-destination"),
        ("**", "forbidden-destination"),
        ("/topic/secret", "forbidden-destination"),
        ("/topic/**", "unknown-destination"),
        ("/topic/", "unknown-destination"),
        (&long, "unknown-destination"),
        ("/user/queue/other", "unknown-destination"),
        ("/app/ack", "unknown-destination"),
        ("/nowhere", "unknown-destination"),
        ("", "unknown-destination"),
    ] {
        let mut alice = Story::connected("1.2");
        alice.says(&format!("SUBSCRIBE id:1 destination:{destination} receipt:r1"));
        assert_eq!(
            alice.sent(),
            [format!("ERROR {code} receipt=r1"), format!("close {code}")],
            "{destination}"
        );
        assert_eq!(alice.asked(), [""; 0], "{destination}");
    }
}

#[test]
fn a_message_goes_to_topics_that_the_token_allows() {
    let mut alice = Story::connected("1.2");
    alice.says("SUBSCRIBE id:1 destination:/topic/open");
    alice.asked();
    alice.says("SEND destination:/topic/open content-type:text/x receipt:r1 | hello");
    assert_eq!(alice.asked(), ["publish /topic/open"]);
    let sent = alice.sent();
    assert!(
        sent[0].starts_with("RECEIPT r1") && sent[1].starts_with("MESSAGE ntf_"),
        "{sent:?}"
    );
    assert_eq!(alice.header("content-type"), Some("text/x"));
    assert_eq!(&*alice.frames.last().expect("a MESSAGE").body, b"hello");
}

#[test]
fn the_demo_echoes_to_everyone_who_listens() {
    let mut alice = Story::connected("1.2");
    alice.says("SUBSCRIBE id:1 destination:/topic/messages");
    alice.asked();
    alice.says("SEND destination:/app/sendMessage | he said \"hi\"");
    assert_eq!(alice.asked(), ["publish /topic/messages"]);
    assert_eq!(alice.body(), serde_json::json!({"payload": "he said \"hi\""}));
}

#[test]
fn nobody_else_sends_where_the_server_does() {
    for (destination, code) in [
        ("/user/queue/msg", "forbidden-destination"),
        ("/user/bob/queue/msg", "forbidden-destination"),
        ("/queue/x", "forbidden-destination"),
        ("/topic/news", "forbidden-destination"),
        ("/topic/*", "unknown-destination"),
        ("/app/nothing", "unknown-destination"),
        ("/nowhere", "unknown-destination"),
    ] {
        let mut alice = Story::connected("1.2");
        alice.says(&format!("SEND destination:{destination} receipt:r1 | forged"));
        assert_eq!(
            alice.sent(),
            [format!("ERROR {code} receipt=r1"), format!("close {code}")],
            "{destination}"
        );
        assert_eq!(alice.asked(), [""; 0], "{destination}");
    }
}

#[test]
fn an_error_quotes_a_destination_short_and_without_control_characters() {
    let mut alice = Story::connected("1.2");
    let frame = format!("SEND\ndestination:/x\\n\u{1}{}\n\n\0", "é".repeat(500));
    alice.sends(frame.as_bytes());
    let message = alice.header("message").expect("a message");
    assert!(
        message.contains("/x??éé") && message.contains('…') && message.len() < 500,
        "{message}"
    );
}
