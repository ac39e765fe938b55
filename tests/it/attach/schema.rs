//! The schema files are valid, their examples fit, and everybody gets them.

use quick_notify::attach::schema;
use serde_json::{Value, json};

use futures_util::StreamExt;

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, within};

#[test]
fn each_schema_is_one_and_its_examples_fit() {
    for (name, text) in schema::ALL {
        let file: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            file["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "{name}"
        );
        assert_eq!(
            file["$id"],
            format!("{name}.json"),
            "relative, so that it follows the address"
        );
        if let Err(error) = jsonschema::meta::validate(&file) {
            panic!("{name} is no schema: {error} at {}", error.instance_path());
        }
        assert!(file["title"].is_string(), "{name} has no title");
        let examples = file["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            assert_eq!(schema::misfit(name, example), None, "{name}: {example}");
            let mut with_more = example.clone();
            if *name != "metadata" {
                with_more["a_field_of_later"] = json!({"x": 1});
            }
            assert_eq!(
                schema::misfit(name, &with_more),
                None,
                "{name} refuses an unknown field"
            );
        }
        for key in file["required"].as_array().expect("required fields") {
            let mut without = examples[0].clone();
            without
                .as_object_mut()
                .expect("an object")
                .remove(key.as_str().expect("a name"));
            assert!(schema::misfit(name, &without).is_some(), "{name} does without {key}");
        }
    }
}

/// What a schema has to refuse beyond a missing field.
#[test]
fn what_makes_no_sense_does_not_fit() {
    let verdict = |verdict: Value| json!({"v": 1, "request": "r", "verdicts": [verdict]});
    for (name, message, place) in [
        ("metadata", json!({"quick-notify": "2"}), "/quick-notify"),
        ("metadata", json!({"quick-notify": "1", "order": "1001"}), "/order"),
        (
            "metadata",
            json!({"quick-notify": "1", "deadline-ms": "0"}),
            "/deadline-ms",
        ),
        (
            "metadata",
            json!({"quick-notify": "1", "on-failure": "shrug"}),
            "/on-failure",
        ),
        ("metadata", json!({"quick-notify": "1", "more": 7}), "/more"),
        ("review.reply", json!({"v": 2, "request": "r", "verdicts": []}), "/v"),
        (
            "review.reply",
            verdict(json!({"id": "a", "verdict": "maybe"})),
            "/verdicts/0/verdict",
        ),
        (
            "review.reply",
            verdict(json!({"id": "a", "verdict": "change"})),
            "/verdicts/0",
        ),
        (
            "review.reply",
            verdict(json!({"id": "a", "verdict": "reject"})),
            "/verdicts/0",
        ),
        (
            "review.reply",
            verdict(json!({"id": "a", "verdict": "route"})),
            "/verdicts/0",
        ),
        (
            "review.reply",
            verdict(json!({"id": "a", "verdict": "route", "receivers": [""]})),
            "/verdicts/0/receivers/0",
        ),
        (
            "review.reply",
            json!({"v": 1, "request": "r", "verdicts": [], "others": "reject"}),
            "/others",
        ),
        (
            "review.request",
            json!({"v": 1, "request": "r", "notifications": []}),
            "/notifications",
        ),
        (
            "review.request",
            json!({"v": 1, "request": "r", "notifications": [{"id": "a", "type": "T", "to": {"user": "a", "everyone": true}, "data": 1, "persist": true, "created": 1}]}),
            "/notifications/0/to",
        ),
        (
            "authenticate.reply",
            json!({"v": 1, "request": "r", "user": "a"}),
            "the message",
        ),
        (
            "authenticate.reply",
            json!({"v": 1, "request": "r", "user": "a", "expires": 1, "refused": "no"}),
            "the message",
        ),
        ("command.reply", json!({"v": 1, "request": "r"}), "the message"),
        (
            "subscribe.reply",
            json!({"v": 1, "request": "r", "allow": "yes"}),
            "/allow",
        ),
        (
            "event",
            json!({"v": 1, "event": "unreached", "at": 1, "node": "n", "id": "a", "type": "T", "receiver": "b", "created": 1}),
            "the message",
        ),
        (
            "event",
            json!({"v": 1, "event": "user-online", "at": 1, "node": "n"}),
            "the message",
        ),
    ] {
        let said = schema::misfit(name, &message).unwrap_or_else(|| panic!("{name} takes {message}"));
        assert!(said.starts_with(&format!("{place}: ")), "{name}: {said}");
    }
}

