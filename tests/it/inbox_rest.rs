//! The inbox over REST: history, unread, viewed and deleted, for the token's user alone.

use reqwest::Method;
use serde_json::{Value, json};

use crate::checker::Record;
use crate::harness::{Answer, Server, Tab, eventually};

const ALICE: (&str, &str) = ("Authorization", "test-alice");
const BOB: (&str, &str) = ("Authorization", "Bearer test-bob");

async fn history(server: &Server, user: (&str, &str), query: &str) -> Answer {
    server.get(&format!("/api/notify/history{query}"), &[user]).await
}

async fn texts(server: &Server, user: (&str, &str), query: &str) -> Vec<String> {
    let answer = history(server, user, query).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let rows = answer.json()["data"].as_array().expect("a list").clone();
    rows.iter()
        .map(|row| row["data"].as_str().expect("a text").to_owned())
        .collect()
}

async fn unread(server: &Server, user: (&str, &str)) -> Value {
    server.get("/api/notify/unread", &[user]).await.json()["data"]["unread"].clone()
}

async fn viewed(server: &Server, user: (&str, &str), ids: &Value) -> Answer {
    server.post("/api/notify/viewed", &[user], ids.to_string()).await
}

async fn delete(server: &Server, user: (&str, &str), ids: &Value) -> Answer {
    server
        .request(Method::DELETE, "/api/notify/delete", &[user], ids.to_string())
        .await
}

/// Publishes `1`, `2`, … for a user, each at a millisecond of its own, and waits until they are in the record.
async fn publish(server: &Server, user: &str, count: u64) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for n in 1..=count {
        ids.push(server.notify(user, &n.to_string()).await);
        eventually("the row, and the next millisecond", || async {
            let rows = history(server, ("Authorization", user), "?page_size=1").await.json();
            rows["data"][0]["id"] == ids[n as usize - 1]
                && rows["data"][0]["created"]
                    .as_i64()
                    .is_some_and(|created| created < quick_notify::lifecycle::wall_clock())
        })
        .await;
    }
    ids
}

#[tokio::test]
async fn history_is_the_users_own_newest_first_in_pages() {
    let server = Server::start().await;
    let ids = publish(&server, "test-alice", 5).await;
    publish(&server, "test-bob", 1).await;
    server.publish(json!({"everyone": true, "data": "gone at once"})).await;
    assert_eq!(texts(&server, ALICE, "").await, ["5", "4", "3", "2", "1"]);
    assert_eq!(texts(&server, BOB, "").await, ["1"]);
    assert_eq!(texts(&server, ("Authorization", "test-carol"), "").await, [""; 0]);
    assert_eq!(texts(&server, ALICE, "?page_num=0&page_size=2").await, ["5", "4"]);
    assert_eq!(texts(&server, ALICE, "?page_num=2&page_size=2").await, ["1"]);
    assert_eq!(texts(&server, ALICE, "?page_num=3&page_size=2").await, [""; 0]);
    assert_eq!(
        texts(&server, ALICE, "?page_num=4294967295&page_size=200").await,
        [""; 0]
    );

    let first = history(&server, ALICE, "").await.json();
    assert_eq!(first["code"], 200);
    let row = &first["data"][1];
    let created = row["created"].as_i64().expect("a time");
    let expected = json!({"id": ids[3], "type": "STRING_MSG", "receiver": "test-alice", "data": "4", "viewed": false,
        "created": created, "ack_retry_count": 0, "ack_last_sent": created});
    assert_eq!(*row, expected, "a MESSAGE's body");
    assert_eq!(
        texts(&server, ALICE, &format!("?created={created}")).await,
        ["3", "2", "1"],
        "before that time"
    );
    assert_eq!(
        texts(&server, ALICE, &format!("?created={}", created + 1)).await,
        ["4", "3", "2", "1"]
    );
    for query in ["?created=0", "?created=-1", "?created=-9223372036854775808"] {
        assert_eq!(texts(&server, ALICE, query).await, [""; 0]);
    }
    assert_eq!(
        texts(&server, ALICE, "?created=&page_num=&_=1767225600000").await.len(),
        5,
        "as browsers may send it"
    );

    let older = history(&server, ALICE, "?shape=page&page_size=1").await.json();
    assert_eq!(
        older["data"]["content"][0]["data"], "5",
        "the answer of an older release"
    );
    assert_eq!(history(&server, ALICE, "?shape=list").await.json(), first);
}

