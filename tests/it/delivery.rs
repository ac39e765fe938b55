//! Every session gets everything, in order, however it joins; a slow one holds up nobody.

use std::time::Duration;

use quick_notify::stomp::Command;
use serde_json::{Value, json};

use crate::harness::{Server, Tab, eventually, within};

const NOTIFICATIONS: u64 = 2_000;

/// Publishes `NOTIFICATIONS` texts to test1 in arrays, as fast as they are accepted.
async fn publish_all(url: String) {
    let http = reqwest::Client::new();
    for _ in 0..NOTIFICATIONS / 20 {
        let array = Value::from_iter((0..20).map(|n| json!({"receiver": "test1", "data": format!("{n}")})));
        let response = http
            .post(format!("{url}/api/notify"))
            .body(array.to_string())
            .send()
            .await
            .expect("accepted");
        assert_eq!(response.status(), 202);
    }
}

/// First deliveries until the last notification, confirming each.
async fn seqs(tab: &mut Tab) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.last() != Some(&NOTIFICATIONS) {
        let delivery = tab.delivery().await;
        if delivery.attempt == 1 {
            seqs.push(delivery.seq.expect("it has a place"));
        }
        let ack = tab.write(Command::Ack).header("id", &delivery.id).end();
        tab.send(ack).await;
    }
    seqs
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_join_at_any_time_get_everything_in_order_without_a_gap_or_a_swap() {
    let server = Server::with(&[("session.window", "40")]).await;
    let publishing = tokio::spawn(publish_all(server.url()));
    let mut sessions = Vec::new();
    for session in 0..8 {
        // Each joins a little later than the one before.
        let stored = f64::from(session) * 150.0;
        eventually("progress", || async {
            server.metric("quick_notify_stored_total").await >= stored
        })
        .await;
        let mut tab = Tab::listen(&server, "test1", Some(0)).await;
        sessions.push(tokio::spawn(async move { seqs(&mut tab).await }));
    }
    publishing.await.expect("all accepted");
    for session in sessions {
        let seqs = within("all of them", session).await.expect("it ran");
        assert_eq!(seqs, Vec::from_iter(1..=NOTIFICATIONS));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_resumes_after_its_last_seq_and_gets_what_nobody_confirmed_before_it() {
    let server = Server::start().await;
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for n in 0..6 {
            ids.push(server.notify("test1", &format!("{n}")).await);
        }
        ids
    };
    eventually("all six in the record", || async {
        server.metric("quick_notify_stored_total").await == 6.0
    })
    .await;
    let mut first = Tab::listen(&server, "test1", None).await;
    for (n, delivery) in first.deliveries(6).await.iter().enumerate() {
        assert_eq!(
            (&delivery.id, delivery.seq, delivery.replayed),
            (&ids[n], Some(n as u64 + 1), true)
        );
    }
    for n in [0, 2, 4] {
        first.ack(&ids[n]).await;
    }
    first.leave().await;
    // After 3: all that is kept (4, 5, 6); before it what is unconfirmed (2).
    let mut again = Tab::listen(&server, "test1", Some(3)).await;
    let seqs: Vec<_> = again
        .deliveries(4)
        .await
        .iter()
        .map(|delivery| delivery.seq.expect("a place"))
        .collect();
    assert_eq!(seqs, [2, 4, 5, 6]);
    again.is_quiet().await;
    // Without last-seq: what is unconfirmed.
    let mut plain = Tab::listen(&server, "test1", None).await;
    let seqs: Vec<_> = plain
        .deliveries(3)
        .await
        .iter()
        .map(|delivery| delivery.seq.expect("a place"))
        .collect();
    assert_eq!(seqs, [2, 4, 6]);
    plain.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_of_a_user_gets_it_and_confirms_for_itself() {
    let server = Server::with(&[("session.resend_first_ms", "200"), ("session.resend_every_ms", "200")]).await;
    let mut phone = Tab::listen(&server, "test1", None).await;
    let mut laptop = Tab::listen(&server, "test1", None).await;
    let mut stranger = Tab::listen(&server, "test2", None).await;
    let id = server.notify("test1", "on both").await;
    assert_eq!(phone.delivery().await.id, id);
    assert_eq!(laptop.delivery().await.id, id);
    phone.ack(&id).await;
    // The row is settled, and the other device is still asked.
    let again = laptop.delivery().await;
    assert_eq!((&again.id, again.attempt), (&id, 2));
    laptop.ack(&id).await;
    phone.is_quiet().await;
    stranger.is_quiet().await;
    assert_eq!(server.metric("quick_notify_acked_total").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_never_reads_is_closed_with_a_reason_and_holds_up_nobody() {
    let server = Server::with(&[("edge.write_timeout_ms", "500")]).await;
    let _never_reads = Tab::listen(&server, "test1", None).await;
    let mut reads = Tab::listen(&server, "test2", None).await;
    let text = "x".repeat(60_000);
    let mut sent = 0;
    within("the close of the slow one", async {
        // More than the sockets' buffers take; the other one gets each at once.
        while server.metric("quick_notify_connections_closed_total").await == 0.0 {
            server.publish(json!({"everyone": true, "data": text})).await;
            sent += 1;
            let asked = tokio::time::timeout(Duration::from_secs(2), reads.delivery()).await;
            assert_eq!(asked.expect("the other one is not held up").data().len(), text.len());
        }
    })
    .await;
    assert!(sent > 10, "closed only when nothing more went out: {sent}");
    assert!(
        server
            .metrics()
            .await
            .contains("connections_closed_total{reason=\"slow-consumer\"} 1")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_persisted_is_told_once_and_leaves_no_row() {
    let server = Server::start().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.subscribe("orders", "/topic/orders").await;
    let receipt = server
        .publish(json!({"receiver": "test1", "data": "now or never", "persist": false}))
        .await;
    assert_eq!(receipt["durability"], "transient");
    let delivery = tab.delivery().await;
    assert_eq!((delivery.seq, delivery.data()), (None, "now or never".to_owned()));
    let receipt = server.publish(json!({"topic": "orders", "data": "moved"})).await;
    assert_eq!(receipt["durability"], "transient");
    let delivery = tab.delivery().await;
    assert_eq!(
        (&*delivery.destination, delivery.data()),
        ("/topic/orders", "moved".to_owned())
    );
    assert_eq!(delivery.body()["receiver"], "/topic/orders");
    server.publish(json!({"everyone": true, "data": "all"})).await;
    let delivery = tab.delivery().await;
    assert_eq!(
        (&*delivery.destination, &delivery.body()["receiver"]),
        ("/user/queue/msg", &json!("*"))
    );
    let history = server
        .get("/api/notify/history", &[("Authorization", "test1")])
        .await
        .json();
    assert_eq!(history["data"], json!([]));
}
