//! Who may be here, how often, and how long.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::harness::{Server, Tab, eventually};
use quick_notify::stomp::ServerCommand;

fn token(data: &Path, user: &str, ttl: &str) -> String {
    let data = format!("app.data={}", data.display());
    let output = Server::program(&["token", "--sub", user, "--ttl", ttl, "--set", &data]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .expect("a token is text")
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_has_ten_sessions_the_eleventh_is_told_why_and_a_place_that_is_left_is_free() {
    let server = Server::start().await;
    let mut tabs = Vec::new();
    for _ in 0..10 {
        tabs.push(Tab::listen(&server, "test1", None).await);
    }
    let mut eleventh = Tab::open(&server).await;
    let error = eleventh.handshake("test1", "1.2").await;
    assert_eq!(error.headers.get("code"), Some("too-many-sessions"));
    assert_eq!(
        error.headers.get("message"),
        Some("this user has 10 sessions already (session.max_per_user)")
    );
    eleventh.closed().await;
    Tab::connect(&server, "test2").await;
    let id = server.notify("test1", "to all ten").await;
    for tab in &mut tabs {
        assert_eq!(tab.delivery().await.id, id);
    }
    tabs.pop().expect("ten").leave().await;
    Tab::connect(&server, "test1").await.leave().await;
    // One that goes without a word is free as soon as its socket is known to be gone.
    drop(tabs.pop());
    eventually("a free place", || async {
        Tab::open(&server).await.handshake("test1", "1.2").await.command == ServerCommand::Connected
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_its_token_ends_the_live_session_ends() {
    let server = Server::start().await;
    let mut alice = Tab::listen(&server, &token(server.data(), "alice", "2s"), None).await;
    let begin = Instant::now();
    let id = server.notify("alice", "in time").await;
    assert_eq!(alice.delivery().await.id, id);
    let (code, message) = alice.error().await;
    assert_eq!(code, "token-expired");
    assert!(message.contains("/app/token"), "{message}");
    assert_eq!(alice.close, Some((1008, "token-expired".into())));
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_token_keeps_the_session_and_another_users_ends_it() {
    let server = Server::start().await;
    let mut alice = Tab::listen(&server, &token(server.data(), "alice", "2s"), None).await;
    let mut short = Tab::connect(&server, &token(server.data(), "alice", "3s")).await;
    let renew = |tab: &Tab, token: &str| {
        tab.write(quick_notify::stomp::Command::Send)
            .header("destination", "/app/token")
            .header("receipt", "renewed")
            .body(token.as_bytes())
    };
    let frame = renew(&alice, &token(server.data(), "alice", "1h"));
    alice.send(frame).await;
    alice.receipt("renewed").await;
    assert_eq!(short.error().await.0, "token-expired", "time has passed");
    let id = server.notify("alice", "still here").await;
    assert_eq!(alice.delivery().await.id, id);
    alice.ack(&id).await;
    let frame = renew(&alice, &token(server.data(), "bob", "1h"));
    alice.send(frame).await;
    assert_eq!(alice.error().await.0, "token-wrong-user");
}
