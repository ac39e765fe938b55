//! Types: the built-in ones, and those that the configuration registers with a JSON Schema.

use serde_json::{Value, json};

use crate::harness::{Server, Tab, tempdir};

const ORDER: &str = r#"{type="object", required=["order"], additionalProperties=false, properties={
    order={type="string"}, lines={type="array", items={type="object", properties={"a/b"={type="number", minimum=0}}}}}}"#;

async fn server() -> (Server, tempfile::TempDir) {
    let directory = tempdir();
    let file = directory.path().join("invoice.json");
    let schema = json!({"type": "object", "properties": {"total": {"type": "number"}, "tags": {"maxItems": 2}}});
    std::fs::write(&file, schema.to_string()).expect("the schema is written");
    let settings = [
        ("domain.types.ORDER.schema", ORDER),
        ("domain.types.INVOICE.schema_file", file.to_str().expect("a path")),
    ];
    (Server::with(&settings).await, directory)
}

#[tokio::test]
async fn data_that_fits_its_type_arrives_as_it_was_sent() {
    let (server, _directory) = server().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let table = [
        ("ORDER", r#"{"order":"7","lines":[{"a/b":1.50}]}"#),
        ("INVOICE", r#"{"total":12345678901234567890.123456789,"tags":[]}"#),
        ("STRING_MSG", r#""\u00e4\n\"\ud83d\ude00 \u0000 <b>""#),
        ("STRING_MSG", r#""""#),
    ];
    for (kind, data) in table {
        let draft = format!(r#"{{"receiver":"test1","type":"{kind}","data": {data} }}"#);
        assert_eq!(server.post("/api/notify", &[], draft).await.status, 202, "{data}");
        let text = tab.delivery().await.text;
        assert!(
            text.contains(&format!("\"type\":\"{kind}\"")) && text.contains(&format!("\"data\":{data},")),
            "{text}"
        );
    }
}

#[tokio::test]
async fn data_that_does_not_fit_is_refused_with_the_failing_path() {
    let (server, _directory) = server().await;
    let known = "known: INVOICE, NOTIFY_DELETED, NOTIFY_VIEWED, ORDER, STRING_MSG";
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let table = [
        ("ORDER", r#"{}"#, "data: \"order\" is a required property".to_owned()),
        (
            "ORDER",
            r#"{"order":7}"#,
            "data.order: 7 is not of type \"string\"".into(),
        ),
        ("ORDER", r#""7""#, "data: \"7\" is not of type \"object\"".into()),
        (
            "ORDER",
            r#"{"order":"7","lines":[{},{"a/b":-1}]}"#,
            "data.lines.1.a/b: -1 is less than the minimum of 0".into(),
        ),
        (
            "ORDER",
            r#"{"order":"7","extra":1}"#,
            "data: Additional properties are not allowed ('extra' was unexpected)".into(),
        ),
        (
            "INVOICE",
            r#"{"tags":[1,2,3]}"#,
            "data.tags: [1,2,3] has more than 2 items".into(),
        ),
        (
            "INVOICE",
            r#"{"total":1e999}"#,
            "data: number out of range at line 1 column 14".into(),
        ),
        (
            "INVOICE",
            &deep,
            "data: recursion limit exceeded at line 1 column 128".into(),
        ),
        ("STRING_MSG", "5", "data: STRING_MSG takes a string".into()),
        ("STRING_MSG", r#"["x"]"#, "data: STRING_MSG takes a string".into()),
        (
            "STRING_MSG",
            r#""\ud800""#,
            "data: is no text: unexpected end of hex escape at line 1 column 8".into(),
        ),
        (
            "NOTIFY_VIEWED",
            r#"{"ids":"a"}"#,
            "data: NOTIFY_VIEWED takes {\"ids\": [string, ...]}".into(),
        ),
        (
            "NOTIFY_VIEWED",
            r#"[["a"]]"#,
            "data: NOTIFY_VIEWED takes {\"ids\": [string, ...]}".into(),
        ),
        (
            "NOTIFY_DELETED",
            r#"{"ids":[1]}"#,
            "data: NOTIFY_DELETED takes {\"ids\": [string, ...]}".into(),
        ),
        (
            "NOTIFY_DELETED",
            r#"{"ids":[],"x":1}"#,
            "data: NOTIFY_DELETED takes {\"ids\": [string, ...]}".into(),
        ),
        (
            "order",
            r#"{"order":"7"}"#,
            format!("type: \"order\" is not a known type; {known}"),
        ),
        (
            "REPLAY_GAP",
            r#"{}"#,
            format!("type: \"REPLAY_GAP\" is not a known type; {known}"),
        ),
    ];
    for (kind, data, refusal) in table {
        let draft = format!(r#"{{"receiver":"test1","type":"{kind}","data":{data}}}"#);
        let answer = server.post("/api/notify", &[], draft).await;
        assert_eq!((answer.status, &*answer.refusal()), (400, &*refusal), "{data}");
        let code = if refusal.starts_with("type") {
            "unknown-type"
        } else {
            "data-mismatch"
        };
        assert_eq!(answer.json()["error"]["code"], code);
    }
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.is_quiet().await;
}

/// The validator quotes what is wrong; the answer stays short all the same.
#[tokio::test]
async fn a_refusal_does_not_repeat_a_large_value() {
    let (server, _directory) = server().await;
    let draft = json!({"receiver": "test1", "type": "ORDER", "data": {"order": vec!["x"; 10_000]}});
    let answer = server.post("/api/notify", &[], draft.to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.len() < 600, "{} bytes", answer.text.len());
}

#[tokio::test]
async fn data_has_a_bound() {
    let server = Server::with(&[("domain.max_data", "1000")]).await;
    let post = async |length: usize| {
        let draft: Value = json!({"receiver": "test1", "data": "x".repeat(length)});
        server.post("/api/notify", &[], draft.to_string()).await
    };
    assert_eq!(post(998).await.status, 202, "with its quotes it is 1000 bytes of JSON");
    let answer = post(999).await;
    assert_eq!(
        (answer.status, &*answer.refusal()),
        (
            413,
            "data: is 1001 bytes long; at most 1000 are taken (domain.max_data)"
        )
    );
}
