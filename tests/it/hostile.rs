//! Clients that mean no good, or that a network treats badly: each is closed within its deadline, and pages of other sites get nowhere.
//!
//! Heads and bodies that come drop by drop: `http`; silence after the opening: `stomp_wire::handshake`; a WebSocket that is never read: `delivery`.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, eventually, within};

const SESSION: &str = "/stomp-ws/000/a-session-of-this-test";

/// Frames in one array, as SockJS clients send them.
fn frames(frames: &[&str]) -> String {
    json!(frames).to_string()
}

const CONNECT: &str = "CONNECT\naccept-version:1.2\nhost:x\nAuthorization:test1\n\n\0";
const SUBSCRIBE: &str = "SUBSCRIBE\nid:0\ndestination:/user/queue/msg\nreceipt:subscribed\n\n\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_response_that_is_never_read_ends_with_its_connection() {
    let settings = [
        ("edge.write_timeout_ms", "500"),
        ("edge.sockjs.response_limit", "100000000"),
    ];
    let server = Server::with(&settings).await;
    let mut stream = TcpStream::connect(server.address()).await.expect("it listens");
    let head = format!("POST {SESSION}/xhr_streaming HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("a request");
    eventually("the session", || async {
        let sent = server
            .post(&format!("{SESSION}/xhr_send"), &[], frames(&[CONNECT, SUBSCRIBE]))
            .await;
        sent.status == 204
    })
    .await;
    eventually("its CONNECTED", || async {
        server.metric("quick_notify_sessions").await == 1.0
    })
    .await;
    let text = "x".repeat(60_000);
    within("the end of the session", async {
        while server.metric("quick_notify_connections_closed_total").await == 0.0 {
            server.publish(json!({"everyone": true, "data": text})).await;
        }
    })
    .await;
    let metrics = server.metrics().await;
    assert!(
        metrics.contains("connections_closed_total{reason=\"slow-consumer\"} 1"),
        "{metrics}"
    );
    // The connection goes, too, and nobody reads: the next octet for it is answered with a reset.
    within("the end of the connection", async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while stream.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_message_that_comes_drop_by_drop_is_late() {
    let server = Server::with(&[("edge.sockjs.send_timeout_ms", "400")]).await;
    let opened = server.post(&format!("{SESSION}/xhr"), &[], "").await;
    assert_eq!((opened.status, &*opened.text), (200, "o\n"));
    let stream = TcpStream::connect(server.address()).await.expect("it listens");
    let (mut read, mut write) = stream.into_split();
    let head = format!("POST {SESSION}/xhr_send HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n[\"");
    write.write_all(head.as_bytes()).await.expect("a head");
    let drops = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while write.write_all(b"x").await.is_ok() {
            tick.tick().await;
        }
        std::future::pending().await
    };
    let mut answer = [0; 12];
    tokio::select! {
        read = within("an answer", read.read_exact(&mut answer)) => drop(read.expect("a status")),
        () = drops => {}
    }
    assert!(
        answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"),
        "{answer:?}"
    );
}

/// The transport is there and nothing is said: as over a WebSocket.
#[tokio::test]
async fn silence_after_the_opening_ends_a_session_over_polling_too() {
    let server = Server::with(&[("session.connect_timeout_ms", "200")]).await;
    let opened = server.post(&format!("{SESSION}/xhr"), &[], "").await;
    assert_eq!((opened.status, &*opened.text), (200, "o\n"));
    let error = server.post(&format!("{SESSION}/xhr"), &[], "").await;
    assert!(error.text.contains("no CONNECT within 200 ms"), "{}", error.text);
    let close = server.post(&format!("{SESSION}/xhr"), &[], "").await;
    assert!(close.text.starts_with("c[1008,"), "{}", close.text);
}

/// Who is sent away hears over every transport when to come back.
#[tokio::test]
async fn who_polls_is_told_when_to_come_back() {
    let settings = [
        ("edge.admission.per_second", "1"),
        ("edge.admission.burst", "1"),
        ("edge.admission.max_waiting", "0"),
    ];
    let server = Server::with(&settings).await;
    for (session, told) in [("one-of-them", "CONNECTED"), ("the-other-one", "code:unavailable")] {
        let path = format!("/stomp-ws/000/{session}");
        assert_eq!(server.post(&format!("{path}/xhr"), &[], "").await.text, "o\n");
        assert_eq!(
            server
                .post(&format!("{path}/xhr_send"), &[], frames(&[CONNECT]))
                .await
                .status,
            204
        );
        let said = server.post(&format!("{path}/xhr"), &[], "").await.text;
        assert!(said.contains(told), "{said}");
        if session == "the-other-one" {
            let close = server.post(&format!("{path}/xhr"), &[], "").await.text;
            assert!(close.starts_with("c[1013,\"unavailable; retry-after="), "{close}");
        }
    }
}
