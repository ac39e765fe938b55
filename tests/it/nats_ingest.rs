//! Publishing over NATS by request and reply: the same door, another way in.

mod jetstream;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually, within};

const PUBLISH: &str = "notify.publish";

async fn node(nats: &Nats, more: &[(&str, &str)]) -> Server {
    let servers = format!("[\"{}\"]", nats.url());
    let settings = [("ingest.nats", "true"), ("nats.servers", &*servers)];
    Server::alone(&[&settings, more].concat()).await
}

async fn producer(nats: &Nats) -> Client {
    async_nats::ConnectOptions::new()
        .reconnect_delay_callback(|_| Duration::from_millis(20))
        .connect(nats.url())
        .await
        .expect("a connection")
}

/// What a requester gets.
#[derive(Debug)]
struct Reply {
    body: Value,
    headers: HeaderMap,
}

impl Reply {
    fn of(message: Message) -> Self {
        Self {
            body: serde_json::from_slice(&message.payload).expect("JSON"),
            headers: message.headers.unwrap_or_default(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.as_str())
    }

    /// The status and the sentence of a service error; 202 and nothing without one.
    fn error(&self) -> (u16, &str) {
        let code = self.header("Nats-Service-Error-Code");
        (code.parse().unwrap_or(202), self.header("Nats-Service-Error"))
    }
}

async fn ask(client: &Client, headers: &[(&str, &str)], body: String) -> Reply {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, *value);
    }
    let answer = within("a reply", client.request_with_headers(PUBLISH, map, body.into())).await;
    Reply::of(answer.unwrap_or_else(|error| panic!("a reply: {error}")))
}

