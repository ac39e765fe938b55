//! Between two responses a session lives for a while, and while one is open it gives signs of life.

use std::time::{Duration, Instant};

use quick_notify::stomp::ServerCommand;

use super::client::{ALL, Client, Via};
use super::*;
use crate::harness::{eventually, lasts};

#[tokio::test]
async fn a_session_that_nobody_asks_for_is_gone_after_the_delay() {
    let settings = [
        ("edge.sockjs.disconnect_delay_ms", "600"),
        ("session.max_per_user", "1"),
    ];
    let server = Server::with(&settings).await;
    let mut client = Client::connect(&server, Via::Polling, "test1").await;
    // Again and again for longer than the delay, each time within it.
    for _ in 0..4 {
        client.let_go();
        lasts(Duration::from_millis(300)).await;
        client.is_quiet().await;
    }
    let left = Instant::now();
    eventually("the end of the session", || async {
        server.metric("quick_notify_sessions").await == 0.0 && server.metric("quick_notify_connections").await == 0.0
    })
    .await;
    let lived = left.elapsed();
    assert!(lived >= Duration::from_millis(500), "it was gone after {lived:?}");
    assert!(lived < Duration::from_secs(5), "it was there for {lived:?}");
    // Its client is told so, and its user has room for another.
    assert!(client.next().await.is_none());
    assert_eq!(client.close, Some((1002, "Connection interrupted".into())));
    assert_eq!(client.post("x").await, 404);
    let mut next = Client::connect(&server, Via::Polling, "test1").await;
    next.is_quiet().await;
    // A while later nothing is known of it: the same name is a fresh session.
    eventually("a fresh session", || async {
        poll(&server, &client.session).await == "o\n"
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_being_asked_for_stays() {
    let settings = [
        ("edge.sockjs.disconnect_delay_ms", "200"),
        ("session.max_per_user", "1"),
    ];
    let server = Server::with(&settings).await;
    for via in ALL {
        let mut client = Client::connect(&server, via, "test1").await;
        client.begin().await;
        lasts(Duration::from_millis(600)).await;
        let mut second = Client::open(&server, via).await;
        assert_eq!(
            second.handshake("test1").await.command,
            ServerCommand::Error,
            "{via:?}: the first is there"
        );
        drop(client);
        eventually("its end", || async {
            server.metric("quick_notify_sessions").await == 0.0
        })
        .await;
    }
}

#[tokio::test]
async fn each_transport_gives_signs_of_life() {
    let server = Server::with(&[("edge.sockjs.heartbeat_ms", "100")]).await;
    let session = open(&server, ECHO).await;
    let begun = Instant::now();
    assert_eq!(poll(&server, &session).await, "h\n");
    assert!(begun.elapsed() >= Duration::from_millis(95), "{:?}", begun.elapsed());
    let answer = server.get(&format!("{session}/jsonp?c=x"), &[]).await;
    assert_eq!(answer.text, "/**/x(\"h\");\r\n");
    let mut live = stream(&server, &format!("{}/eventsource", fresh(ECHO))).await;
    live.expect("\r\ndata: o\r\n\r\ndata: h\r\n\r\ndata: h\r\n\r\n").await;
    let mut live = stream(&server, &format!("{}/xhr_streaming", fresh(ECHO))).await;
    live.expect(&format!("{}\no\nh\nh\n", "h".repeat(2_048))).await;
    let mut live = stream(&server, &format!("{}/htmlfile?c=x", fresh(ECHO))).await;
    live.until("\r\n\r\n").await.expect("the head of the page");
    live.expect("<script>\np(\"o\");\n</script>\r\n<script>\np(\"h\");\n</script>\r\n")
        .await;
}

/// With STOMP's own heart-beats off, nothing else is said.
#[tokio::test]
async fn a_quiet_session_costs_its_client_nothing_else() {
    let server = Server::with(&[("edge.sockjs.heartbeat_ms", "60000")]).await;
    let client = Client::connect(&server, Via::Polling, "test1").await;
    let mut live = Live::asked(server.address(), "POST", &format!("{}/xhr", client.session), &[], "").await;
    live.is_silent_for(Duration::from_millis(500)).await;
}
