//! Past the doors: straight into the stream, what becomes of what is wrong, and the examples of both ways.

use std::path::Path;
use std::process::{Command, Output};

use quick_notify::subjects;

use super::*;
use crate::harness::tempdir;

async fn on_jetstream(nats: &Nats, more: &[(&str, &str)]) -> Server {
    node(nats, &[&[("queue.adapter", "jetstream")], more].concat()).await
}

/// The command line on the same queue, while the server runs.
fn dead(nats: &Nats, arguments: &[&str]) -> (bool, String, String) {
    let servers = format!("nats.servers=[\"{}\"]", nats.url());
    let queue = ["--set", "queue.adapter=jetstream", "--set", &*servers];
    let Output { status, stdout, stderr } = Server::program(&[&["dead"], arguments, &queue].concat());
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.success(), text(stdout), text(stderr))
}

fn letters(nats: &Nats) -> Vec<Value> {
    let (well, out, err) = dead(nats, &["list", "--json"]);
    assert!(well, "{err}");
    out.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

async fn died(server: &Server, count: f64) {
    eventually("the dead letters", || async {
        server.metric("quick_notify_dead_letters_total").await == count
    })
    .await;
}

#[tokio::test]
async fn a_request_is_answered_when_the_stream_has_it() {
    let nats = Nats::start().await;
    let server = on_jetstream(&nats, &[]).await;
    let client = producer(&nats).await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let draft = json!({"receiver": "test1", "data": "Hello"});
    let reply = ask(&client, &[("Idempotency-Key", "k")], draft.to_string()).await;
    let over_http = server.publish(draft.clone()).await;
    assert_eq!(reply.error(), (202, ""));
    assert_eq!(reply.body["durability"], over_http["durability"]);
    assert_eq!(alice.delivery().await.id, reply.body["id"]);
    assert_eq!(alice.delivery().await.id, over_http["id"]);
    let again = ask(&client, &[("Idempotency-Key", "k")], draft.to_string()).await;
    assert_eq!(
        (&again.body["id"], &again.body["state"]),
        (&reply.body["id"], &json!("duplicate"))
    );
}

/// The schema is a file, so that what is wrong today can be right tomorrow.
#[tokio::test]
async fn what_is_wrong_past_the_doors_dies_with_everything_that_came_and_is_replayed() {
    let (nats, files) = (Nats::start().await, tempdir());
    let schema = files.path().join("order.json");
    std::fs::write(&schema, r#"{"type":"number"}"#).expect("a file");
    let setting = ("domain.types.ORDER.schema_file", schema.to_str().expect("a name"));
    let mut server = on_jetstream(&nats, &[setting]).await;
    let context = async_nats::jetstream::new(producer(&nats).await);
    let publish = async |to: &str, id: &str, body: String| {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        headers.insert("Trace", "t-1");
        let subject = subjects::direct("notify", "user", to);
        let ack = context.publish_with_headers(subject, headers, body.into()).await;
        ack.expect("sent").await.expect("the PubAck");
    };
    let wrong_today = json!({"receiver": "test1", "type": "ORDER", "data": "seven", "id": "o7"}).to_string();
    publish("test1", "o7", wrong_today.clone()).await;
    publish(
        "mallory",
        "m1",
        json!({"receiver": "test1", "data": "not mine"}).to_string(),
    )
    .await;
    publish("test1", "m2", "no JSON \u{1b}[31m".into()).await;
    died(&server, 3.0).await;

    let found = letters(&nats);
    let by = |letters: &[Value], id: &str| {
        let has = |letter: &&Value| {
            letter["headers"]
                .as_array()
                .is_some_and(|all| all.contains(&json!(["Nats-Msg-Id", id])))
        };
        letters
            .iter()
            .find(has)
            .unwrap_or_else(|| panic!("{id} in {letters:?}"))
            .clone()
    };
    let order = by(&found, "o7");
    assert_eq!(
        (&order["reason"], &order["subject"]),
        (&json!("invalid"), &json!("notify.in.user.test1"))
    );
    assert!(
        order["headers"]
            .as_array()
            .is_some_and(|all| all.contains(&json!(["Trace", "t-1"]))),
        "{order}"
    );
    assert_eq!(
        order["payload"].to_string(),
        serde_json::from_str::<Value>(&wrong_today).expect("JSON").to_string()
    );
    assert!(
        order["detail"]
            .as_str()
            .is_some_and(|detail| detail.starts_with("data")),
        "{order}"
    );
    assert_eq!(by(&found, "m1")["reason"], "misdirected");
    assert_eq!(by(&found, "m2")["payload"], "no JSON \u{1b}[31m");
    let (_, shown, _) = dead(&nats, &["show", &order["number"].to_string()]);
    for line in [
        "reason   invalid\n",
        "subject  notify.in.user.test1\n",
        "header   Trace: t-1\n",
        &format!("\n\n{wrong_today}\n"),
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }

    let (well, _, err) = dead(&nats, &["replay", &order["number"].to_string()]);
    assert!(well, "{err}");
    died(&server, 4.0).await;
    assert_eq!(letters(&nats).len(), 3, "it died again, under a new number");
    std::fs::write(&schema, r#"{"type":"string"}"#).expect("a file");
    assert_eq!(server.terminate().await, Some(0));
    server.restart().await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let (well, out, err) = dead(&nats, &["replay", "--all", "--reason", "invalid"]);
    assert!(well && out.lines().count() == 2, "{out}{err}");
    let delivery = alice.delivery().await;
    assert_eq!((&*delivery.id, &*delivery.data()), ("o7", "seven"));
    died(&server, 1.0).await;
    let left: Vec<_> = letters(&nats)
        .into_iter()
        .map(|letter| letter["reason"].clone())
        .collect();
    assert_eq!(
        left.len(),
        2,
        "what is no JSON died again, and nobody touched the other: {left:?}"
    );
}

/// Larger than NATS takes with what a letter says of it.
#[tokio::test]
async fn what_is_too_large_for_nats_is_refused_at_the_door_and_holds_up_nobody_past_it() {
    let nats = Nats::with("max_payload: 64KB").await;
    let server = on_jetstream(&nats, &[]).await;
    let context = async_nats::jetstream::new(producer(&nats).await);
    let mut alice = Tab::listen(&server, "test1", None).await;
    let good = json!({"receiver": "test1", "data": "good"}).to_string();
    for body in ["x".repeat(65_480), good] {
        let subject = subjects::direct("notify", "user", "test1");
        let ack = context.publish(subject, body.into()).await;
        ack.expect("sent").await.expect("the PubAck");
    }
    assert_eq!(alice.delivery().await.data(), "good");
    let found = letters(&nats);
    assert_eq!((found.len(), &found[0]["truncated"]), (1, &json!(65_480)));
    let number = found[0]["number"].to_string();
    let (_, shown, _) = dead(&nats, &["show", &number]);
    assert!(shown.contains(" of 65480 bytes"), "{shown}");
    let (well, _, err) = dead(&nats, &["replay", &number]);
    assert!(!well && err.contains("nobody can queue it as it came"), "{err}");

    let large = json!({"receiver": "test1", "data": "x".repeat(65_450)}).to_string();
    let answer = server.post("/api/notify", &[], large).await;
    assert_eq!(answer.status, 413);
    let said = answer.json().to_string();
    assert!(said.contains("too-large") && said.contains("max_payload"), "{said}");
}

/// Runs an example as its own first lines say, and checks that both of its notifications arrive.
async fn both_ways(mut command: Command, receiver: &str) {
    let nats = Nats::start().await;
    let server = on_jetstream(&nats, &[]).await;
    let mut tab = Tab::listen(&server, receiver, None).await;
    command.args([&nats.url(), receiver, "Hello"]);
    let done = tokio::task::spawn_blocking(move || command.output().expect("it starts"));
    let done = done.await.expect("it ran");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let receipt = said
        .lines()
        .find_map(|line| line.strip_prefix("receipt "))
        .expect("a receipt");
    let receipt: Value = serde_json::from_str(receipt).expect("JSON");
    let stored = said
        .lines()
        .find(|line| line.starts_with("stored in "))
        .expect("a PubAck");
    let (first, second) = (tab.delivery().await, tab.delivery().await);
    assert_eq!(
        (&*first.id, first.data()),
        (receipt["id"].as_str().expect("an id"), "Hello".to_owned())
    );
    assert!(stored.ends_with(&second.id), "{said}");
    assert_eq!(server.metric("quick_notify_dead_letters_total").await, 0.0);
}

/// In dev mode this token is the user's name, which no subject could hold as it is.
const ODD: &str = "test.of *Ünal >";

#[tokio::test]
async fn the_example_in_rust_publishes_both_ways() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--example", "publish_nats", "--"]);
    both_ways(cargo, ODD).await;
}

#[tokio::test]
async fn the_example_in_python_publishes_both_ways() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = Command::new(root.join("target/venv/bin/python"));
    python.arg(root.join("examples/publish_nats.py"));
    both_ways(python, ODD).await;
}