#[tokio::test]
async fn a_request_gets_the_receipt_that_http_gives() {
    let nats = Nats::start().await;
    let (server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let mut alice = Tab::listen(&server, "test1", None).await;
    let draft = json!({"receiver": "test1", "data": "Hello"});
    let reply = ask(&client, &[], draft.to_string()).await;
    let over_http = server.publish(draft).await;
    assert_eq!(reply.error(), (202, ""));
    assert_eq!(
        (&reply.body["state"], &reply.body["durability"]),
        (&over_http["state"], &over_http["durability"])
    );
    assert_eq!(
        reply.body.as_object().map(|receipt| receipt.len()),
        Some(3),
        "{}",
        reply.body
    );
    assert_eq!(alice.delivery().await.id, reply.body["id"]);
    assert_eq!(alice.delivery().await.id, over_http["id"]);
    assert_eq!(server.metric("quick_notify_accepted_total").await, 2.0);
}

#[tokio::test]
async fn a_retry_over_either_way_is_known_by_its_key() {
    let nats = Nats::start().await;
    let (server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let draft = json!({"receiver": "test1", "data": "Hello"}).to_string();
    let key = ("Idempotency-Key", "order-7");
    let first = ask(&client, &[key], draft.clone()).await;
    let again = ask(&client, &[key], draft.clone()).await;
    assert_eq!(
        (&first.body["state"], &again.body["state"]),
        (&json!("accepted"), &json!("duplicate"))
    );
    assert_eq!(first.body["id"], again.body["id"]);
    let other = ask(
        &client,
        &[key],
        json!({"receiver": "test1", "data": "Other"}).to_string(),
    )
    .await;
    let reason = "Idempotency-Key: was given to another notification before; a retry must repeat the first body";
    assert_eq!(other.error(), (409, reason));
    // Without a key, HTTP's producers are `anonymous` in dev mode.
    let named = ask(&client, &[key, ("Producer", "anonymous")], draft.clone()).await;
    assert_ne!(
        named.body["id"], first.body["id"],
        "another producer's key is another key"
    );
    let over_http = server.post("/api/notify", &[key], draft).await.json();
    assert_eq!(
        (&over_http["id"], &over_http["state"]),
        (&named.body["id"], &json!("duplicate"))
    );
}

#[tokio::test]
async fn a_refusal_is_a_service_error_with_the_field_and_the_reason() {
    let nats = Nats::start().await;
    let (server, client) = (node(&nats, &[("ingest.max_array", "2")]).await, producer(&nats).await);
    let table = [
        (json!({"receiver": "", "data": "x"}).to_string(), 400, "receiver: "),
        (json!({"receiver": "a"}).to_string(), 400, "data: is missing"),
        (
            json!({"receiver": "a", "data": "x", "type": "NO\nSUCH\u{e9}"}).to_string(),
            400,
            "type: ",
        ),
        ("{\"receiver\":".into(), 400, "body: is no notification in JSON: "),
        ("".into(), 400, "body: is no notification in JSON: "),
        ("[]".into(), 400, "body: is an empty array"),
        (
            "[1,2,3]".into(),
            413,
            "body: has 3 items; at most 2 are taken (ingest.max_array)",
        ),
        ("[1,{}]".into(), 400, "body: is no notification in JSON: "),
    ];
    for (body, status, sentence) in table {
        let reply = ask(&client, &[], body.clone()).await;
        let (code, said) = reply.error();
        assert!(
            code == status && said.starts_with(sentence),
            "{body}: {:?}",
            reply.error()
        );
        let over_http = server.post("/api/notify", &[], body.clone()).await;
        assert_eq!((over_http.status, over_http.json()), (status, reply.body), "{body}");
    }
    for (headers, sentence) in [
        (
            &[("Idempotency-Key", "")][..],
            "Idempotency-Key: must have 1 to 255 characters",
        ),
        (
            &[("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
            "Idempotency-Key: must stand only once",
        ),
        (
            &[("Idempotency-Key", "\u{e9}")],
            "Idempotency-Key: must be visible ASCII",
        ),
        (&[("Producer", "\u{e9}")], "Producer: must be visible ASCII"),
    ] {
        let reply = ask(&client, headers, json!({"receiver": "a", "data": "x"}).to_string()).await;
        assert_eq!(reply.error(), (400, sentence));
    }
}

#[tokio::test]
async fn an_array_is_taken_as_far_as_it_can_be() {
    let nats = Nats::start().await;
    let (_server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let array = json!([{"receiver": "a", "data": "x"}, {"receiver": "b"}, {"everyone": true, "data": "y"}]);
    let reply = ask(&client, &[], array.to_string()).await;
    assert_eq!(reply.error(), (202, ""), "something was taken: no error");
    assert_eq!(
        (&reply.body["accepted"], &reply.body["refused"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(reply.body["items"][1]["error"]["field"], "data");
    assert_eq!(reply.body["items"][2]["durability"], "transient");
    let reply = ask(&client, &[], json!([{"receiver": "b"}, {}]).to_string()).await;
    assert_eq!(reply.error(), (400, "data: is missing"));
    assert_eq!(
        (&reply.body["accepted"], &reply.body["refused"]),
        (&json!(0), &json!(2))
    );
}

#[tokio::test]
async fn what_is_too_large_is_told_so() {
    let nats = Nats::start().await;
    let (_server, client) = (node(&nats, &[("ingest.max_body", "1024")]).await, producer(&nats).await);
    let draft = |text: String| json!({"receiver": "a", "data": text}).to_string();
    let fits = 1_024 - draft(String::new()).len();
    assert_eq!(ask(&client, &[], draft("x".repeat(fits))).await.error(), (202, ""));
    let over = ask(&client, &[], draft("x".repeat(fits + 1))).await;
    assert_eq!(over.error(), (413, "body: is larger than 1024 bytes (ingest.max_body)"));
}

/// A server may take less than the answer to an array needs.
#[tokio::test]
async fn an_answer_that_is_too_large_for_nats_is_told_so_and_the_retry_changes_nothing() {
    let nats = Nats::with("max_payload: 4KB").await;
    let (server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let array = Value::from_iter((0..60).map(|_| json!({"receiver": "test1", "data": "1"}))).to_string();
    for _ in 0..2 {
        let reply = ask(&client, &[("Idempotency-Key", "k")], array.clone()).await;
        let (code, said) = reply.error();
        assert_eq!(code, 413, "{said}");
        assert!(said.contains("what could be taken was"), "{said}");
    }
    assert_eq!(server.metric("quick_notify_accepted_total").await, 60.0);
}

/// A node may publish where a producer may not: nobody makes it.
#[tokio::test]
async fn a_reply_goes_to_an_inbox_and_nowhere_else() {
    let nats = Nats::start().await;
    let (server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let draft = json!({"receiver": "test1", "data": "Hello"}).to_string();
    for elsewhere in ["notify.door.user.test1", "$JS.API.STREAM.PURGE.notify", "INBOX.x"] {
        let asked = client.publish_with_reply(PUBLISH, elsewhere, draft.clone().into());
        asked.await.expect("asked");
    }
    assert_eq!(ask(&client, &[], draft).await.error(), (202, ""));
    assert_eq!(server.metric("quick_notify_accepted_total").await, 1.0);
}

#[tokio::test]
async fn both_nodes_are_found_and_share_the_requests() {
    let nats = Nats::start().await;
    let (one, other) = tokio::join!(node(&nats, &[]), node(&nats, &[]));
    let client = producer(&nats).await;
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("an inbox");
    let mut discover = async |subject: &'static str| -> Vec<Value> {
        let asked = client.publish_with_reply(subject, inbox.clone(), "".into()).await;
        asked.expect("asked");
        let mut found = Vec::new();
        while found.len() < 2 {
            let message = within("an answer of a node", answers.next()).await.expect("an answer");
            found.push(Reply::of(message).body);
        }
        found
    };
    let ids = |found: &[Value]| BTreeSet::from_iter(found.iter().map(|node| node["id"].to_string()));
    let pings = discover("$SRV.PING.quick-notify").await;
    assert_eq!(ids(&pings).len(), 2);
    let infos = discover("$SRV.INFO").await;
    assert_eq!(ids(&infos), ids(&pings));
    for info in &infos {
        assert_eq!(
            (&info["name"], &info["version"]),
            (&json!("quick-notify"), &json!(env!("CARGO_PKG_VERSION")))
        );
        let endpoint = &info["endpoints"][0];
        assert_eq!(
            (&endpoint["name"], &endpoint["subject"]),
            (&json!("publish"), &json!(PUBLISH))
        );
        assert_eq!(endpoint["metadata"]["content-type"], "application/json");
        let draft = endpoint["metadata"]["request"]
            .as_str()
            .and_then(|text| text.split(", or").next());
        let reply = ask(&client, &[], draft.expect("an example").to_owned()).await;
        assert_eq!(reply.error(), (202, ""), "the example that it shows is taken");
    }
    let body = json!({"receiver": "test1", "data": "x"}).to_string();
    let requests = (0..100).map(|_| ask(&client, &[], body.clone()));
    assert!(join_all(requests).await.iter().all(|reply| reply.error() == (202, "")));
    let name = "quick_notify_accepted_total";
    let (first, second) = (one.metric(name).await, other.metric(name).await);
    assert!(
        first + second == 102.0 && first > 1.0 && second > 1.0,
        "{first} and {second}: each answered by one node"
    );
}

#[tokio::test]
async fn beyond_what_may_be_in_hand_a_request_is_refused_at_once() {
    let nats = Nats::start().await;
    let (server, client) = (
        node(&nats, &[("ingest.nats_in_flight", "1")]).await,
        producer(&nats).await,
    );
    let body = json!({"receiver": "test1", "data": "x"}).to_string();
    let replies = join_all((0..200).map(|_| ask(&client, &[], body.clone()))).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.error().0 == 503).collect();
    assert!((1..200).contains(&refused.len()), "{} of 200 refused", refused.len());
    for reply in &refused {
        assert_eq!(
            reply.error().1,
            "this node has 1 requests in hand (ingest.nats_in_flight)"
        );
        assert_eq!(
            (reply.header("Retry-After"), &reply.body["error"]["code"]),
            ("1", &json!("unavailable"))
        );
    }
    let taken = (200 - refused.len()) as f64;
    assert_eq!(server.metric("quick_notify_accepted_total").await, taken);
    assert_eq!(server.metric("quick_notify_refused_total").await, refused.len() as f64);
}

#[tokio::test]
async fn a_nats_that_comes_back_is_answered_again() {
    let mut nats = Nats::start().await;
    let (server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let mut alice = Tab::listen(&server, "test1", None).await;
    nats.kill9().await;
    server.notify("test1", "over HTTP meanwhile").await;
    assert_eq!(alice.delivery().await.data(), "over HTTP meanwhile");
    nats.restart().await;
    let body = json!({"receiver": "test1", "data": "over NATS again", "id": "again"}).to_string();
    eventually("an answer over NATS", || async {
        let limit = Duration::from_millis(500);
        let request = async_nats::Request::new()
            .payload(body.clone().into())
            .timeout(Some(limit));
        let answer = client.send_request(PUBLISH, request).await;
        answer.is_ok_and(|message| Reply::of(message).error() == (202, ""))
    })
    .await;
    assert_eq!(alice.delivery().await.data(), "over NATS again");
}

/// Requests that reach a node just as it goes may get no answer, but whatever it took it says so.
#[tokio::test]
async fn a_node_that_drains_answers_for_all_that_it_took() {
    let nats = Nats::start().await;
    let (mut server, client) = (node(&nats, &[]).await, producer(&nats).await);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.expect("an inbox");
    let body = json!({"receiver": "test1", "data": "x"}).to_string();
    for _ in 0..500 {
        let sent = client
            .publish_with_reply(PUBLISH, inbox.clone(), body.clone().into())
            .await;
        sent.expect("sent");
    }
    let first = within("a first reply", answers.next()).await.expect("a reply");
    assert_eq!(Reply::of(first).error(), (202, ""));
    assert_eq!(server.terminate().await, Some(0));
    client.flush().await.expect("everything that came is here");
    answers.unsubscribe().await.expect("no more");
    let replies = answers.collect::<Vec<_>>().await.into_iter().map(Reply::of);
    let receipts = 1 + replies.filter(|reply| reply.body["state"] == "accepted").count();
    server.restart().await;
    eventually("an empty queue", || async {
        server
            .metrics()
            .await
            .contains(&format!("tally{{tally=\"stored\"}} {receipts}\n"))
    })
    .await;
}
