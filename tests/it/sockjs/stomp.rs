//! STOMP over each transport: what it delivers over a WebSocket it delivers here, and nothing after the token's end.

use std::time::Instant;

use jsonwebtoken::{EncodingKey, Header};
use quick_notify::lifecycle::wall_clock;
use quick_notify::stomp::{Command, ServerCommand};
use serde_json::json;

use super::client::{ALL, Client, Via, write};
use super::*;
use crate::harness::{Tab, eventually};

#[tokio::test]
async fn each_transport_delivers_confirms_and_resumes() {
    let server = Server::with(&[("session.resend_first_ms", "1000")]).await;
    for (number, via) in ALL.into_iter().enumerate() {
        let user = format!("test{number}");
        let before = server.notify(&user, "before </script>").await;
        let mut client = Client::listen(&server, via, &user, None).await;
        let delivery = client.delivery().await;
        assert_eq!(
            (&delivery.id, &*delivery.data()),
            (&before, "before </script>"),
            "{via:?}"
        );
        client.ack(&before).await;
        let live = server.notify(&user, "live \u{1f600}\u{2028}").await;
        let delivery = client.delivery().await;
        assert_eq!(
            (&delivery.id, &*delivery.data(), delivery.attempt),
            (&live, "live \u{1f600}\u{2028}", 1)
        );
        // Not confirmed: it comes again.
        let again = client.delivery().await;
        assert_eq!((&again.id, again.attempt), (&live, 2), "{via:?}");
        drop(client);
        let mut next = Client::listen(&server, via, &user, Some(1)).await;
        let resumed = next.delivery().await;
        assert_eq!((&resumed.id, resumed.seq, resumed.replayed), (&live, Some(2), true));
        next.ack(&live).await;
        next.is_quiet().await;
    }
}

#[tokio::test]
async fn two_sessions_of_a_user_hear_the_same() {
    let server = Server::start().await;
    let mut one = Client::listen(&server, Via::Polling, "test1", None).await;
    let mut other = Client::listen(&server, Via::Events, "test1", None).await;
    for text in ["one", "two", "three"] {
        let id = server.notify("test1", text).await;
        for client in [&mut one, &mut other] {
            let delivery = client.delivery().await;
            assert_eq!((&delivery.id, &*delivery.data()), (&id, text));
        }
        one.ack(&id).await;
    }
    // Confirmed the other way, as the pages of long ago do.
    let id = server.notify("test1", "four").await;
    assert_eq!(
        (one.delivery().await.id, other.delivery().await.id),
        (id.clone(), id.clone())
    );
    other.send_to("/app/ack", &id).await;
    other.is_quiet().await;
}

const SECRET: &str = "a secret of thirty-two bytes, ok?";
const KEY: &str = "the-key-of-an-operator";

/// A server that asks for real tokens.
async fn strict(more: &[(&str, &str)]) -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("ingest.keys.operator.secret_env", "PRODUCER_KEY"),
        ("api.admins", "[\"operator\"]"),
    ];
    let environment = [("TOKEN_SECRET", SECRET), ("PRODUCER_KEY", KEY)];
    Server::launch(&[&settings, more].concat(), &environment).await
}

/// A token of alice that ends in so many seconds.
fn token(id: &str, seconds: i64) -> String {
    let claims =
        json!({"sub": "alice", "jti": id, "iat": wall_clock() / 1_000 - 1, "exp": wall_clock() / 1_000 + seconds});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("it can be signed")
}

