//! Server-sent events: `GET /sse/notify` as a raw reader sees it, tickets, and confirmations by POST.

mod browser;
mod door;
mod ends;
mod tickets;

use serde_json::{Value, json};

use crate::harness::{Answer, Cluster, Server, Stream, Tab, eventually};

/// What is not confirmed comes again soon, so that nobody waits for it.
const SOON: [(&str, &str); 2] = [("session.resend_first_ms", "400"), ("session.resend_every_ms", "400")];

async fn ack(server: &Server, token: &str, ids: &[&str]) -> Answer {
    let body = json!(ids).to_string();
    server.post("/api/notify/ack", &[("Authorization", token)], body).await
}

/// Confirms, and answers with the ids that changed.
async fn confirm(server: &Server, token: &str, ids: &[&str]) -> Value {
    let answer = ack(server, token, ids).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"]["ids"].clone()
}

/// Waits until so many of a user's notifications are in the record.
async fn stored(server: &Server, user: &str, count: u64) {
    eventually("the record has them", async || {
        let unread = server.get("/api/notify/unread", &[("Authorization", user)]).await;
        unread.json()["data"]["unread"] == count
    })
    .await;
}

/// Waits until `marker` has been told this often since now, and says whether `id` was told meanwhile.
async fn is_repeated(stream: &mut Stream, id: &str, marker: &str) -> bool {
    let (mut seen, mut repeated) = (0, false);
    while seen < 3 {
        let (told, _) = stream.next().await;
        seen += u32::from(told == marker);
        repeated |= told == id;
    }
    repeated
}

#[tokio::test]
async fn a_stream_gets_what_waits_and_what_comes_in_order_and_resumes_behind_its_last_id() {
    let server = Server::start().await;
    let waits = server.notify("test1", "waits").await;
    stored(&server, "test1", 1).await;
    let mut stream = Stream::open(&server, "test1", None).await;
    let told = stream.told().await;
    assert_eq!(told.json()["replayed"], true);
    assert_eq!(told.attempt(), (waits.clone(), 1));
    let mut all = Vec::new();
    for n in 0..20 {
        all.push(server.notify("test1", &format!("live {n}")).await);
    }
    for (n, id) in all.iter().enumerate() {
        let told = stream.told().await;
        let seq = n as u64 + 2;
        assert_eq!((told.attempt(), told.id), ((id.clone(), 1), Some(seq)));
        let data = told.json();
        assert_eq!(
            (&data["seq"], &data["data"]),
            (&json!(seq), &json!(format!("live {n}")))
        );
    }
    drop(stream);
    let everything: Vec<&str> = std::iter::once(&waits).chain(&all).map(String::as_str).collect();
    assert_eq!(
        confirm(&server, "test1", &everything[1..15]).await,
        json!(everything[1..15])
    );
    // What is confirmed comes all the same: it came after what this reader has.
    let mut stream = Stream::open(&server, "test1", Some(11)).await;
    let mut got = Vec::new();
    while got.len() < 11 {
        got.push(stream.next().await.0);
    }
    let expected: Vec<&str> = std::iter::once(&everything[0])
        .chain(&everything[11..])
        .copied()
        .collect();
    assert_eq!(got, expected);
    assert_eq!(stream.last_event_id, Some(21));
}

