//! xhr-streaming and eventsource: responses that go on.

use super::*;

#[tokio::test]
async fn xhr_streaming_begins_with_what_browsers_hold_back() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let path = format!("{session}/xhr_streaming");
    let headers = [("Origin", "http://shop.example")];
    let mut live = Live::open(server.address(), "POST", &path, &headers, "").await;
    assert_eq!(live.status, 200);
    assert_eq!(
        live.header("content-type").replace(' ', ""),
        "application/javascript;charset=UTF-8"
    );
    assert_eq!(live.header("cache-control"), NEVER_KEPT);
    assert_eq!(live.header("access-control-allow-origin"), headers[0].1);
    assert_eq!(live.header("access-control-allow-credentials"), "true");
    assert_eq!(live.header("x-accel-buffering"), "no");
    live.expect(&format!("{}\n", "h".repeat(2_048))).await;
    live.expect("o\n").await;
    send(&server, &session, r#"["x"]"#).await;
    live.expect("a[\"x\"]\n").await;
    send(&server, &session, r#"["y"]"#).await;
    live.expect("a[\"y\"]\n").await;
}

/// So that the browser can forget what it read: the next one goes on where this one ended.
#[tokio::test]
async fn a_streaming_response_ends_after_its_octets() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let path = format!("{session}/xhr_streaming");
    let mut live = stream(&server, &path).await;
    live.expect(&format!("{}\n", "h".repeat(2_048))).await;
    live.expect("o\n").await;
    let message = format!("[\"{}\"]", "x".repeat(128));
    // Of 4,096 octets, 2 were the open frame, and each of these is 134: the 31st goes beyond.
    for _ in 0..31 {
        send(&server, &session, &message).await;
        live.expect(&format!("a{message}\n")).await;
    }
    live.ends().await;
    send(&server, &session, r#"["between"]"#).await;
    let mut next = stream(&server, &path).await;
    next.expect(&format!("{}\n", "h".repeat(2_048))).await;
    next.expect("a[\"between\"]\n").await;
}

#[tokio::test]
async fn eventsource_sends_events() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let mut live = stream(&server, &format!("{session}/eventsource")).await;
    assert_eq!(live.header("content-type"), "text/event-stream");
    assert_eq!(live.header("cache-control"), NEVER_KEPT);
    live.expect("\r\n").await;
    live.expect("data: o\r\n\r\n").await;
    send(&server, &session, r#"["x"]"#).await;
    live.expect("data: a[\"x\"]\r\n\r\n").await;
    // No line ends within an event.
    send(&server, &session, r#"["  \u0000\n\r "]"#).await;
    live.expect("data: a[\"  \\u0000\\n\\r \"]\r\n\r\n").await;
    send(&server, &session, &format!("[\"{}\"]", "x".repeat(4_096))).await;
    live.expect(&format!("data: a[\"{}\"]\r\n\r\n", "x".repeat(4_096)))
        .await;
    live.ends().await;
}