#[tokio::test]
async fn a_query_that_can_not_be_answered_names_its_parameter() {
    let server = Server::start().await;
    let time = "created: must be a time in epoch milliseconds, as in 1767225600000";
    let number = "page_num: must be a whole number from 0 on";
    let size = "page_size: must lie between 1 and 200 (api.max_page)";
    for (query, refusal) in [
        ("created=yesterday", time),
        ("created=9223372036854775808", time),
        ("created=1.5", time),
        ("page_num=-1", number),
        ("page_num=4294967296", number),
        ("page_num=1e3", number),
        ("page_size=0", size),
        ("page_size=201", size),
        ("page_size=-20", size),
        ("page_size=99999999999999999999", size),
        ("shape=tree", "shape: must be list or page"),
        (
            "page=1",
            "page: is not known here; known: created, page_num, page_size, shape",
        ),
    ] {
        let answer = history(&server, ALICE, &format!("?{query}")).await;
        assert_eq!((answer.status, &*answer.refusal()), (400, refusal), "{query}");
        assert_eq!(
            (&answer.json()["code"], &answer.json()["error"]["code"]),
            (&json!(400), &json!("invalid-field"))
        );
    }
}

#[tokio::test]
async fn what_was_viewed_is_confirmed_and_the_users_sessions_learn_of_it() {
    let mut server = Server::start().await;
    let ids = publish(&server, "test-alice", 3).await;
    assert_eq!(unread(&server, ALICE).await, 3);
    let mut tabs = [
        Tab::connect(&server, "test-alice").await,
        Tab::connect(&server, "test-alice").await,
    ];
    for tab in &mut tabs {
        tab.subscribe_inbox("client-individual", None).await;
        tab.deliveries(3).await;
    }
    let mut bob = Tab::listen(&server, "test-bob", None).await;

    // Of what was asked for, only what changed is told: not what isn't there, and nothing twice.
    let asked = json!([ids[0], ids[0], ids[2], "ntf_of_nobody", "x".repeat(1_000), ""]);
    let answer = viewed(&server, ALICE, &asked).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut changed: Vec<_> = answer.json()["data"]["ids"].as_array().expect("ids").clone();
    changed.sort_by_key(Value::to_string);
    assert_eq!(json!(changed), json!([ids[0], ids[2]]));
    for tab in &mut tabs {
        let event = tab.delivery().await;
        let body = event.body();
        assert_eq!(
            (&body["type"], &body["receiver"]),
            (&json!("NOTIFY_VIEWED"), &json!("test-alice"))
        );
        assert_eq!(
            (body["data"]["ids"].as_array().map(Vec::len), event.seq),
            (Some(2), None)
        );
        tab.ack(&event.id).await;
        tab.is_quiet().await;
    }
    bob.is_quiet().await;
    assert_eq!(unread(&server, ALICE).await, 1);
    let rows = history(&server, ALICE, "").await.json();
    assert_eq!(
        json!([
            rows["data"][0]["viewed"],
            rows["data"][1]["viewed"],
            rows["data"][2]["viewed"]
        ]),
        json!([true, false, true])
    );

    assert_eq!(
        viewed(&server, ALICE, &asked).await.json()["data"]["ids"],
        json!([]),
        "viewed already"
    );
    for tab in &mut tabs {
        tab.is_quiet().await;
    }
    let mut later = Tab::listen(&server, "test-alice", None).await;
    assert_eq!(
        later.delivery().await.id,
        ids[1],
        "only what was not viewed is replayed"
    );
    later.is_quiet().await;
    server.terminate().await;
    let record = Record::of(&server).await;
    let outcomes: Vec<_> = record.rows.iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [1, 0, 1]);
    assert_eq!(record.check(&[], &[]), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_deleted_does_not_come_back() {
    let mut server = Server::start().await;
    let ids = publish(&server, "test-alice", 3).await;
    let mut tab = Tab::listen(&server, "test-alice", None).await;
    tab.deliveries(3).await;
    tab.ack(&ids[0]).await;

    let answer = delete(&server, ALICE, &json!([ids[0], ids[1]])).await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"code": 200, "data": {"ids": [ids[0], ids[1]]}}))
    );
    let event = tab.delivery().await.body();
    assert_eq!(
        (&event["type"], &event["data"]),
        (&json!("NOTIFY_DELETED"), &json!({"ids": [ids[0], ids[1]]}))
    );
    assert_eq!(texts(&server, ALICE, "").await, ["3"]);
    assert_eq!(unread(&server, ALICE).await, 1);
    for ids in [json!([ids[0], ids[1]]), json!(["ntf_of_nobody"]), json!([])] {
        assert_eq!(delete(&server, ALICE, &ids).await.json()["data"]["ids"], json!([]));
        assert_eq!(viewed(&server, ALICE, &ids).await.json()["data"]["ids"], json!([]));
    }
    for last_seq in [None, Some(0)] {
        let mut later = Tab::listen(&server, "test-alice", last_seq).await;
        assert_eq!(later.delivery().await.id, ids[2]);
        later.is_quiet().await;
    }
    server.terminate().await;
    let record = Record::of(&server).await;
    let outcomes: Vec<_> = record.rows.iter().map(|row| row.outcome).collect();
    assert_eq!(outcomes, [1, 2, 0], "the first outcome stands");
    assert_eq!(record.check(&[], &[]), Vec::<String>::new());
}

