//! How sessions end, and who may receive.

use std::time::Duration;

use super::*;

const BUSY: &str = "c[2010,\"Another connection still open\"]\n";
const INTERRUPTED: &str = "c[1002,\"Connection interrupted\"]\n";
const AWAY: &str = "c[3000,\"Go away!\"]\n";

/// A streaming response, through its prelude.
async fn streaming(server: &Server, session: &str) -> Live {
    let mut live = stream(server, &format!("{session}/xhr_streaming")).await;
    live.expect(&format!("{}\n", "h".repeat(2_048))).await;
    live
}

#[tokio::test]
async fn the_close_is_told_as_often_as_it_is_asked_for() {
    let server = Server::start().await;
    let session = open(&server, CLOSE).await;
    for _ in 0..3 {
        assert_eq!(poll(&server, &session).await, AWAY);
    }
    let answer = server.post(&format!("{session}/xhr_send"), &[], r#"["x"]"#).await;
    assert_eq!(answer.status, 404, "nothing is taken for a session that has ended");
    let session = fresh(CLOSE);
    let mut first = streaming(&server, &session).await;
    first.expect(&format!("o\n{AWAY}")).await;
    first.ends().await;
    let mut second = streaming(&server, &session).await;
    second.expect(AWAY).await;
    second.ends().await;
}

/// And the first goes on.
#[tokio::test]
async fn a_second_receiver_is_refused() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let mut first = streaming(&server, &session).await;
    first.expect("o\n").await;
    let mut second = streaming(&server, &session).await;
    second.expect(BUSY).await;
    second.ends().await;
    assert_eq!(poll(&server, &session).await, BUSY);
    let answer = server.get(&format!("{session}/jsonp?c=x"), &[]).await;
    assert_eq!(
        answer.text,
        "/**/x(\"c[2010,\\\"Another connection still open\\\"]\");\r\n"
    );
    send(&server, &session, r#"["x"]"#).await;
    first.expect("a[\"x\"]\n").await;
}

#[tokio::test]
async fn a_second_poll_is_refused() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let (mut refused, mut first) = two_polls(&server, &session).await;
    assert_eq!(refused.rest().await, BUSY);
    send(&server, &session, r#"["x"]"#).await;
    first.head().await;
    assert_eq!(first.rest().await, "a[\"x\"]\n");
}

/// What was under way may be lost, and the protocol has no way to ask.
#[tokio::test]
async fn a_response_that_is_broken_off_ends_the_session() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let mut first = streaming(&server, &session).await;
    first.expect("o\n").await;
    drop(first);
    let mut next = streaming(&server, &session).await;
    next.expect(INTERRUPTED).await;
    next.ends().await;
    let session = open(&server, ECHO).await;
    let (_, first) = two_polls(&server, &session).await;
    drop(first);
    assert_eq!(poll(&server, &session).await, INTERRUPTED);
}

/// Behind a body that never comes nobody would see that the client has gone.
#[tokio::test]
async fn a_request_that_is_not_whole_takes_nothing() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let (path, more) = (format!("{session}/xhr"), [("Content-Length", "1000")]);
    let half = Live::asked(server.address(), "POST", &path, &more, "x").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for number in 0..10 {
        ticks.tick().await;
        send(&server, &session, &format!("[\"{number}\"]")).await;
        assert_eq!(poll(&server, &session).await, format!("a[\"{number}\"]\n"));
    }
    drop(half);
}

/// The one that was refused, through the head of its answer, and the one that waits.
async fn two_polls(server: &Server, session: &str) -> (Live, Live) {
    let mut one = poll_begun(server, session).await;
    let mut other = poll_begun(server, session).await;
    let is_one = tokio::select! {
        () = one.head() => true,
        () = other.head() => false,
    };
    if is_one { (one, other) } else { (other, one) }
}
