//! Bad input: each is refused at the first place that can know, with a message that names the field and the reason.
//!
//! A full disk and a read-only database are in `disk.rs`, data against its schema in `publish/types.rs`.

mod frames;
mod tokens;

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde_json::json;

use crate::harness::{Server, Tab};

/// A body whose size isn't said beforehand.
fn chunked(chunks: impl Stream<Item = &'static str> + Send + Sync + 'static) -> reqwest::Body {
    let frames = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk))));
    reqwest::Body::wrap(StreamBody::new(frames))
}

/// What a producer can get wrong in one request, and what it is told.
#[tokio::test]
async fn a_request_that_is_no_notification_is_told_why() {
    let server = Server::start().await;
    let draft = |name: &str, value: &str| format!(r#"{{"receiver":"test1","data":"x","{name}":{value}}}"#);
    let no_object = "is no notification in JSON: invalid type: string \"x\", expected an object such as \
                     {\"receiver\":\"alice\",\"data\":\"Hello\"} at line 1 column 3";
    let unknown = "unknown field `priority`, expected one of `receiver`, `topic`, `everyone`, `type`, `data`, `id`, `persist` at line 1 column 41";
    let table: Vec<(Vec<u8>, &str, &str, String)> = vec![
        // Broken JSON.
        (
            b"".into(),
            "bad-json",
            "body",
            "is no notification in JSON: EOF while parsing a value at line 1 column 0".into(),
        ),
        (
            b"{".into(),
            "bad-json",
            "body",
            "is no notification in JSON: EOF while parsing an object at line 1 column 1".into(),
        ),
        (
            b"{'receiver': 'test1'}".into(),
            "bad-json",
            "body",
            "is no notification in JSON: key must be a string at line 1 column 2".into(),
        ),
        (b"\"x\"".into(), "bad-json", "body", no_object.into()),
        (
            b"{\"receiver\":\"test1\",\"data\":\"\xff\"}".into(),
            "bad-json",
            "body",
            "is no notification in JSON: invalid unicode code point at line 1 column 29".into(),
        ),
        (
            b"{\"receiver\":\"test1\",\"data\":\"x\"} {}".into(),
            "bad-json",
            "body",
            "is no notification in JSON: trailing characters at line 1 column 33".into(),
        ),
        (
            draft("receiver", "\"test2\"").into(),
            "bad-json",
            "body",
            "is no notification in JSON: duplicate field `receiver` at line 1 column 41".into(),
        ),
        // A field that isn't known, or holds the wrong thing.
        (
            draft("priority", "1").into(),
            "invalid-field",
            "priority",
            unknown.into(),
        ),
        (
            draft("persist", "\"yes\"").into(),
            "invalid-field",
            "persist",
            "invalid type: string \"yes\", expected a boolean at line 1 column 46".into(),
        ),
        (
            draft("id", "1e999").into(),
            "bad-json",
            "body",
            "is no notification in JSON: number out of range at line 1 column 41".into(),
        ),
        (
            draft("type", "\"NOPE\"").into(),
            "unknown-type",
            "type",
            "\"NOPE\" is not a known type; known: NOTIFY_DELETED, NOTIFY_VIEWED, STRING_MSG".into(),
        ),
        (
            draft("type", &format!("\"{}\"", "x".repeat(10_000))).into(),
            "unknown-type",
            "type",
            format!(
                "\"{}\" is not a known type; known: NOTIFY_DELETED, NOTIFY_VIEWED, STRING_MSG",
                "x".repeat(64)
            ),
        ),
    ];
    for (body, code, field, reason) in table {
        let shown: String = String::from_utf8_lossy(&body).chars().take(100).collect();
        let answer = server.post("/api/notify", &[], body).await;
        assert_eq!(answer.status, 400, "{shown}");
        assert_eq!(
            answer.json(),
            json!({"error": {"code": code, "field": field, "reason": reason}}),
            "{shown}"
        );
    }
}

/// An array of fields in their order is no notification, however deep it goes on.
#[tokio::test]
async fn an_item_of_an_array_is_an_object() {
    let server = Server::start().await;
    let reason = "is no notification in JSON: invalid type: sequence, expected an object such as \
                  {\"receiver\":\"alice\",\"data\":\"Hello\"} at line 1 column 0";
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for body in [r#"[["test1",null,null,"STRING_MSG","x",null,null]]"#, "[[]]", &nested] {
        let answer = server.post("/api/notify", &[], body.to_owned()).await;
        assert_eq!(answer.status, 400);
        let error = json!({"code": "bad-json", "field": "body", "reason": reason});
        assert_eq!(
            answer.json()["items"],
            json!([{"index": 0, "state": "refused", "error": error}])
        );
    }
}

#[tokio::test]
async fn a_receiver_is_a_name_that_fits_the_record() {
    let server = Server::start().await;
    let long = "is longer than 64 characters";
    let table = [
        (String::new(), "must not be empty"),
        ("x".repeat(65), long),
        ("\u{1F600}".repeat(65), long),
        ("x".repeat(1_000_000), long),
        ("a\nb".into(), "must not contain control characters"),
        ("a\u{0}".into(), "must not contain control characters"),
        (
            "*".into(),
            "names one user; to reach everyone who is online say `everyone`: true",
        ),
    ];
    for (receiver, reason) in table {
        let answer = server
            .post(
                "/api/notify",
                &[],
                json!({"receiver": receiver, "data": "x"}).to_string(),
            )
            .await;
        assert_eq!((answer.status, answer.refusal()), (400, format!("receiver: {reason}")));
    }
    // Everything else is a name, and reaches its user.
    for user in [
        "test \u{1F600}",
        "test/a:b\\c",
        "test<script>",
        "test%0A",
        &format!("test{}", "\u{1F600}".repeat(60)),
    ] {
        server.notify(user, "x").await;
        let mut tab = Tab::listen(&server, user, None).await;
        let delivery = tab.delivery().await;
        assert_eq!(delivery.body()["receiver"], user);
        tab.ack(&delivery.id).await;
    }
}

/// Whether or not its size is said beforehand; what is left of it isn't read.
#[tokio::test]
async fn a_body_has_a_bound() {
    let server = Server::with(&[("ingest.max_body", "2000"), ("api.max_ids", "2")]).await;
    let draft = |length: usize| json!({"receiver": "test1", "data": "x".repeat(length)}).to_string();
    assert_eq!(server.post("/api/notify", &[], draft(1_900)).await.status, 202);
    let large = "body: is larger than 2000 bytes (ingest.max_body)";
    for path in [
        "/api/notify",
        "/vh-stomp-wsend/push_all_obj",
        "/vh-stomp-wsend/push_all_obj/test1",
    ] {
        let answer = server.post(path, &[], draft(2_000)).await;
        assert_eq!((answer.status, &*answer.refusal()), (413, large));
    }
    let parts = stream::iter(vec!["fifty octets of a body whose size is not said yet, "; 50]);
    let answer = server.post("/api/notify", &[], chunked(parts)).await;
    assert_eq!((answer.status, &*answer.refusal()), (413, large), "in chunks");

    let user = [("Authorization", "test1")];
    let ids = "body: has too much in it; at most 2 ids are taken (api.max_ids)";
    for body in [r#"["a","b","c"]"#.to_owned(), format!(r#"["{}"]"#, "x".repeat(10_000))] {
        let answer = server.post("/api/notify/viewed", &user, body).await;
        assert_eq!((answer.status, &*answer.refusal()), (413, ids));
    }
}

/// 32 MiB are always refused, and who sends them learns it though they don't all fit into the connection's buffers.
#[tokio::test]
async fn a_body_of_32_mib_is_refused_without_being_kept() {
    let server = Server::with(&[("ingest.max_body", "33554431")]).await;
    let answer = server.post("/api/notify", &[], vec![b'x'; 33_554_432]).await;
    assert_eq!(
        (answer.status, &*answer.refusal()),
        (413, "body: is larger than 33554431 bytes (ingest.max_body)")
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = Server::with(&[("ingest.read_timeout_ms", "100"), ("api.read_timeout_ms", "100")]).await;
    let user = [("Authorization", "test1")];
    for (path, reason) in [
        (
            "/api/notify",
            "body: did not arrive within 100 ms (ingest.read_timeout_ms)",
        ),
        (
            "/api/notify/viewed",
            "body: did not arrive within 100 ms (api.read_timeout_ms)",
        ),
    ] {
        let answer = server.post(path, &user, chunked(stream::pending())).await;
        assert_eq!((answer.status, &*answer.refusal()), (400, reason));
    }
}
