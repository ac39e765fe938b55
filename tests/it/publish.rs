//! Producers over HTTP: single notifications and arrays, for a user, a topic or everyone, and what their receipts say.

mod demo;
mod keys;
mod outage;
mod types;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Server, Tab};

#[tokio::test]
async fn a_receipt_says_the_id_the_state_and_how_durable_it_is() {
    let server = Server::start().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let answer = server
        .post(
            "/api/notify",
            &[],
            json!({"receiver": "test1", "data": "Hello"}).to_string(),
        )
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.headers["content-type"], "application/json");
    let receipt = answer.json();
    let id = receipt["id"].as_str().expect("an id");
    assert!(id.starts_with("ntf_"), "{id}");
    assert_eq!(receipt, json!({"id": id, "state": "accepted", "durability": "fsynced"}));
    let delivery = tab.delivery().await;
    assert_eq!((&*delivery.id, delivery.seq, &*delivery.data()), (id, Some(1), "Hello"));
    assert_eq!(delivery.body()["type"], "STRING_MSG", "the type unless said otherwise");
}

#[tokio::test]
async fn what_is_not_persisted_is_told_once_to_who_is_there() {
    let server = Server::start().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let receipt = server
        .publish(json!({"receiver": "test1", "data": "now or never", "persist": false}))
        .await;
    assert_eq!(
        (&receipt["state"], &receipt["durability"]),
        (&json!("accepted"), &json!("transient"))
    );
    let delivery = tab.delivery().await;
    assert_eq!((Some(&*delivery.id), delivery.seq), (receipt["id"].as_str(), None));
    let history = server.get("/api/notify/history", &[("Authorization", "test1")]).await;
    assert_eq!(history.json()["data"], json!([]), "it is in nobody's inbox");
    let mut later = Tab::listen(&server, "test1", Some(0)).await;
    later.is_quiet().await;
}

#[tokio::test]
async fn a_topic_and_everyone_reach_who_listens() {
    let server = Server::start().await;
    let mut alice = Tab::listen(&server, "test-alice", None).await;
    let mut bob = Tab::connect(&server, "test-bob").await;
    bob.subscribe("news", "/topic/news").await;
    for (audience, receiver) in [
        (json!({"topic": "news"}), "/topic/news"),
        (json!({"topic": "/topic/news"}), "/topic/news"),
    ] {
        let mut draft = audience;
        draft["data"] = json!("extra");
        assert_eq!(server.publish(draft).await["durability"], "transient");
        let delivery = bob.delivery().await;
        assert_eq!((&*delivery.destination, &*delivery.data()), ("/topic/news", "extra"));
        assert_eq!(delivery.body()["receiver"], receiver);
    }
    server.publish(json!({"everyone": true, "data": "to all"})).await;
    let delivery = alice.delivery().await;
    assert_eq!(
        (&*delivery.data(), &delivery.body()["receiver"]),
        ("to all", &json!("*"))
    );
    alice.is_quiet().await;
}

#[tokio::test]
async fn an_array_is_answered_item_by_item_in_its_order() {
    let server = Server::start().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let drafts: Vec<_> = (0..1000)
        .map(|n| json!({"receiver": "test1", "data": n.to_string()}))
        .collect();
    let answer = server.post("/api/notify", &[], json!(drafts).to_string()).await;
    assert_eq!(answer.status, 202);
    let answer = answer.json();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1000), &json!(0)));
    let items = answer["items"].as_array().expect("items");
    for (n, item) in items.iter().enumerate() {
        assert_eq!(
            (&item["index"], &item["state"], &item["durability"]),
            (&json!(n), &json!("accepted"), &json!("fsynced"))
        );
        let delivery = tab.delivery().await;
        assert_eq!(
            (Some(&*delivery.id), &*delivery.data()),
            (item["id"].as_str(), &*n.to_string())
        );
        tab.send_to("/app/ack", &delivery.id).await;
    }
}