#[tokio::test]
async fn a_confirmation_by_post_ends_the_resends_of_all_the_users_streams() {
    let server = Server::with(&SOON).await;
    let mut phone = Stream::open(&server, "test1", None).await;
    let mut laptop = Stream::open(&server, "test1", None).await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let id = server.notify("test1", "confirm me").await;
    let whisper = json!({"receiver": "test1", "data": "not persisted", "persist": false});
    let whisper = server.publish(whisper).await["id"].as_str().expect("an id").to_owned();
    let marker = server.notify("test1", "I am repeated").await;
    for stream in [&mut phone, &mut laptop] {
        assert!(is_repeated(stream, &id, &marker).await, "nobody has confirmed it");
    }
    assert_eq!(confirm(&server, "test2", &[&id]).await, json!([]), "another user's");
    assert_eq!(
        confirm(&server, "test1", &[&id, &whisper, "ntf_of_nobody", "\0"]).await,
        json!([id])
    );
    assert_eq!(
        confirm(&server, "test1", &[&id]).await,
        json!([]),
        "it was confirmed before"
    );
    for stream in [&mut phone, &mut laptop] {
        // What was under way.
        is_repeated(stream, &id, &marker).await;
        for id in [&id, &whisper] {
            assert!(!is_repeated(stream, id, &marker).await, "{id} is confirmed");
        }
    }
    // Who can confirm for itself gets it until it does.
    while tab.delivery().await.attempt < 3 {}
    assert_eq!(server.metric("quick_notify_acked_total").await, 1.0);
    let mut later = Stream::open(&server, "test1", None).await;
    assert_eq!(later.next().await.0, marker, "it is in the record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_at_another_node_ends_the_resends_too() {
    let cluster = Cluster::start(&SOON).await;
    let [here, there, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let mut stream = Stream::open(&here.server, "test1", None).await;
    let id = there.server.notify("test1", "confirm me").await;
    let marker = there.server.notify("test1", "I am repeated").await;
    assert!(is_repeated(&mut stream, &id, &marker).await);
    assert_eq!(confirm(&there.server, "test1", &[&id]).await, json!([id]));
    is_repeated(&mut stream, &id, &marker).await;
    assert!(!is_repeated(&mut stream, &id, &marker).await);
    // Tickets of one node would be refused by the others: without a secret that they share there are none.
    let answer = here.server.post("/api/ticket", &[("Authorization", "test1")], "").await;
    assert_eq!(answer.status, 501, "{}", answer.text);
    assert!(answer.text.contains("auth.tickets.secret"), "{}", answer.text);
    // And a stream resumes on whichever node.
    let last = stream.last_event_id;
    drop(stream);
    let next = here.server.notify("test1", "while it moves").await;
    let mut moved = Stream::open(&there.server, "test1", last).await;
    assert_eq!([moved.next().await.0, moved.next().await.0], [marker, next]);
}

#[tokio::test]
async fn what_is_marked_as_read_or_deleted_is_told_and_not_sent_again() {
    let server = Server::with(&SOON).await;
    let mut stream = Stream::open(&server, "test1", None).await;
    let read = server.notify("test1", "read").await;
    let deleted = server.notify("test1", "deleted").await;
    let user = [("Authorization", "test1")];
    server
        .post("/api/notify/viewed", &user, json!([read]).to_string())
        .await;
    let method = reqwest::Method::DELETE;
    server
        .request(method, "/api/notify/delete", &user, json!([deleted]).to_string())
        .await;
    let mut told = Vec::new();
    let marker = loop {
        let event = stream.told().await.json();
        if event["type"] == "NOTIFY_DELETED" {
            assert_eq!(event["data"]["ids"], json!([deleted]));
            break event["id"].as_str().expect("an id").to_owned();
        }
        told.push(event);
    };
    assert!(
        told.iter()
            .any(|event| event["type"] == "NOTIFY_VIEWED" && event["data"]["ids"] == json!([read]))
    );
    is_repeated(&mut stream, &read, &marker).await;
    for id in [&read, &deleted] {
        assert!(!is_repeated(&mut stream, id, &marker).await);
    }
}

#[tokio::test]
async fn text_and_json_arrive_as_they_were_sent_each_in_one_event() {
    let server = Server::with(&[("domain.types.ORDER.schema", "true")]).await;
    let mut stream = Stream::open(&server, "test1", None).await;
    let html = "<img src=x onerror=alert(1)>\n<b>&amp;</b>\r\n\nid: 99\nevent: closed\n\ndata: \u{1F600}\u{2028}";
    server.notify("test1", html).await;
    assert_eq!(stream.told().await.json()["data"], html);
    // A producer's own line ends, between the tokens of its JSON.
    let body = "{\"receiver\": \"test1\", \"type\": \"ORDER\", \"data\": {\r\n \"lines\": [\n1,\r\n\n2]\n}}";
    assert_eq!(server.post("/api/notify", &[], body).await.status, 202);
    let told = stream.told().await;
    assert_eq!(
        (told.json()["data"].clone(), told.id),
        (json!({"lines": [1, 2]}), Some(2))
    );
    server.publish(json!({"everyone": true, "data": "to all"})).await;
    let told = stream.told().await;
    assert_eq!((told.json()["data"].clone(), told.id), (json!("to all"), None));
    assert_eq!(stream.last_event_id, Some(2));
}
