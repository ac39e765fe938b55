//! What an SRE relies on: readiness, metrics, retention, and a drain that loses nothing.

use serde_json::json;

use crate::checker::{Accepted, Record};
use crate::harness::{Server, Tab, eventually, within};

#[tokio::test]
async fn health_says_live_and_ready() {
    let server = Server::start().await;
    assert_eq!(server.get("/health/live", &[]).await.status, 200);
    let ready = server.get("/health/ready", &[]).await;
    assert_eq!((ready.status, ready.json()), (200, json!({"ready": true})));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_the_walk_of_a_notification() {
    let server = Server::with(&[("telemetry.sample_ms", "100"), ("session.resend_first_ms", "100")]).await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let confirmed = server.notify("test1", "one").await;
    assert_eq!(alice.delivery().await.id, confirmed);
    alice.ack(&confirmed).await;
    let resent = server.notify("test1", "two").await;
    assert_eq!(alice.delivery().await.id, resent);
    assert_eq!(alice.delivery().await.attempt, 2);
    server
        .post("/api/notify", &[], r#"{"everyone": true, "data": "all"}"#)
        .await;
    while alice.delivery().await.body()["data"] != "all" {}
    server.post("/api/notify", &[], "{}").await;
    alice.leave().await;

    for (name, expected) in [
        ("accepted_total", 3.0),
        ("refused_total", 1.0),
        ("stored_total", 2.0),
        ("delivered_total", 2.0),
        ("broadcast_total", 1.0),
        ("acked_total", 1.0),
        ("ended_total", 1.0),
        ("sessions_opened_total", 1.0),
        ("accept_to_stored_seconds_count", 2.0),
        ("accept_to_delivered_seconds_count", 2.0),
        ("accept_to_acked_seconds_count", 1.0),
        ("queue_pending", 0.0),
        ("queue_last_sequence", 3.0),
        ("record_open", 1.0),
        ("connections_closed_total", 1.0),
        ("connections", 0.0),
        ("sessions", 0.0),
    ] {
        let name = format!("quick_notify_{name}");
        eventually(&name, || async { server.metric(&name).await == expected }).await;
    }
    assert!(server.metric("quick_notify_resent_total").await >= 1.0);
    let text = server.metrics().await;
    for word in ["test1", &confirmed, "one"] {
        let told = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .any(|line| line.contains(&format!("\"{word}\"")));
        assert!(!told, "{word} is in a label");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_ends_what_nobody_confirmed_and_says_so_to_who_resumes() {
    let settings = [
        ("sweep.retention_seconds", "1"),
        ("sweep.every_ms", "50"),
        ("telemetry.sample_ms", "100"),
    ];
    let server = Server::with(&settings).await;
    server.notify("test1", "nobody is here").await;
    eventually("the end of retention", || async {
        server.metric("quick_notify_ended_total").await == 1.0
    })
    .await;
    let history = server
        .get("/api/notify/history", &[("Authorization", "test1")])
        .await
        .json();
    assert_eq!(history["data"], json!([]));

    let mut resumes = Tab::listen(&server, "test1", Some(0)).await;
    let gap = resumes.delivery().await.body();
    assert_eq!(
        (&gap["type"], &gap["data"]),
        (&json!("REPLAY_GAP"), &json!({"requested": 0, "from": 2}))
    );
    let next = server.notify("test1", "seq goes on").await;
    let delivery = resumes.delivery().await;
    assert_eq!(
        (delivery.id, delivery.seq),
        (next, Some(2)),
        "counters outlive their rows"
    );
    resumes.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_loses_nothing_and_sends_everybody_away_with_a_time() {
    let mut server = Server::start().await;
    let mut tabs = Vec::new();
    for n in 0..20 {
        tabs.push(Tab::listen(&server, &format!("test{n}"), None).await);
    }
    // One that has not said who it is has to go, too.
    let mut stranger = Tab::open(&server).await;
    let url = server.url();
    let producers = (0..8).map(|producer| {
        let url = url.clone();
        tokio::spawn(async move {
            let http = reqwest::Client::new();
            let mut accepted = Vec::new();
            for n in 0.. {
                let receiver = format!("test{}", (producer + n) % 20);
                let draft = json!({"receiver": receiver, "data": "before the drain"});
                let Ok(response) = http
                    .post(format!("{url}/api/notify"))
                    .body(draft.to_string())
                    .send()
                    .await
                else {
                    break;
                };
                let Ok(receipt) = response.json::<serde_json::Value>().await else {
                    break;
                };
                let Some(id) = receipt["id"].as_str() else { break };
                accepted.push(Accepted {
                    id: id.to_owned(),
                    receiver,
                    turn: None,
                });
            }
            accepted
        })
    });
    let producers: Vec<_> = producers.collect();
    eventually("some load", || async {
        server.metric("quick_notify_stored_total").await > 100.0
    })
    .await;
    server.signal("TERM");
    for tab in &mut tabs {
        within("the close", async { while tab.next().await.is_some() {} }).await;
        let (code, reason) = tab.close.clone().expect("a close frame");
        assert_eq!(code, 1001);
        assert!(reason.starts_with("draining; retry-after="), "{reason}");
    }
    stranger.closed().await;
    assert_eq!(server.wait().await, Some(0), "the drain was finished");
    let mut accepted = Vec::new();
    for producer in producers {
        accepted.extend(within("a producer", producer).await.expect("it ran"));
    }
    // What the queue still held comes into the record at the next start.
    server.restart().await;
    eventually("an empty queue", || async {
        server.metric("quick_notify_queue_pending").await == 0.0
    })
    .await;
    server.terminate().await;
    let record = Record::of(&server).await;
    assert!(accepted.len() > 100);
    assert_eq!(record.check(&accepted, &[]), Vec::<String>::new());
}
