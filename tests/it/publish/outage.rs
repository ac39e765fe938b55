//! When the record is away the queue fills, and producers are told to come back; nothing that was accepted is lost.

use serde_json::json;
use sqlx::Connection;

use crate::checker::{Accepted, Record, open};
use crate::harness::{Server, Tab, eventually};

#[tokio::test]
async fn a_full_queue_sends_producers_away_with_a_time_to_come_back() {
    let settings = [("queue.embedded.max_entries", "5"), ("store.sqlite.timeout_ms", "200")];
    let mut server = Server::alone(&settings).await;
    // Another process holds the record's write lock: reads go on, writes wait in vain.
    let mut holder = open(server.data(), "record.db").await;
    let lock = holder.begin_with("begin immediate").await.expect("the lock");

    let mut accepted = Vec::new();
    for n in 0..5 {
        accepted.push(server.notify("test1", &n.to_string()).await);
    }
    let draft = |text: &str| json!({"receiver": "test1", "data": text}).to_string();
    let full = server.post("/api/notify", &[], draft("one too many")).await;
    assert_eq!(
        (full.status, &full.headers["retry-after"]),
        (503, &"1".parse().expect("a header"))
    );
    assert_eq!(
        full.json(),
        json!({"error": {"code": "unavailable", "reason": "the queue is full"}})
    );

    let array = json!([{"receiver": "test1", "data": "a"}, {"receiver": "test1"}]).to_string();
    let some = server.post("/api/notify", &[], array).await;
    assert_eq!(
        (some.status, some.headers.contains_key("retry-after")),
        (503, true),
        "{}",
        some.text
    );
    assert_eq!(some.json()["items"][0]["error"]["code"], "unavailable");
    let demo = server.post("/vh-stomp-wsend/push_all_obj/test1", &[], "x").await;
    assert_eq!((demo.status, demo.headers.contains_key("retry-after")), (503, true));

    lock.rollback().await.expect("it is let go");
    eventually("room in the queue", || async {
        server.post("/api/notify", &[], draft("again")).await.status == 202
    })
    .await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let got = tab.deliveries(6).await;
    let ids: Vec<_> = got.iter().take(5).map(|delivery| delivery.id.clone()).collect();
    assert_eq!(
        (ids, got[5].data()),
        (accepted.clone(), "again".to_owned()),
        "all that was accepted, in order"
    );
    tab.is_quiet().await;
    drop(tab);
    assert_eq!(server.terminate().await, Some(0));
    let accepted: Vec<_> = accepted
        .into_iter()
        .map(|id| Accepted {
            id,
            receiver: "test1".into(),
            turn: None,
        })
        .collect();
    assert_eq!(
        Record::read(server.data()).await.check(&accepted, &[]),
        Vec::<String>::new()
    );
}

/// Retries of what still waits in the queue are known there, while the record can't be asked.
#[tokio::test]
async fn a_retry_during_an_outage_finds_its_first_try_in_the_queue() {
    let server = Server::alone(&[("store.sqlite.timeout_ms", "200")]).await;
    let mut holder = open(server.data(), "record.db").await;
    let lock = holder.begin_with("begin immediate").await.expect("the lock");
    let post = async |text: &str| {
        let draft = json!({"receiver": "test1", "data": text}).to_string();
        server.post("/api/notify", &[("Idempotency-Key", "k")], draft).await
    };
    let first = post("one").await.json();
    let again = post("one").await.json();
    assert_eq!((&again["id"], &again["state"]), (&first["id"], &json!("duplicate")));
    let other = post("two").await;
    assert_eq!(other.status, 409);
    lock.rollback().await.expect("it is let go");
    let mut tab = Tab::listen(&server, "test1", None).await;
    assert_eq!(tab.delivery().await.data(), "one");
    tab.is_quiet().await;
}