/// Publishes for alice, who is not polling, until her session has so many to send.
async fn wait_for_her(server: &Server, count: usize) {
    for _ in 0..count {
        let draft = json!({"receiver": "alice", "data": "not for later"}).to_string();
        let answer = server.post("/api/notify", &[("X-API-Key", KEY)], draft).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    eventually("the deliveries", || async {
        server.metric("quick_notify_delivered_total").await >= count as f64
    })
    .await;
}

async fn is_closed(server: &Server, reason: &str) {
    let closed = format!("quick_notify_connections_closed_total{{reason=\"{reason}\"}} 1");
    eventually(reason, || async { server.metrics().await.contains(&closed) }).await;
}

/// They were on their way to a client that was between two polls.
#[tokio::test]
async fn nothing_comes_after_the_tokens_end() {
    let server = strict(&[]).await;
    let mut client = Client::listen(&server, Via::Polling, &token("a1", 6), None).await;
    client.let_go();
    wait_for_her(&server, 3).await;
    is_closed(&server, "token-expired").await;
    is_told(&mut client, "token-expired").await;
}

/// Nor did it end by its token.
#[tokio::test]
async fn what_an_ended_session_has_waits_no_longer_than_its_token() {
    let server = strict(&[("edge.close_timeout_ms", "10000")]).await;
    let ends = wall_clock() / 1_000 + 4;
    let mut client = Client::listen(&server, Via::Polling, &token("a1", 4), None).await;
    client.let_go();
    wait_for_her(&server, 3).await;
    assert_eq!(client.post("BAD\n\n\0").await, 204);
    is_closed(&server, "malformed-frame").await;
    eventually("the token's end", || async { wall_clock() / 1_000 > ends }).await;
    let frame = client.next().await;
    assert!(frame.is_none(), "{frame:?}");
    assert_eq!(client.close.expect("a close").0, 1002);
}

/// By the ERROR, if it comes for it at once, and by the close in any case; and of nothing else.
async fn is_told(client: &mut Client, code: &str) {
    if let Some(frame) = client.next().await {
        assert_eq!(frame.command, ServerCommand::Error, "{frame:?}");
        assert_eq!(frame.headers.get("code"), Some(code));
        assert!(client.next().await.is_none());
    }
    assert_eq!(client.close, Some((1008, code.into())));
}

#[tokio::test]
async fn nothing_comes_after_the_token_was_taken_back() {
    let server = strict(&[]).await;
    let mut away = Client::listen(&server, Via::Calls, &token("a1", 600), None).await;
    away.let_go();
    let mut kept = Client::listen(&server, Via::Streaming, &token("a2", 600), None).await;
    wait_for_her(&server, 2).await;
    let body = json!({"token_id": "a1"}).to_string();
    let answer = server.post("/api/sessions/revoke", &[("X-API-Key", KEY)], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    is_closed(&server, "token-revoked").await;
    is_told(&mut away, "token-revoked").await;
    kept.delivery().await;
    kept.delivery().await;
    kept.is_quiet().await;
}

/// What a response had taken can't be taken back; its connection ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_nobody_reads_ends_with_the_token() {
    let settings = [
        ("edge.write_timeout_ms", "60000"),
        ("http.write_timeout_ms", "60000"),
        ("edge.sockjs.response_limit", "100000000"),
    ];
    let server = strict(&settings).await;
    let ends = Instant::now() + std::time::Duration::from_secs(6);
    let mut client = Client::listen(&server, Via::Streaming, &token("a1", 6), None).await;
    let mut live = client.let_go().expect("a response is open");
    let text = "x".repeat(60_000);
    for _ in 0..150 {
        let draft = json!({"receiver": "alice", "data": text}).to_string();
        server.post("/api/notify", &[("X-API-Key", KEY)], draft).await;
    }
    is_closed(&server, "token-expired").await;
    live.is_gone().await;
    let late = Instant::now().saturating_duration_since(ends);
    assert!(late.as_millis() < 2_500, "{late:?} after the token's end");
}

/// The same of a poll's answer, which is whole, and behind which the next poll may come at any time.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_ends_with_the_token() {
    let settings = [("edge.sockjs.max_outbound", "33554432")];
    let server = strict(&settings).await;
    let ends = Instant::now() + std::time::Duration::from_secs(20);
    let mut client = Client::listen(&server, Via::Polling, &token("a1", 20), None).await;
    client.let_go();
    let text = "x".repeat(60_000);
    for _ in 0..150 {
        let draft = json!({"receiver": "alice", "data": text}).to_string();
        server.post("/api/notify", &[("X-API-Key", KEY)], draft).await;
    }
    eventually("the deliveries", || async {
        server.metric("quick_notify_delivered_total").await >= 150.0
    })
    .await;
    client.begin().await;
    let mut live = client.let_go().expect("a response is open");
    live.head().await;
    is_closed(&server, "token-expired").await;
    live.is_gone().await;
    let late = Instant::now().saturating_duration_since(ends);
    assert!(late.as_millis() < 2_500, "{late:?} after the token's end");
}

/// It was answered that they are taken.
#[tokio::test]
async fn what_was_sent_before_the_break_is_heard() {
    // The second to come has to wait for its turn.
    let settings = [("edge.admission.per_second", "1"), ("edge.admission.burst", "1")];
    let server = Server::with(&settings).await;
    let mut tab = Tab::connect(&server, "test1").await;
    tab.subscribe("room", "/topic/room").await;
    let mut client = Client::open(&server, Via::Polling).await;
    let connect = write(Command::Connect)
        .header("accept-version", "1.2")
        .header("host", "test")
        .header("Authorization", "test2");
    client.send(connect.end()).await;
    client.send_to("/topic/room", "the last word").await;
    client.begin().await;
    // It is there.
    let refused = poll(&server, &client.session).await;
    assert_eq!(refused, "c[2010,\"Another connection still open\"]\n");
    drop(client.let_go());
    let heard = tab.frame().await;
    assert_eq!(&*heard.body, b"the last word");
}

/// One that is somebody's already can't become somebody else's.
#[tokio::test]
async fn a_session_says_who_it_is_once() {
    let server = Server::start().await;
    let mut client = Client::listen(&server, Via::Polling, "test1", None).await;
    let second = client.handshake("test2").await;
    assert_eq!(second.command, ServerCommand::Error);
    assert!(client.next().await.is_none());
}
