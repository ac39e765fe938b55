//! On three nodes: the door of one, the dispatcher of another.

use std::time::Duration;

use super::*;
use crate::harness::{Cluster, lasts};

#[tokio::test(flavor = "multi_thread")]
async fn a_door_hears_the_word_of_another_nodes_dispatcher() {
    let cluster = Cluster::start(&[
        ("attach.enabled", "true"),
        ("attach.discover_ms", "100"),
        ("attach.lease_ms", "1000"),
        CENSOR,
    ])
    .await;
    let nats = &cluster.nats.servers()[0];
    let _censor = Plugin::named("censor")
        .hook("review", |question| {
            verdicts(question, |text| match text {
                "spam" => json!({"verdict": "reject", "reason": "no"}),
                _ => pass(),
            })
        })
        .start(nats)
        .await;
    for node in &cluster.nodes {
        node.server.sees("censor", "attached").await;
    }
    let mut stored_by = vec![0.0; 3];
    for (number, node) in cluster.nodes.iter().enumerate() {
        let drafts: Vec<_> = (0..40)
            .map(|n| json!({"receiver": format!("u{number}-{n}"), "data": "x"}))
            .collect();
        let begun = std::time::Instant::now();
        let answer = stored(&node.server, Value::from(drafts)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        // The record is only asked at the deadline, or after it: these were told.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        let spam: Vec<_> = (0..20)
            .map(|n| json!({"receiver": format!("u{number}-{n}"), "data": "spam"}))
            .collect();
        let answer = stored(&node.server, Value::from(spam)).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
    }
    for (count, node) in stored_by.iter_mut().zip(&cluster.nodes) {
        *count = node.server.metric("quick_notify_stored_total").await;
    }
    assert_eq!(stored_by.iter().sum::<f64>(), 120.0);
    // So the doors of some were told by others.
    assert!(stored_by.iter().any(|count| *count < 40.0), "{stored_by:?}");
}

/// Longer than the server waits for an ack, and than a pin lasts.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_plugin_holds_up_for_long_comes_once_and_in_order() {
    let table = r#"{hooks=["review"],on_failure="retry",required=true}"#;
    let cluster = Cluster::start(&[
        ("attach.enabled", "true"),
        ("attach.discover_ms", "100"),
        ("attach.lease_ms", "1000"),
        ("attach.plugins.censor", table),
        ("queue.jetstream.ack_wait_ms", "1000"),
        ("queue.jetstream.pin_timeout_ms", "1000"),
        ("queue.jetstream.partitions", "2"),
    ])
    .await;
    let server = &cluster.nodes[0].server;
    for text in ["1", "2", "3"] {
        server.notify("test1", text).await;
    }
    eventually("held", async || {
        let mut held = 0.0;
        for node in &cluster.nodes {
            held += node.server.metric("quick_notify_review_held").await;
        }
        held >= 1.0
    })
    .await;
    // Where it is held may change when a busy machine stands still for longer than a pin; what it says may not.
    lasts(Duration::from_millis(3_500)).await;
    let nats = &cluster.nats.servers()[0];
    let _censor = Plugin::named("censor")
        .hook("review", |question| verdicts(question, |_| pass()))
        .start(nats)
        .await;
    eventually("all", async || inbox(server, "test1").await == ["1", "2", "3"]).await;
    let mut duplicates = 0.0;
    for node in &cluster.nodes {
        duplicates += node.server.metric("quick_notify_duplicates_total").await;
    }
    assert_eq!(duplicates, 0.0, "nothing came again");
}

/// As what comes once more after a crash, or from a producer that tries again past the doors.
#[tokio::test]
async fn what_the_record_has_is_not_reviewed_again() {
    let nats = Nats::start().await;
    let server = crate::harness::plugin::beside(&nats, &[CENSOR, ("queue.adapter", "jetstream")]).await;
    let censor = Plugin::named("censor").hook("review", |question| {
        verdicts(question, |text| match text {
            "secret" => json!({"verdict": "change", "data": "***"}),
            _ => json!({"verdict": "reject", "reason": "no"}),
        })
    });
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let context = async_nats::jetstream::new(async_nats::connect(nats.url()).await.expect("NATS"));
    let body = json!({"receiver": "test1", "data": "secret", "id": "a"}).to_string();
    for expected in [1.0, 2.0] {
        let sent = context.publish("notify.in.user.test1", body.clone().into()).await;
        sent.expect("sent").await.expect("queued");
        eventually("it is dealt with", || async {
            server.metric("quick_notify_stored_total").await + server.metric("quick_notify_duplicates_total").await
                == expected
        })
        .await;
    }
    assert_eq!(shown(&censor), ["secret"]);
    assert_eq!(alice.delivery().await.data(), "***");
    alice.is_quiet().await;
    assert_eq!(inbox(&server, "test1").await, ["***"]);
}
