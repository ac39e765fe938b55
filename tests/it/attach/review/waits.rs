//! `wait=stored`: the answer waits for the record's word.

use async_nats::HeaderMap;

use super::*;
use crate::harness::within;

#[tokio::test]
async fn an_answer_that_waits_says_what_became_of_it() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[CENSOR, ("ingest.nats", "true")]).await;
    let _censor = Plugin::named("censor")
        .hook("review", |question| {
            verdicts(question, |text| match text {
                "spam" => json!({"verdict": "reject", "reason": "nobody wants it"}),
                "all" => json!({"verdict": "route", "receivers": ["test2", "test3"]}),
                _ => pass(),
            })
        })
        .start(&nats)
        .await;
    server.sees("censor", "attached").await;
    let first = stored(&server, json!({"receiver": "test1", "data": "1", "id": "a"})).await;
    let receipt = first.json();
    assert_eq!(
        (first.status, &receipt["state"], &receipt["seq"]),
        (200, &json!("stored"), &json!(1))
    );
    let again = stored(&server, json!({"receiver": "test1", "data": "1", "id": "a"})).await;
    assert_eq!(
        (again.status, again.json()),
        (200, receipt),
        "a retry gets the same answer"
    );
    let other = stored(&server, json!({"receiver": "test1", "data": "2", "id": "a"})).await;
    assert_eq!(
        (other.status, &other.json()["error"]["code"]),
        (409, &json!("conflict"))
    );
    let spam = stored(&server, json!({"receiver": "test1", "data": "spam"})).await;
    let expected = json!({"error": {"code": "rejected", "reason": "nobody wants it", "plugin": "censor"}});
    assert_eq!((spam.status, spam.json()), (422, expected));

    let array = json!([
        {"receiver": "test1", "data": "2"},
        {"receiver": "test1", "data": "spam"},
        {"receiver": "test1"},
        {"receiver": "group", "data": "all"},
        {"everyone": true, "data": "x"}
    ]);
    let answer = stored(&server, array).await;
    let items = answer.json()["items"].clone();
    assert_eq!(answer.status, 207, "{items}");
    assert_eq!((&items[0]["state"], &items[0]["seq"]), (&json!("stored"), &json!(2)));
    assert_eq!(
        (&items[1]["state"], &items[1]["error"]["code"]),
        (&json!("refused"), &json!("rejected"))
    );
    assert_eq!(items[2]["error"]["field"], "data");
    assert_eq!((&items[3]["state"], &items[3]["copies"]), (&json!("routed"), &json!(2)));
    assert_eq!(
        (&items[4]["state"], &items[4]["durability"]),
        (&json!("told"), &json!("transient"))
    );

    let client = async_nats::connect(nats.url()).await.expect("NATS");
    for (text, status, word) in [("3", None, "stored"), ("spam", Some("422"), "rejected")] {
        let headers = HeaderMap::from_iter([("Wait".parse().unwrap(), "stored".parse().unwrap())]);
        let body = json!({"receiver": "test1", "data": text}).to_string();
        let reply = client.request_with_headers("notify.publish", headers, body.into());
        let reply = within("a reply", reply).await.expect("a reply");
        let code = reply
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Service-Error-Code"));
        assert_eq!(code.map(|code| code.as_str()), status);
        let body: Value = serde_json::from_slice(&reply.payload).expect("JSON");
        assert!(body["state"] == word || body["error"]["code"] == word, "{body}");
    }
}

#[tokio::test]
async fn a_wait_is_asked_for_rightly_or_not_at_all() {
    let server = Server::start().await;
    let body = json!({"receiver": "test1", "data": "x"}).to_string();
    for (query, reason) in [
        ("wait=delivered", "wait: is not known; known: stored"),
        ("wait_ms=5", "wait_ms: needs wait: stored"),
        (
            "wait=stored&wait_ms=0",
            "wait_ms: must lie between 1 and 30000 (ingest.wait_most_ms)",
        ),
        (
            "wait=stored&wait_ms=30001",
            "wait_ms: must lie between 1 and 30000 (ingest.wait_most_ms)",
        ),
        (
            "wait=stored&wait_ms=soon",
            "wait_ms: must lie between 1 and 30000 (ingest.wait_most_ms)",
        ),
    ] {
        let answer = server.post(&format!("/api/notify?{query}"), &[], body.clone()).await;
        assert_eq!((answer.status, &*answer.refusal()), (400, reason), "{query}");
    }
    let answer = server.post("/api/notify?wait=stored", &[], body.clone()).await;
    assert_eq!((answer.status, &answer.json()["seq"]), (200, &json!(1)));
    assert_eq!(server.post("/api/notify", &[], body).await.status, 202);
}

#[tokio::test]
async fn more_than_may_wait_get_the_answer_of_those_that_do_not() {
    let server = Server::with(&[("ingest.max_waiting", "2")]).await;
    let three: Vec<_> = (0..3)
        .map(|n| json!({"receiver": "test1", "data": n.to_string()}))
        .collect();
    let answer = stored(&server, Value::from(three)).await;
    let states = answer.json()["items"].clone();
    assert_eq!(answer.status, 202);
    let states: Vec<_> = (0..3)
        .map(|at| states[at]["state"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(states, ["stored", "stored", "accepted"]);
    // They have left their places.
    assert_eq!(
        stored(&server, json!({"receiver": "test1", "data": "x"})).await.status,
        200
    );
}

#[tokio::test]
async fn two_bodies_under_one_id_get_a_word_each() {
    let server = Server::start().await;
    for n in 0..5 {
        let id = format!("x{n}");
        let two = json!([
            {"receiver": "test1", "id": id, "data": "a"},
            {"receiver": "test1", "id": id, "data": "b"},
        ]);
        let answer = stored(&server, two).await;
        let items = answer.json()["items"].clone();
        assert_eq!(
            (answer.status, &items[0]["state"], &items[1]["error"]["code"]),
            (207, &json!("stored"), &json!("conflict")),
            "{items}"
        );
    }
    assert_eq!(inbox(&server, "test1").await, ["a"; 5]);
}
