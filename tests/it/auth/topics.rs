//! Which topics a token opens.

use quick_notify::domain::identity::{BadPattern, MAX_PATTERNS};

use super::*;

#[test]
fn topics_come_from_the_token_or_else_from_the_configuration() {
    let dir = Dir::new();
    let auth = jwt(json!({
        "keys": [{"secret_file": dir.write("secret", SECRET)}],
        "default_read": ["/topic/news"],
        "default_write": ["/topic/chat.*"],
    }));
    let of = |claim: Value| {
        let claims = json!({"sub": "alice", "exp": NOW_S + 60, "topics": claim});
        ask(&auth, &hs(SECRET, None, &claims)).map(|identity| identity.topics)
    };
    assert_eq!(of(Value::Null), Ok(topics(&["/topic/news"], &["/topic/chat.*"])));
    assert_eq!(of(json!({})), Ok(topics(&["/topic/news"], &["/topic/chat.*"])));
    assert_eq!(
        of(json!({"read": ["/topic/a"]})),
        Ok(topics(&["/topic/a"], &["/topic/chat.*"]))
    );
    assert_eq!(
        of(json!({"read": [], "write": ["/topic/b"]})),
        Ok(topics(&[], &["/topic/b"]))
    );
    let wrong = Refusal::Malformed("its `topics` is not {\"read\": [PATTERN], \"write\": [PATTERN]}");
    for claim in [
        json!("/topic/a"),
        json!({"read": "/topic/a"}),
        json!({"reads": []}),
        json!({"read": ["/queue/**"]}),
        json!({"read": ["/user/bob/queue/msg"]}),
        json!({"write": [7]}),
    ] {
        assert_eq!(of(claim.clone()), Err(wrong.clone()), "{claim}");
    }
    let many = vec!["/topic/a"; MAX_PATTERNS + 1];
    assert_eq!(
        of(json!({"read": many})),
        Err(Refusal::Malformed("its `topics` has too many patterns"))
    );
}

#[test]
fn a_pattern_matches_whole_segments() {
    let table = [
        ("/topic/orders", "/topic/orders", true),
        ("/topic/orders", "/topic/orders/1", false),
        ("/topic/orders", "/topic/order", false),
        ("/topic/orders.*", "/topic/orders.new", true),
        ("/topic/orders.*", "/topic/orders.", false),
        ("/topic/orders.*", "/topic/orders", false),
        ("/topic/orders.*", "/topic/orders.new.eu", false),
        ("/topic/orders.*", "/topic/orders.new/eu", false),
        ("/topic/orders.*", "/topic/orders/new", false),
        ("/topic/*.eu", "/topic/orders.eu", true),
        ("/topic/*", "/topic/a.b", false),
        ("/topic/room-*/chat", "/topic/room-7/chat", true),
        ("/topic/room-*/chat", "/topic/room-/chat", false),
        ("/topic/room-*/chat", "/topic/room-7/8/chat", false),
        ("/topic/aXa*aXa", "/topic/aXaXa", false),
        ("/topic/**", "/topic/a", true),
        ("/topic/**", "/topic/a.b/c", true),
        ("/topic/**", "/topic/", false),
        ("/topic/**", "/topic", false),
        ("/topic/**", "/topics/a", false),
        ("/topic/**", "/queue/a", false),
        ("/topic/**", "/user/bob/queue/msg", false),
        ("/topic/orders.**", "/topic/orders.new/eu", true),
        ("/topic/ü*", "/topic/üö", true),
    ];
    for (pattern, topic, expected) in table {
        assert_eq!(
            Pattern::parse(pattern).unwrap().matches(topic),
            expected,
            "{pattern} {topic}"
        );
    }
    for (text, error) in [
        ("", BadPattern::NotATopic),
        ("/topic/", BadPattern::NotATopic),
        ("/**", BadPattern::NotATopic),
        ("/queue/a", BadPattern::NotATopic),
        ("/topic/**/a", BadPattern::Stars),
        ("/topic/a**", BadPattern::Stars),
        ("/topic/*a*", BadPattern::Stars),
        ("/topic/***", BadPattern::Stars),
        ("/topic/a\n", BadPattern::Control),
        (&format!("/topic/{}", "a".repeat(250)), BadPattern::TooLong),
    ] {
        assert_eq!(Pattern::parse(text), Err(error), "{text}");
    }
    let some = topics(&["/topic/a", "/topic/b.*"], &["/topic/c"]);
    assert!(some.may_read("/topic/b.1") && !some.may_read("/topic/c"));
    assert!(some.may_write("/topic/c") && !some.may_write("/topic/a"));
}
