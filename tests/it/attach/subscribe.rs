//! The hook `subscribe`: plugins narrow which topics a token lets its user read.

use serde_json::json;

use quick_notify::stomp::Command;

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually};

const GATE: (&str, &str) = ("attach.plugins.gate", r#"{hooks=["subscribe"]}"#);
const WALL: (&str, &str) = ("attach.plugins.wall", r#"{hooks=["subscribe"]}"#);

/// Says no to `/topic/NAME.closed`.
fn gate(name: &'static str) -> crate::harness::plugin::Recipe {
    Plugin::named(name).hook("subscribe", move |question| {
        let topic = question["topic"].as_str().unwrap_or_default();
        let allow = topic != format!("/topic/{name}.closed");
        Reply::Json(json!({"allow": allow, "reason": format!("the {name} is\nclosed")}))
    })
}

async fn refused(server: &Server, topic: &str) -> (String, String) {
    let mut tab = Tab::connect(server, "test1").await;
    let subscribe = tab
        .write(Command::Subscribe)
        .header("id", "t")
        .header("destination", topic);
    tab.send(subscribe.end()).await;
    tab.error().await
}

#[tokio::test]
async fn plugins_are_asked_in_their_order_and_the_first_refusal_stands() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[GATE, WALL]).await;
    Tab::connect(&server, "test1")
        .await
        .subscribe("t", "/topic/gate.closed")
        .await;
    let (gate, wall) = (gate("gate").says("order", "2"), gate("wall").says("order", "1"));
    let (gate, wall) = (gate.start(&nats).await, wall.start(&nats).await);
    for name in ["gate", "wall"] {
        server.sees(name, "attached").await;
    }
    Tab::connect(&server, "test1").await.subscribe("t", "/topic/open").await;
    let last = |plugin: &Plugin| plugin.questions().pop().expect("a question");
    for plugin in [&gate, &wall] {
        let asked = last(plugin);
        assert_eq!(
            (&asked["user"], &asked["topic"]),
            (&json!("test1"), &json!("/topic/open"))
        );
    }
    let denied = |why: &str, topic: &str| {
        (
            "forbidden-destination".to_owned(),
            format!("SUBSCRIBE to {topic}: {why}"),
        )
    };
    let said = refused(&server, "/topic/wall.closed").await;
    assert_eq!(said, denied("the wall is closed", "/topic/wall.closed"));
    assert_eq!(gate.questions().len(), 1, "the wall has spoken");
    let said = refused(&server, "/topic/gate.closed").await;
    assert_eq!(said, denied("the gate is closed", "/topic/gate.closed"));

    drop(gate);
    server.sees("gate", "absent").await;
    Tab::connect(&server, "test1")
        .await
        .subscribe("t", "/topic/gate.closed")
        .await;
}

#[tokio::test]
async fn a_plugin_that_fails_is_passed_over_or_makes_the_client_come_again() {
    let nats = Nats::start().await;
    let settings = [GATE, ("attach.hooks.deadline_ms", "300")];
    let server = beside(&nats, &settings).await;
    let silent = |on_failure: &str| {
        Plugin::named("gate")
            .says("on-failure", on_failure)
            .hook("subscribe", |_| Reply::Silence)
    };
    let passes = silent("pass").start(&nats).await;
    server.sees("gate", "attached").await;
    Tab::connect(&server, "test1").await.subscribe("t", "/topic/a").await;
    assert_eq!(passes.questions().len(), 1);
    drop(passes);
    server.sees("gate", "absent").await;

    for on_failure in ["reject", "retry"] {
        let plugin = silent(on_failure).start(&nats).await;
        server.sees("gate", "attached").await;
        let (code, message) = refused(&server, "/topic/a").await;
        assert_eq!(code, "unavailable", "{message}");
        drop(plugin);
        server.sees("gate", "absent").await;
    }

    // It is what follows where nobody says it.
    let plugin = Plugin::named("gate")
        .hook("subscribe", |_| Reply::Silence)
        .start(&nats)
        .await;
    server.sees("gate", "attached").await;
    assert_eq!(refused(&server, "/topic/a").await.0, "unavailable");
    drop(plugin);

    // One that has to be there, and isn't.
    let required = r#"{hooks=["subscribe"],required=true,on_failure="reject"}"#;
    let server = beside(&nats, &[("attach.plugins.gate", required)]).await;
    assert_eq!(refused(&server, "/topic/a").await.0, "unavailable");
}

/// Who floods a node with questions opens no topic by it, even where a failure of the plugin would.
#[tokio::test]
async fn no_topic_opens_because_this_node_asks_too_much() {
    let nats = Nats::start().await;
    let gate = r#"{hooks=["subscribe"],on_failure="pass"}"#;
    let settings = [
        ("attach.plugins.gate", gate),
        ("attach.hooks.deadline_ms", "1000"),
        ("attach.hooks.in_flight", "1"),
    ];
    let server = beside(&nats, &settings).await;
    let plugin = Plugin::named("gate")
        .hook("subscribe", |_| Reply::Silence)
        .start(&nats)
        .await;
    server.sees("gate", "attached").await;
    let subscribe = async |tab: &mut Tab| {
        let frame = tab.write(Command::Subscribe).header("id", "t");
        let frame = frame.header("destination", "/topic/a").header("receipt", "opened");
        tab.send(frame.end()).await;
    };
    let mut first = Tab::connect(&server, "test1").await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Tab::connect(&server, "test2").await);
    }
    subscribe(&mut first).await;
    eventually("it is asked", async || plugin.questions().len() == 1).await;
    for other in &mut others {
        subscribe(other).await;
    }
    first.receipt("opened").await;
    let mut codes = Vec::new();
    for other in &mut others {
        let frame = other.frame().await;
        codes.push(frame.headers.get("code").map(str::to_owned));
    }
    let refused = codes.iter().filter(|code| code.as_deref() == Some("unavailable"));
    assert!(
        refused.count() >= 2,
        "one may have found the place of the first: {codes:?}"
    );
}

#[tokio::test]
async fn a_slow_plugin_holds_up_nothing_else_of_the_session() {
    let nats = Nats::start().await;
    let gate = r#"{hooks=["subscribe"],on_failure="pass"}"#;
    let settings = [("attach.plugins.gate", gate), ("attach.hooks.deadline_ms", "3000")];
    let server = beside(&nats, &settings).await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let plugin = Plugin::named("gate")
        .hook("subscribe", |_| Reply::Silence)
        .start(&nats)
        .await;
    server.sees("gate", "attached").await;
    let subscribe = alice
        .write(Command::Subscribe)
        .header("id", "t")
        .header("destination", "/topic/a")
        .header("receipt", "subscribed");
    alice.send(subscribe.end()).await;
    eventually("it is asked", async || plugin.questions().len() == 1).await;
    server.notify("test1", "meanwhile").await;
    assert_eq!(alice.delivery().await.data(), "meanwhile", "and no RECEIPT yet");
    alice.receipt("subscribed").await;
}