#[tokio::test]
async fn a_bad_item_is_told_by_its_index_and_field_and_its_neighbours_are_taken() {
    let server = Server::start().await;
    let drafts = r#"[
        {"receiver": "test1", "data": "first", "id": "first"},
        {"receiver": "test1", "dta": "misspelt"},
        {"receiver": "test1", "data": 3},
        7,
        {"receiver": "", "data": "nobody"},
        {"receiver": "test1", "data": "last", "id": "last"}
    ]"#;
    let answer = server.post("/api/notify", &[], drafts).await;
    assert_eq!(answer.status, 207);
    let refused = |index: usize, code: &str, field: &str, reason: &str| json!({"index": index, "state": "refused", "error": {"code": code, "field": field, "reason": reason}});
    let taken =
        |index: usize, id: &str| json!({"index": index, "id": id, "state": "accepted", "durability": "fsynced"});
    let unknown = "unknown field `dta`, expected one of `receiver`, `topic`, `everyone`, `type`, `data`, `id`, `persist` at line 1 column 27";
    let seven = "is no notification in JSON: invalid type: integer `7`, expected an object such as {\"receiver\":\"alice\",\"data\":\"Hello\"} at line 1 column 1";
    let expected = json!({"accepted": 2, "refused": 4, "items": [
        taken(0, "first"),
        refused(1, "invalid-field", "dta", unknown),
        refused(2, "data-mismatch", "data", "STRING_MSG takes a string"),
        refused(3, "bad-json", "body", seven),
        refused(4, "invalid-field", "receiver", "must not be empty"),
        taken(5, "last"),
    ]});
    assert_eq!(answer.json(), expected);
    let mut tab = Tab::listen(&server, "test1", None).await;
    let ids: Vec<_> = tab
        .deliveries(2)
        .await
        .into_iter()
        .map(|delivery| delivery.id)
        .collect();
    assert_eq!(ids, ["first", "last"]);
    tab.is_quiet().await;

    let none = server.post("/api/notify", &[], "[7, 8]").await;
    assert_eq!((none.status, &none.json()["accepted"]), (400, &json!(0)), "all are bad");
}

#[tokio::test]
async fn an_array_has_a_bound_and_is_refused_as_a_whole_beyond_it() {
    let server = Server::with(&[("ingest.max_array", "3")]).await;
    let drafts = |count| json!(vec![json!({"receiver": "test1", "data": "x"}); count]).to_string();
    assert_eq!(server.post("/api/notify", &[], drafts(3)).await.status, 202);
    let answer = server.post("/api/notify", &[], drafts(4)).await;
    assert_eq!(
        (answer.status, &*answer.refusal()),
        (413, "body: has 4 items; at most 3 are taken (ingest.max_array)")
    );
    let answer = server.post("/api/notify", &[], "[]").await;
    assert_eq!((answer.status, &*answer.refusal()), (400, "body: is an empty array"));
    let answer = server
        .post("/api/notify", &[], "[{\"receiver\": \"test1\", \"data\": \"x\"},")
        .await;
    assert_eq!(answer.status, 400, "an array that breaks off is refused as a whole");
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.deliveries(3).await;
    tab.is_quiet().await;
}

/// A producer may well try the wrong path or method first; the answer is JSON, like all others.
#[tokio::test]
async fn a_wrong_path_or_method_is_answered_in_json() {
    let server = Server::start().await;
    let table = [
        (
            Method::GET,
            "/api/notify",
            405,
            "method: GET is not served here; the header Allow says what is",
        ),
        (
            Method::POST,
            "/api/notify/delete",
            405,
            "method: POST is not served here; the header Allow says what is",
        ),
        (
            Method::POST,
            "/api/notify/",
            404,
            "path: /api/notify/ is not served here",
        ),
        (Method::GET, "/nope?x=1", 404, "path: /nope is not served here"),
    ];
    for (method, path, status, refusal) in table {
        let answer = server.request(method, path, &[], "").await;
        assert_eq!((answer.status, &*answer.refusal()), (status, refusal), "{path}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }
    let long = server.get(&format!("/{}", "x".repeat(10_000)), &[]).await;
    assert_eq!(
        (long.status, long.text.len() < 400),
        (404, true),
        "a long path is not repeated in full"
    );
}

/// Everything that is wrong with one draft, or would be under another audience.
#[tokio::test]
async fn exactly_one_audience_is_said() {
    let server = Server::start().await;
    let table = [
        (
            json!({"data": "x"}),
            "receiver: is missing; say `receiver`, `topic` or `everyone`",
        ),
        (
            json!({"everyone": false, "data": "x"}),
            "receiver: is missing; say `receiver`, `topic` or `everyone`",
        ),
        (
            json!({"receiver": "a", "topic": "b", "data": "x"}),
            "receiver: say only one of `receiver`, `topic` and `everyone`",
        ),
        (
            json!({"receiver": "a", "everyone": true, "data": "x"}),
            "receiver: say only one of `receiver`, `topic` and `everyone`",
        ),
        (json!({"receiver": "a"}), "data: is missing"),
        (json!({"receiver": "a", "data": null}), "data: is missing"),
        (
            json!({"topic": "a", "data": "x", "persist": true}),
            "persist: only a notification for one `receiver` can be persisted, and not NOTIFY_VIEWED or NOTIFY_DELETED",
        ),
        (
            json!({"topic": "/queue/a", "data": "x"}),
            "topic: is a topic's name, such as orders, or its destination, such as /topic/orders",
        ),
        (
            json!({"topic": "a.*", "data": "x"}),
            "topic: must name one topic; wildcards are not served",
        ),
    ];
    for (draft, refusal) in table {
        let answer = server.post("/api/notify", &[], draft.to_string()).await;
        assert_eq!((answer.status, &*answer.refusal()), (400, refusal), "{draft}");
    }
    let both: Value = json!({"receiver": "test1", "everyone": false, "data": "x"});
    server.publish(both).await;
}
