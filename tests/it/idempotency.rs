//! Retries without duplicates: one id is one notification, whatever became of it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::checker::Record;
use crate::harness::{Answer, Server, Tab, eventually};

async fn post(server: &Server, key: Option<&str>, body: &Value) -> Answer {
    let headers: Vec<_> = key.iter().map(|key| ("Idempotency-Key", *key)).collect();
    server.post("/api/notify", &headers, body.to_string()).await
}

/// Waits until what was queued is in the record.
async fn stored(server: &Server, user: &str, count: u64) {
    eventually("the notifications in the record", || async {
        let answer = server.get("/api/notify/unread", &[("Authorization", user)]).await;
        answer.json()["data"]["unread"] == count
    })
    .await;
}

fn duplicate(id: &Value) -> Value {
    json!({"id": id, "state": "duplicate", "durability": "fsynced"})
}

const CONFLICT: &str = "was given to another notification before; a retry must repeat the first body";

#[tokio::test]
async fn the_same_key_and_body_is_the_same_notification_whatever_became_of_it() {
    let mut server = Server::start().await;
    let body = json!({"receiver": "test1", "data": "once"});
    let other = json!({"receiver": "test1", "data": "twice"});
    let first = post(&server, Some("order-7"), &body).await.json();
    assert_eq!(first["state"], "accepted");
    let id = first["id"].clone();
    let is_known = async |server: &Server, when: &str| {
        let again = post(server, Some("order-7"), &body).await;
        assert_eq!((again.status, again.json()), (202, duplicate(&id)), "{when}");
        let conflict = post(server, Some("order-7"), &other).await;
        assert_eq!(
            (conflict.status, conflict.refusal()),
            (409, format!("Idempotency-Key: {CONFLICT}")),
            "{when}"
        );
        assert_eq!(conflict.json()["error"]["code"], "conflict");
    };
    // In a cluster a conflict is told once the record knows the first, see below.
    if server.is_alone() {
        is_known(&server, "at once").await;
    }
    stored(&server, "test1", 1).await;
    is_known(&server, "stored").await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let delivery = tab.delivery().await;
    tab.ack(&delivery.id).await;
    is_known(&server, "confirmed").await;
    let ids = json!([id]).to_string();
    let user = [("Authorization", "test1")];
    assert_eq!(
        server
            .request(reqwest::Method::DELETE, "/api/notify/delete", &user, ids)
            .await
            .status,
        200
    );
    tab.delivery().await;
    is_known(&server, "deleted").await;
    tab.is_quiet().await;
    server.kill9().await;
    server.restart().await;
    is_known(&server, "after a crash").await;
    server.terminate().await;
    let record = Record::of(&server).await;
    assert_eq!(
        (record.rows.len(), record.tally.refused),
        (1, 0),
        "one row, and no dead letter"
    );
}

#[tokio::test]
async fn a_key_covers_an_array_place_by_place() {
    let server = Server::start().await;
    let item = |text: &str| json!({"receiver": "test1", "data": text});
    let first = post(&server, Some("batch"), &json!([item("a"), item("b")]))
        .await
        .json();
    let id = |n: usize| first["items"][n]["id"].clone();
    assert_ne!(id(0), id(1));
    stored(&server, "test1", 2).await;
    let again = post(&server, Some("batch"), &json!([item("a"), item("other"), item("c")])).await;
    assert_eq!(again.status, 207);
    let again = again.json();
    assert_eq!(again["items"][0]["state"], "duplicate");
    assert_eq!(again["items"][0]["id"], id(0));
    let error = json!({"code": "conflict", "field": "Idempotency-Key", "reason": CONFLICT});
    assert_eq!(
        again["items"][1],
        json!({"index": 1, "state": "refused", "error": error})
    );
    assert_eq!(again["items"][2]["state"], "accepted");
    let single = post(&server, Some("batch"), &item("a")).await.json();
    assert_eq!(single, duplicate(&id(0)), "a single notification is the first place");
}