#[tokio::test]
async fn the_program_and_the_server_give_every_schema() {
    let names = Server::program(&["plugins", "schema"]);
    let names = String::from_utf8(names.stdout).expect("text");
    assert_eq!(names.lines().count(), schema::ALL.len());
    let unknown = Server::program(&["plugins", "schema", "nonsense"]);
    assert!(!unknown.status.success());

    let server = Server::alone(&[]).await;
    let index = server.get("/api/plugins/schema", &[]).await.json();
    let listed = index["schemas"].as_array().expect("a list");
    assert_eq!(listed.len(), schema::ALL.len());
    for (entry, name) in listed.iter().zip(names.lines()) {
        assert_eq!(entry["name"], name);
        let file = server.get(entry["url"].as_str().expect("an address"), &[]).await;
        assert_eq!(file.status, 200);
        assert_eq!(file.headers["content-type"], "application/schema+json");
        assert_eq!(file.headers["cache-control"], "public, max-age=3600");
        let printed = Server::program(&["plugins", "schema", name]);
        assert_eq!(file.text.as_bytes(), printed.stdout);
        assert_eq!(file.json()["title"], entry["title"]);
    }
    assert_eq!(
        server.get("/api/plugins/schema/v1/nonsense.json", &[]).await.status,
        404
    );
}

/// What goes over NATS is what the files say.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_sends_fits() {
    let nats = Nats::start().await;
    let ear = async_nats::connect(nats.url()).await.expect("NATS");
    let mut events = ear.subscribe("notify.event.>").await.expect("an ear");
    ear.flush().await.expect("heard");
    let kinds = [
        "accepted",
        "stored",
        "delivered",
        "acked",
        "read",
        "deleted",
        "dead",
        "session-opened",
        "session-closed",
        "user-online",
        "user-offline",
    ];
    let (always, offline) = (json!(kinds).to_string(), ("attach.events.offline_after_ms", "10"));
    let allowed = ("attach.plugins.router", r#"{hooks=["review"]}"#);
    let server = beside(&nats, &[allowed, offline, ("attach.events.always", &always)]).await;
    let routes = |question: &Value| match question.get("page") {
        Some(_) => Reply::Json(json!({"receivers": ["test2"]})),
        None => {
            let shown = question["notifications"].as_array().cloned().unwrap_or_default();
            let verdicts = shown.iter().filter_map(|one| match one["to"]["user"].as_str()? {
                "group" => Some(json!({"id": one["id"], "verdict": "route", "receivers": ["test1"], "next": "2"})),
                "nobody" => Some(json!({"id": one["id"], "verdict": "reject", "reason": "there is nobody"})),
                _ => None,
            });
            Reply::Json(json!({"verdicts": verdicts.collect::<Vec<_>>(), "others": "pass"}))
        }
    };
    let plugin = Plugin::named("router").hook("review", routes).start(&nats).await;
    server.sees("router", "attached").await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    server
        .publish(json!({"topic": "/topic/x", "data": "for a topic"}))
        .await;
    server.publish(json!({"everyone": true, "data": "for everyone"})).await;
    server.notify("nobody", "rejected").await;
    server.notify("group", "routed").await;
    let copy = loop {
        let delivery = tab.delivery().await;
        if delivery.data() == "routed" {
            break delivery.id;
        }
    };
    tab.ack(&copy).await;
    let other = server.notify("test1", "deleted").await;
    while tab.delivery().await.id != other {}
    let ids = json!([other]).to_string();
    let user = [("Authorization", "test1"), ("Content-Type", "application/json")];
    assert_eq!(server.post("/api/notify/viewed", &user, ids.clone()).await.status, 200);
    let deleted = server
        .request(reqwest::Method::DELETE, "/api/notify/delete", &user, ids)
        .await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    drop(tab);

    let mut missing: std::collections::BTreeSet<_> = kinds.into();
    while !missing.is_empty() {
        let message = within(&format!("{missing:?}"), events.next()).await.expect("an event");
        let event: Value = serde_json::from_slice(&message.payload).expect("JSON");
        assert_eq!(schema::misfit("event", &event), None, "{event}");
        missing.remove(event["event"].as_str().expect("a kind"));
    }
    let mut pages = 0;
    for question in plugin.questions() {
        let is_page = question.get("page").is_some();
        pages += usize::from(is_page);
        let name = if is_page {
            "review.page.request"
        } else {
            "review.request"
        };
        assert_eq!(schema::misfit(name, &question), None, "{question}");
    }
    assert_eq!(pages, 1, "{:?}", plugin.questions());
}
