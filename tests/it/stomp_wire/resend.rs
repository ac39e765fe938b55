//! Re-sends on the wire, and what is left for the next session.

use serde_json::Value;

use crate::harness::{Server, Tab, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unconfirmed_comes_again_until_it_is_given_up_and_waits_for_the_next_session() {
    let server = Server::with(&[
        ("session.resend_first_ms", "150"),
        ("session.resend_every_ms", "100"),
        ("session.resend_most", "3"),
    ])
    .await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let id = server.notify("test1", "hello").await;
    let attempts = alice.deliveries(4).await;
    let last_sent = |body: &Value| body["ack_last_sent"].as_i64().expect("a number");
    for (n, delivery) in attempts.iter().enumerate() {
        assert_eq!((&delivery.id, delivery.attempt as usize), (&id, n + 1));
        assert_eq!(delivery.body()["ack_retry_count"], n);
    }
    let bodies: Vec<_> = attempts.iter().map(|delivery| delivery.body()).collect();
    assert_eq!(last_sent(&bodies[0]), bodies[0]["created"].as_i64().expect("a number"));
    // The fourth says when the third went out, the second when the first did.
    let between = last_sent(&bodies[3]) - last_sent(&bodies[1]);
    assert!(between >= 249, "150 and 100 ms lie between them, not {between}");
    eventually("giving up", || async {
        server.metric("quick_notify_given_up_total").await >= 1.0
    })
    .await;
    alice.is_quiet().await;
    let mut next = Tab::listen(&server, "test1", None).await;
    let again = next.delivery().await;
    assert_eq!((again.id, again.attempt, again.replayed), (id.clone(), 1, true));
    next.ack(&id).await;
    let mut third = Tab::listen(&server, "test1", None).await;
    third.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_resumes_by_seq_over_a_restart() {
    let mut server = Server::start().await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    for n in 1..=5 {
        server.notify("test1", &n.to_string()).await;
    }
    let before = alice.deliveries(5).await;
    for delivery in &before[1..] {
        alice.ack(&delivery.id).await;
    }
    server.kill9().await;
    server.restart().await;
    server.notify("test1", "6").await;
    let mut alice = Tab::listen(&server, "test1", Some(3)).await;
    let resumed = alice.deliveries(4).await;
    let seqs: Vec<_> = resumed.iter().map(|delivery| delivery.seq).collect();
    assert_eq!(
        seqs,
        [Some(1), Some(4), Some(5), Some(6)],
        "what nobody confirmed, and all behind 3"
    );
    assert_eq!(resumed[0].id, before[0].id);
    alice.is_quiet().await;
    let id = server.notify("test1", "7").await;
    assert_eq!(alice.delivery().await.id, id);
    let mut lost = Tab::listen(&server, "test1", Some(99)).await;
    let gap = lost.delivery().await.body();
    assert_eq!(
        (&gap["type"], gap["data"].to_string()),
        (&"REPLAY_GAP".into(), r#"{"from":1,"requested":99}"#.into())
    );
}