/// Some find it in the queue, some in the record, and some in neither, since it is on its way between them.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_tries_are_one_notification() {
    let mut server = Server::start().await;
    for round in 0..20 {
        let key = format!("round-{round}");
        let body = json!({"receiver": "test1", "data": key});
        let other = json!({"receiver": "test1", "data": "another"});
        let tries = (0..16).map(|n| post(&server, Some(&key), if n % 4 == 3 { &other } else { &body }));
        let answers = join_all(tries).await;
        let ids: BTreeSet<_> = answers
            .iter()
            .filter(|answer| answer.status == 202)
            .map(|answer| answer.json()["id"].to_string())
            .collect();
        assert_eq!(ids.len(), 1, "{answers:?}");
        let taken = answers.iter().map(|answer| answer.status == 202).collect::<Vec<_>>();
        // A cluster's queue doesn't look into what it has: both bodies get a receipt until the record knows the first;
        // the other one becomes a dead letter.
        if !server.is_alone() {
            continue;
        }
        let (ours, others): (Vec<_>, Vec<_>) = taken.iter().enumerate().partition(|(n, _)| n % 4 != 3);
        let all = |side: &[(usize, &bool)], taken| side.iter().all(|(_, was)| **was == taken);
        assert!(
            all(&ours, true) && all(&others, false) || all(&ours, false) && all(&others, true),
            "only one body was taken: {taken:?}"
        );
    }
    stored(&server, "test1", 20).await;
    server.terminate().await;
    let record = Record::of(&server).await;
    assert_eq!(record.rows.len(), 20);
    assert_eq!(record.check(&[], &[]), Vec::<String>::new());
}

#[tokio::test]
async fn an_id_of_the_producers_own_is_a_key_too() {
    let server = Server::start().await;
    let body = json!({"receiver": "test1", "id": "order:7/a \u{1F600}<b>", "data": "x"});
    let first = post(&server, None, &body).await.json();
    assert_eq!((&first["id"], &first["state"]), (&body["id"], &json!("accepted")));
    assert_eq!(post(&server, None, &body).await.json(), duplicate(&body["id"]));
    assert_eq!(
        post(&server, Some("ignored"), &body).await.json(),
        duplicate(&body["id"]),
        "the id wins"
    );
    stored(&server, "test1", 1).await;
    for (field, value) in [
        ("receiver", json!("test2")),
        ("data", json!("y")),
        ("persist", json!(false)),
    ] {
        let mut other = body.clone();
        other[field] = value;
        let answer = post(&server, None, &other).await;
        assert_eq!(
            (answer.status, answer.refusal()),
            (409, format!("id: {CONFLICT}")),
            "another {field}"
        );
    }
    let mut tab = Tab::listen(&server, "test1", None).await;
    let delivery = tab.delivery().await;
    assert_eq!(delivery.id, body["id"]);
    tab.ack(&delivery.id).await;
    tab.is_quiet().await;

    let twice = post(
        &server,
        None,
        &json!([body, body, {"receiver": "b", "id": "new", "data": "1"}, {"receiver": "b", "id": "new", "data": "2"}]),
    )
    .await;
    let states: Vec<_> = twice.json()["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|item| item["state"].clone())
        .collect();
    // See above: in a cluster the record finds the conflict, unless it is asked in time.
    let second = if server.is_alone() { "refused" } else { "accepted" };
    assert_eq!(
        json!(states),
        json!(["duplicate", "duplicate", "accepted", second]),
        "also within one array"
    );
}

#[tokio::test]
async fn a_key_or_an_id_that_can_not_be_is_refused() {
    let server = Server::start().await;
    let body = json!({"receiver": "test1", "data": "x"});
    let (most, more) = ("k".repeat(255), "k".repeat(256));
    assert_eq!(post(&server, Some(&most), &body).await.status, 202);
    for (key, reason) in [
        ("", "must have 1 to 255 characters"),
        (&more, "must have 1 to 255 characters"),
        ("\u{fc}", "must be visible ASCII"),
    ] {
        let answer = post(&server, Some(key), &body).await;
        assert_eq!(
            (answer.status, answer.refusal()),
            (400, format!("Idempotency-Key: {reason}"))
        );
    }
    let headers = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    let answer = server.post("/api/notify", &headers, body.to_string()).await;
    assert_eq!(
        (answer.status, &*answer.refusal()),
        (400, "Idempotency-Key: must stand only once")
    );
    for (id, reason) in [
        (String::new(), "must not be empty"),
        ("x".repeat(65), "is longer than 64 characters"),
        ("a\nb".into(), "must not contain control characters"),
    ] {
        let answer = post(&server, None, &json!({"receiver": "test1", "id": id, "data": "x"})).await;
        assert_eq!((answer.status, answer.refusal()), (400, format!("id: {reason}")));
    }
}
