//! How a stream ends: by its token, by a drain, by a client that doesn't read.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Server, Stream, eventually, within};

const SECRET: &str = "a secret of thirty-two bytes, ok?";

pub async fn with_tokens(more: &[(&str, &str)]) -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("auth.tickets.secret.secret_env", "TOKEN_SECRET"),
        ("ingest.demo", "open"),
        ("ingest.keys.operator.secret_env", "OPERATOR"),
        ("api.admins", "[\"operator\"]"),
    ];
    let environment = [("TOKEN_SECRET", SECRET), ("OPERATOR", "the-key-of-an-operator")];
    Server::launch(&[&settings, more].concat(), &environment).await
}

/// A token that ends in so many seconds.
pub fn token(user: &str, jti: &str, seconds: i64) -> String {
    let now = quick_notify::lifecycle::wall_clock() / 1_000;
    let claims = json!({"sub": user, "jti": jti, "iat": now - 10, "exp": now + seconds});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("it can be signed")
}

pub async fn server() -> Server {
    with_tokens(&[]).await
}

pub async fn publish(server: &Server, draft: serde_json::Value) {
    let key = [("X-API-Key", "the-key-of-an-operator")];
    let answer = server.post("/api/notify", &key, draft.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
}

/// Whether the server still holds its end of this stream's connection, as the kernel knows it: what it has given up has no inode.
fn is_held(server: &Server, stream: &Stream) -> bool {
    let (_, server) = server.address().rsplit_once(':').expect("a port");
    let ours = format!(":{:04X}", server.parse::<u16>().expect("a port"));
    let theirs = format!(":{:04X}", stream.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux tells");
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields[1].ends_with(&ours) && fields[2].ends_with(&theirs) && fields[9] != "0"
    })
}

#[tokio::test]
async fn a_stream_ends_with_its_token_and_says_so() {
    let server = server().await;
    let begin = Instant::now();
    let mut stream = Stream::open(&server, &token("alice", "t1", 3), None).await;
    publish(&server, json!({"receiver": "alice", "data": "in time"})).await;
    assert_eq!(stream.told().await.json()["data"], "in time");
    assert_eq!(stream.closed().await, "token-expired");
    assert!(
        (1.5..5.0).contains(&begin.elapsed().as_secs_f64()),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked() {
    let server = server().await;
    let mut stream = Stream::open(&server, &token("alice", "t1", 600), None).await;
    let mut other = Stream::open(&server, &token("alice", "t2", 600), None).await;
    let admin = [("X-API-Key", "the-key-of-an-operator")];
    let body = json!({"token_id": "t1"}).to_string();
    assert_eq!(server.post("/api/sessions/revoke", &admin, body).await.status, 200);
    assert_eq!(stream.closed().await, "token-revoked");
    publish(&server, json!({"receiver": "alice", "data": "still here"})).await;
    assert_eq!(other.told().await.json()["data"], "still here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_sends_every_stream_off_with_a_moment_of_its_own_to_come_back() {
    let mut server = Server::start().await;
    let mut streams = Vec::new();
    for user in 0..6 {
        streams.push(Stream::open(&server, &format!("test{user}"), None).await);
    }
    let id = server.notify("test0", "last words").await;
    assert_eq!(streams[0].next().await.0, id);
    let (code, delays) = tokio::join!(server.terminate(), async {
        let mut delays = Vec::new();
        for stream in &mut streams {
            assert_eq!(stream.closed().await, "draining");
            delays.push(stream.retry.expect("a moment"));
        }
        delays
    });
    assert_eq!(code, Some(0));
    assert!(delays.iter().all(|delay| *delay <= 5_000), "{delays:?}");
    assert!(
        delays.iter().any(|delay| delay != &delays[0]),
        "all at once: {delays:?}"
    );
    // What was not confirmed is there for the next stream.
    server.restart().await;
    let mut stream = Stream::open(&server, "test0", streams[0].last_event_id).await;
    assert_eq!(stream.next().await.0, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_is_cut_off_and_holds_up_nobody() {
    let settings = [
        ("edge.write_timeout_ms", "500"),
        ("edge.close_timeout_ms", "300"),
        ("edge.sse_buffer", "1024"),
    ];
    let server = Server::with(&settings).await;
    let mut reads = Stream::open(&server, "test2", None).await;
    let never_reads = Stream::open(&server, "test1", None).await;
    assert!(is_held(&server, &never_reads));
    let text = "x".repeat(60_000);
    within("the end of the slow one", async {
        // More than the sockets' buffers take; the other one gets each at once.
        while server.metric("quick_notify_connections_closed_total").await == 0.0 {
            server.publish(json!({"everyone": true, "data": text})).await;
            assert_eq!(reads.told().await.json()["data"], text);
        }
    })
    .await;
    let metrics = server.metrics().await;
    assert!(
        metrics.contains("connections_closed_total{reason=\"slow-consumer\"} 1"),
        "{metrics}"
    );
    // It holds what it was sent and doesn't take it; its connection isn't kept for that.
    eventually("the cut", async || !is_held(&server, &never_reads)).await;
}

/// What a client has not taken when its token ends, it never gets from here: what is on its way by then is in the hands of the network.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_doesnt_read_is_cut_off_at_the_end_of_its_token() {
    let server = with_tokens(&[
        ("edge.write_timeout_ms", "60000"),
        ("http.write_timeout_ms", "60000"),
        ("session.resend_first_ms", "60000"),
    ])
    .await;
    let text = "x".repeat(60_000);
    for half in 0..2 {
        let some: Vec<_> = (0..100)
            .map(|n| json!({"receiver": "alice", "data": format!("{} {text}", half * 100 + n)}))
            .collect();
        publish(&server, json!(some)).await;
    }
    let bearer = token("alice", "t0", 600);
    super::stored(&server, &bearer, 200).await;
    let begin = Instant::now();
    // More than the sockets' buffers take, all at once.
    let mut stream = Stream::open(&server, &token("alice", "t1", 3), None).await;
    assert!(is_held(&server, &stream));
    eventually("the cut", async || !is_held(&server, &stream)).await;
    let ended = begin.elapsed();
    let got = stream.rest().await;
    assert!(ended < Duration::from_secs(6), "{ended:?}");
    assert!(!got.contains("\"199 x"), "it was cut off before the last");
    assert!(!got.contains("token-expired"), "it was not there to hear it");
}
