//! What the stream keeps, for who must not miss it.

use std::time::Duration;

use async_nats::jetstream;
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::{Story, Told, fields, tell};
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually, within};

const KEPT: (&str, &str) = ("attach.events.stream.kinds", r#"["stored","deleted"]"#);

async fn stream(told: &Told) -> jetstream::stream::Stream {
    let context = jetstream::new(told.client.clone());
    context
        .get_stream(format!("{}-events", told.prefix))
        .await
        .expect("the stream")
}

#[tokio::test]
async fn the_stream_replays_to_who_comes_late_and_survives_its_server() {
    let mut nats = Nats::start().await;
    let servers = format!("[\"{}\"]", nats.url());
    let settings = [
        ("attach.enabled", "true"),
        ("nats.servers", &*servers),
        KEPT,
        ("attach.events.stream.max_age_seconds", "3600"),
        ("attach.events.stream.max_bytes", "65536"),
    ];
    let mut server = Server::alone(&settings).await;
    let first = server.notify("test-alice", "one").await;
    eventually("it is told", async || {
        server.metric("quick_notify_events_told_total").await == 1.0
    })
    .await;
    nats.kill9().await;
    // What happens meanwhile waits, and loses nothing.
    let mut ids = vec![first];
    for n in 0..20 {
        ids.push(server.notify("test-alice", &n.to_string()).await);
    }
    nats.restart().await;
    eventually("all are told", async || {
        server.metric("quick_notify_events_told_total").await == 21.0
    })
    .await;
    assert_eq!(server.metric("quick_notify_events_lost_total").await, 0.0);

    let told = Told::of(&server).await;
    let mut stream = stream(&told).await;
    let config = stream.cached_info().config.clone();
    assert_eq!((config.max_age, config.max_bytes), (Duration::from_secs(3_600), 65_536));
    let consumer = stream
        .create_consumer(jetstream::consumer::pull::Config {
            filter_subject: "notify.event.stored.test-alice".into(),
            ..Default::default()
        })
        .await
        .expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let mut kept = Vec::new();
    while kept.len() < ids.len() {
        let message = within("an event", messages.next())
            .await
            .expect("one more")
            .expect("a message");
        let event: Value = serde_json::from_slice(&message.payload).expect("JSON");
        kept.push(event["id"].as_str().expect("an id").to_owned());
    }
    kept.sort();
    ids.sort();
    assert_eq!(kept, ids, "each once");

    // Its bound holds: the oldest go. And what the configuration says later counts.
    for n in 0..300 {
        server.notify("test-bob", &n.to_string()).await;
    }
    eventually("all are told", async || {
        server.metric("quick_notify_events_told_total").await == 321.0
    })
    .await;
    let info = stream.info().await.expect("the stream");
    assert!(
        info.state.bytes <= 65_536 && info.state.first_sequence > 1,
        "{:?}",
        info.state
    );
    server.terminate().await;
    let changed = [&settings[..4], &[("attach.events.stream.max_bytes", "131072")]].concat();
    let _server = Server::alone(&changed).await;
    assert_eq!(stream.info().await.expect("the stream").config.max_bytes, 131_072);
}

#[tokio::test]
async fn a_drain_tells_what_waits() {
    let Story {
        mut server,
        nats: _nats,
        mut told,
    } = tell(&[KEPT, ("attach.events.always", r#"["session-closed"]"#)]).await;
    let _tab = Tab::listen(&server, "test-alice", None).await;
    let id = server.notify("test-alice", "one").await;
    server.terminate().await;
    let closed = told.next("session-closed").await;
    assert_eq!(
        fields(&closed, &["user", "reason"]),
        [&json!("test-alice"), &json!("draining")]
    );
    if told.all("stored").is_empty() {
        told.next("stored").await;
    }
    let stored = told.all("stored");
    assert_eq!((stored.len(), &stored[0]["id"]), (1, &json!(id)));
    assert_eq!(stream(&told).await.cached_info().state.messages, 1);
}

#[tokio::test]
async fn without_jetstream_the_start_says_so() {
    let lines = "accounts { plain { users: [{ user: plain, password: plain }] } }\nno_auth_user: plain";
    let nats = Nats::with(lines).await;
    let data = crate::harness::tempdir();
    let (servers, data) = (
        format!("nats.servers=[\"{}\"]", nats.url()),
        format!("app.data={}", data.path().display()),
    );
    let kinds = format!("{}={}", KEPT.0, KEPT.1);
    let mut arguments = vec![
        "--set",
        "app.listen=127.0.0.1:0",
        "--set",
        "telemetry.listen=127.0.0.1:0",
    ];
    for setting in [
        &*servers,
        &data,
        &kinds,
        "attach.enabled=true",
        "nats.request_timeout_ms=500",
    ] {
        arguments.extend(["--set", setting]);
    }
    let ended = Server::program(&arguments);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success());
    assert!(
        said.contains("attach.events.stream.kinds needs JetStream, which the NATS server does not serve"),
        "{said}"
    );
}
