//! What is refused at the start, and what `migrate` changes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::harness::servers;

fn refusal(opened: Result<Arc<dyn Queue>, QueueError>) -> String {
    match opened {
        Err(QueueError::Refused(reason)) => reason,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it has started"),
    }
}

#[tokio::test]
async fn a_different_configuration_is_told_field_by_field_and_changed_by_migrate_alone() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    node(&urls, one_lane()).await;
    let other = jetstream::Config {
        max_messages: 5,
        ack_wait_ms: 7_000,
        pin_timeout_ms: 2_000,
        dead_max_messages: 6,
        ..one_lane()
    };
    let said = refusal(open(&urls, other.clone()).await);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "what is in NATS is not what the configuration says:",
            "  notify-dead: max_messages is 100000, the configuration says 6",
            "  notify: max_messages is 1000000, the configuration says 5",
            "  lane-0: ack_wait is 30s, the configuration says 7s",
            "  lane-0: priority_timeout is 1s, the configuration says 2s",
            "run quick-notify migrate, or change the configuration",
        ]
    );
    let nats = connect(&urls).await;
    let changed = queue::migrate(&configured(other.clone()), Some(&nats))
        .await
        .expect("changed");
    assert_eq!(changed.len(), 4, "{changed:?}");
    let queue = node(&urls, other.clone()).await;
    publish(&*queue, 1..=5).await;
    assert!(matches!(
        queue.publish(vec![entry(6)]).await[0],
        Err(QueueError::Full(_))
    ));
    let again = queue::migrate(&configured(other), Some(&nats))
        .await
        .expect("nothing to do");
    assert!(again.is_empty(), "{again:?}");
}

#[tokio::test]
async fn the_number_of_partitions_changes_only_when_nothing_is_queued() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let nats = connect(&urls).await;
    let queue = node(&urls, one_lane()).await;
    publish(&*queue, 1..=3).await;
    let three = jetstream::Config {
        partitions: 3,
        ..one_lane()
    };
    let said = refusal(open(&urls, three.clone()).await);
    assert!(
        said.contains("partition(1,3)") && said.contains("partition(3,3)"),
        "{said}"
    );
    let refused = queue::migrate(&configured(three.clone()), Some(&nats)).await;
    let refused = refused.expect_err("three wait").to_string();
    assert!(refused.contains("while 3 message(s) are queued"), "{refused}");
    publish(&*queue, 4..=4).await;
    hold(&*queue).await;
    gather(&*queue, 4).await;
    queue.settle(0, 4, Vec::new()).await.expect("settled");
    settled(&*queue).await;
    queue.close().await;
    queue::migrate(&configured(three.clone()), Some(&nats))
        .await
        .expect("changed");
    let queue = node(&urls, three).await;
    let to = |n: usize| NewEntry {
        to: Audience::User(format!("user {n}")),
        ..entry(n)
    };
    for answer in queue.publish((10..40).map(to).collect()).await {
        answer.expect("published");
    }
    for lane in 0..3 {
        within("the lane", queue.hold(lane)).await.expect("every lane has some");
    }
}

/// Debian's server, for one, can't do what is needed.
#[tokio::test]
async fn an_old_server_is_refused_by_its_version() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", listener.local_addr().expect("an address"));
    // Its greeting and its answer to the first ping are all that is needed of it.
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let info = br#"INFO {"server_id":"x","version":"2.9.10","proto":1,"headers":true,"max_payload":1048576,"jetstream":true}"#;
        stream.write_all(&[info, &b"\r\n"[..]].concat()).await.expect("sent");
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {
            if stream.write_all(b"PONG\r\n").await.is_err() {
                return;
            }
        }
    });
    let said = refusal(open(&[url], one_lane()).await);
    assert!(said.contains("2.9.10") && said.contains("2.14"), "{said}");
    server.abort();
}

#[tokio::test]
async fn receipts_promise_what_the_servers_are_known_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let monitoring = vec![format!("http://127.0.0.1:{port}")];
    let required = |required| jetstream::Config {
        monitoring: monitoring.clone(),
        require_durability: Some(required),
        ..one_lane()
    };
    for (sync, durability) in [
        ("always", queue::Durability::Fsynced),
        ("10s", queue::Durability::Memory),
    ] {
        let lines = format!("http: \"127.0.0.1:{port}\"\njetstream {{ sync_interval: {sync} }}");
        let server = servers::Nats::with(&lines).await;
        let urls = [server.url()];
        let told = jetstream::Config {
            monitoring: monitoring.clone(),
            ..one_lane()
        };
        assert_eq!(node(&urls, told).await.durability(), durability);
        assert_eq!(
            node(&urls, one_lane()).await.durability(),
            queue::Durability::Memory,
            "unknown"
        );
        let opened = open(&urls, required(jetstream::Required::Fsynced)).await;
        assert_eq!(opened.is_ok(), durability == queue::Durability::Fsynced, "{sync}");
        let said = refusal(open(&urls, required(jetstream::Required::Replicated)).await);
        assert!(said.contains("require_durability"), "{said}");
    }
}

#[test]
fn what_would_lose_the_accepted_is_refused_with_its_reason() {
    let config = jetstream::Config {
        retention: "limits".into(),
        discard: "old".into(),
        max_age_seconds: 60,
        partitions: 0,
        ..Default::default()
    };
    let problems: Vec<_> = config
        .problems()
        .into_iter()
        .map(|(path, reason)| format!("{path}: {reason}"))
        .collect();
    assert_eq!(
        problems,
        [
            "jetstream.retention: can only be \"workqueue\": any other loses what was accepted or keeps what was settled",
            "jetstream.discard: can only be \"new\": \"old\" would lose what was accepted",
            "jetstream.max_age_seconds: can only be 0: any age would lose what was accepted",
            "jetstream.partitions: must lie between 1 and 256",
        ]
    );
}
