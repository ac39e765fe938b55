//! What waits has a bound, in both directions, and so has what is read.

use super::client::{Client, Via};
use super::*;
use crate::harness::eventually;

/// Nothing that it misses is lost: the record has it.
#[tokio::test]
async fn a_client_that_does_not_come_for_its_messages_is_sent_away() {
    let settings = [
        ("edge.sockjs.max_outbound", "4096"),
        ("edge.write_timeout_ms", "300"),
        ("edge.close_timeout_ms", "10000"),
    ];
    let server = Server::with(&settings).await;
    let mut client = Client::listen(&server, Via::Polling, "test1", None).await;
    client.let_go();
    let text = "x".repeat(1_000);
    for _ in 0..50 {
        server.notify("test1", &text).await;
    }
    let closed = "quick_notify_connections_closed_total{reason=\"slow-consumer\"} 1";
    eventually("the close", || async { server.metrics().await.contains(closed) }).await;
    let mut kept = 0;
    while client.next().await.is_some() {
        kept += 1;
    }
    assert_eq!(client.close, Some((1013, "slow-consumer".into())));
    assert!((1..=4).contains(&kept), "{kept} messages of 1 KB in 4 KB");
    let mut next = Client::listen(&server, Via::Polling, "test1", None).await;
    for seq in 1..=50 {
        assert_eq!(next.delivery().await.seq, Some(seq));
    }
}

/// Sends until the service, which nobody takes anything from, takes no more.
async fn fill(server: &Server, session: &str, messages: &str, most: usize) -> usize {
    for count in 0..most {
        let answer = server
            .post(&format!("{session}/xhr_send"), &[], messages.to_owned())
            .await;
        match answer.status {
            204 => {}
            503 => return count,
            status => panic!("{status}: {}", answer.text),
        }
    }
    panic!("it takes without end");
}

#[tokio::test]
async fn messages_that_the_service_does_not_take_wait_within_a_bound() {
    let settings = [
        ("edge.sockjs.max_outbound", "4096"),
        ("edge.max_message", "4096"),
        ("edge.sockjs.send_timeout_ms", "300"),
    ];
    let server = Server::with(&settings).await;
    let session = open(&server, ECHO).await;
    let taken = fill(&server, &session, &format!("[\"{}\"]", "x".repeat(1_000)), 50).await;
    assert!((4..=10).contains(&taken), "{taken} messages of 1 KB in 8 KB");
    // Those that were taken come, and then there is room again.
    let mut came = 0;
    while came < taken {
        came += poll(&server, &session).await.matches(&"x".repeat(1_000)).count();
    }
    send(&server, &session, r#"["y"]"#).await;
    assert_eq!(poll(&server, &session).await, "a[\"y\"]\n");
    // A message without text takes room, too.
    let none = format!("[{}\"\"]", "\"\",".repeat(99));
    let taken = fill(&server, &session, &none, 50).await;
    assert!(taken < 10, "{taken} times a hundred messages without text");
}

#[tokio::test]
async fn a_body_has_a_bound_however_it_comes() {
    let server = Server::with(&[("edge.max_message", "100000")]).await;
    let session = open(&server, ECHO).await;
    let before = most_memory(&server);
    let huge = "x".repeat(32 * 1024 * 1024);
    for body in ["x".repeat(100_001), huge] {
        for (path, headers) in [("xhr_send", &[][..]), ("jsonp_send", &[FORM][..])] {
            let answer = server.post(&format!("{session}/{path}"), headers, body.clone()).await;
            assert_eq!(answer.status, 413);
            assert_eq!(
                answer.text,
                "at most 100000 octets are taken at once (edge.max_message)"
            );
        }
    }
    let mut live = Live::connect(server.address()).await;
    live.write(&format!(
        "POST {session}/xhr_send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    ))
    .await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..100 {
        live.write(&chunk).await;
    }
    live.write("0\r\n\r\n").await;
    live.head().await;
    assert_eq!(live.status, 413);
    let grown = most_memory(&server) - before;
    assert!(grown < 8 * 1024, "{grown} KiB for 70 MiB of bodies");
    send(&server, &session, r#"["x"]"#).await;
    assert_eq!(poll(&server, &session).await, "a[\"x\"]\n");
}

/// Many bodies that are only promised hold nothing, and each is late in the end.
#[tokio::test]
async fn a_body_that_is_only_promised_holds_no_room() {
    let server = Server::with(&[("edge.sockjs.send_timeout_ms", "2000")]).await;
    let session = open(&server, ECHO).await;
    let before = most_memory(&server);
    let headers = [("Content-Length", "1000000")];
    let path = format!("{session}/xhr_send");
    let mut lives = Vec::new();
    for _ in 0..100 {
        lives.push(Live::asked(server.address(), "POST", &path, &headers, "[\"x").await);
    }
    for live in &mut lives {
        live.head().await;
        assert_eq!(live.status, 408);
    }
    let grown = most_memory(&server) - before;
    assert!(grown < 16 * 1024, "{grown} KiB for 100 promises of 1 MB");
}

/// The most memory that the server ever held, in KiB.
fn most_memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("Linux says");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