#[tokio::test]
async fn other_peoples_notifications_are_as_unknown_as_none() {
    let server = Server::start().await;
    let ids = publish(&server, "test-alice", 2).await;
    let mut alice = Tab::listen(&server, "test-alice", None).await;
    alice.deliveries(2).await;
    for ids in [json!(ids), json!([ids[0], "test-alice", "*", "%", "' or 1=1 --"])] {
        for answer in [viewed(&server, BOB, &ids).await, delete(&server, BOB, &ids).await] {
            assert_eq!((answer.status, &answer.json()["data"]["ids"]), (200, &json!([])));
        }
    }
    alice.is_quiet().await;
    assert_eq!(unread(&server, ALICE).await, 2);
    assert_eq!(texts(&server, ALICE, "").await, ["2", "1"]);
}

#[tokio::test]
async fn ids_come_as_a_json_array() {
    let server = Server::with(&[("api.max_ids", "3")]).await;
    let wanted = "body: is no JSON array of ids such as [\"ntf_1\"]: ";
    for (body, reason) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("ntf_1", "expected ident at line 1 column 2"),
        (
            "{\"ids\":[\"a\"]}",
            "invalid type: map, expected a sequence at line 1 column 0",
        ),
        ("[1]", "invalid type: integer `1`, expected a string at line 1 column 2"),
        ("[\"a\"] x", "trailing characters at line 1 column 7"),
    ] {
        let answer = server.post("/api/notify/viewed", &[ALICE], body).await;
        assert_eq!(
            (answer.status, answer.refusal()),
            (400, format!("{wanted}{reason}")),
            "{body}"
        );
    }
    let escaped = format!("[\"{}\"]", "\\ud83d\\ude00".repeat(64));
    assert_eq!(server.post("/api/notify/viewed", &[ALICE], escaped).await.status, 200);
    assert_eq!(viewed(&server, ALICE, &json!(["a", "b", "c"])).await.status, 200);
    assert_eq!(viewed(&server, ALICE, &json!(["a", "b", "c", "d"])).await.status, 413);
}

/// The user over REST is the user over STOMP, also beyond ASCII.
#[tokio::test]
async fn a_user_beyond_ascii_reads_the_same_inbox_at_both_doors() {
    let server = Server::start().await;
    let user = "test-\u{e4}\u{1F600}";
    let ids = publish_one(&server, user).await;
    let mut tab = Tab::listen(&server, user, None).await;
    assert_eq!(tab.delivery().await.id, ids);
    assert_eq!(texts(&server, ("Authorization", user), "").await, ["hello"]);
}

async fn publish_one(server: &Server, user: &str) -> String {
    server.notify(user, "hello").await
}
