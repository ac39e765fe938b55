//! The hook `command`: what a page SENDs to `/app/x/NAME`, and what comes back on `/user/queue/x/NAME`.

use quick_notify::stomp::{Command, Frame, ServerCommand};
use serde_json::{Value, json};

use crate::harness::plugin::{Plugin, Recipe, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Tab, eventually};

const DESK: (&str, &str) = (
    "attach.plugins.desk",
    r#"{hooks=["command"],commands=["echo","order","stall"]}"#,
);
const COUNTER: (&str, &str) = ("attach.plugins.counter", r#"{hooks=["command"],commands=["echo"]}"#);

fn desk(name: &'static str, commands: &str) -> Recipe {
    let recipe = Plugin::named(name).says("commands", commands);
    recipe.hook("command", move |question| match question["command"].as_str() {
        Some("echo") => Reply::Json(json!({"body": format!("{name} {}", question["body"]), "content_type": "text/x"})),
        Some("order") => match question["body"].as_str() {
            Some("bad") => Reply::Json(json!({"body": "x", "error": {"code": "y"}})),
            Some("evil") => Reply::Json(json!({"error": {"code": "a\nb", "reason": "x"}})),
            Some("broken") => Reply::Error(500, "a secret of the plugin's"),
            _ => Reply::Json(json!({"error": {"code": "no-such-order", "reason": "there is no order 7"}})),
        },
        _ => Reply::Silence,
    })
}

async fn subscribed(server: &crate::harness::Server) -> (Tab, String) {
    let mut tab = Tab::open(server).await;
    let connected = tab.handshake("test1", "1.2").await;
    for name in ["echo", "order", "stall", "nobody"] {
        tab.subscribe(name, &format!("/user/queue/x/{name}")).await;
    }
    (tab, connected.headers.get("session").unwrap_or_default().to_owned())
}

/// The next frame: which command it answers, its error, and its body.
async fn answer(tab: &mut Tab) -> (String, String, String) {
    let frame: Frame<ServerCommand> = tab.frame().await;
    assert_eq!(frame.command, ServerCommand::Message, "{frame:?}");
    let header = |name| frame.headers.get(name).unwrap_or_default().to_owned();
    let body = String::from_utf8(frame.body.to_vec()).expect("text");
    (header("subscription"), header("error"), body)
}

async fn error(tab: &mut Tab, command: &str, body: &str) -> String {
    tab.send_to(&format!("/app/x/{command}"), body).await;
    let (name, error, said) = answer(tab).await;
    let said: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&*name, said["code"].as_str()), (command, Some(&*error)), "{said}");
    assert!(!said.to_string().contains("secret"), "{said}");
    error
}

#[tokio::test]
async fn a_command_goes_to_its_plugin_and_the_answer_to_the_session() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[DESK]).await;
    let plugin = desk("desk", "echo order stall").start(&nats).await;
    server.sees("desk", "attached").await;
    let (mut alice, session) = subscribed(&server).await;
    let send = alice
        .write(Command::Send)
        .header("destination", "/app/x/echo")
        .header("content-type", "text/plain")
        .header("correlation-id", "c-7")
        .header("receipt", "taken");
    alice.send(send.body(b"hello")).await;
    alice.receipt("taken").await;
    let frame = alice.frame().await;
    let header = |name| frame.headers.get(name);
    assert_eq!(&frame.body[..], br#"desk "hello""#);
    assert_eq!(
        [
            header("destination"),
            header("content-type"),
            header("correlation-id"),
            header("error")
        ],
        [Some("/user/queue/x/echo"), Some("text/x"), Some("c-7"), None]
    );
    let mut asked = plugin.questions().pop().expect("a question");
    let fields = asked.as_object_mut().expect("an object");
    assert!(fields.remove("request").is_some());
    assert_eq!(
        asked,
        json!({"v": 1, "command": "echo", "user": "test1", "session": session, "content_type": "text/plain", "body": "hello"})
    );

    // What goes wrong is told, and the session lives.
    assert_eq!(error(&mut alice, "order", "7").await, "no-such-order");
    for body in ["bad", "evil", "broken"] {
        assert_eq!(error(&mut alice, "order", body).await, "failed", "{body}");
    }
    assert_eq!(error(&mut alice, "stall", "").await, "timeout");
    assert_eq!(error(&mut alice, "nobody", "").await, "unknown-command");
    let answer = server.post("/api/plugins/desk/disable", &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    server.sees("desk", "disabled").await;
    assert_eq!(error(&mut alice, "echo", "").await, "unavailable");
    alice.is_quiet().await;
}

/// One user's bad content is that one's; and a command may do something, so that it is asked once, however slow the plugin is.
#[tokio::test]
async fn what_one_user_sends_leaves_the_others_commands_answered_and_nothing_is_asked_twice() {
    let nats = Nats::start().await;
    let settings = [
        DESK,
        ("attach.hooks.deadline_ms", "800"),
        ("attach.hooks.breaker_first_ms", "60000"),
        ("attach.hooks.breaker_most_ms", "60000"),
    ];
    let server = beside(&nats, &settings).await;
    let (one, other) = (desk("desk", "echo order stall"), desk("desk", "echo order stall"));
    let (one, other) = (one.start(&nats).await, other.start(&nats).await);
    eventually("both are there", async || {
        server.plugin("desk").await["hooks"][0]["instances"] == 2
    })
    .await;
    let (mut alice, _) = subscribed(&server).await;
    for _ in 0..10 {
        assert_eq!(error(&mut alice, "order", "broken").await, "failed");
    }
    let (mut bob, _) = subscribed(&server).await;
    bob.send_to("/app/x/echo", "b").await;
    assert_eq!(answer(&mut bob).await.2, r#"desk "b""#);
    assert_eq!(server.plugin("desk").await["hooks"][0]["failed"], json!({"error": 10}));

    let asked = || one.questions().len() + other.questions().len();
    let before = asked();
    assert_eq!(error(&mut bob, "stall", "").await, "timeout");
    assert_eq!(asked(), before + 1);
}

#[tokio::test]
async fn of_two_that_serve_a_command_the_first_in_order_does_and_that_is_logged() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[DESK, COUNTER]).await;
    let _desk = desk("desk", "echo order").says("order", "2").start(&nats).await;
    server.sees("desk", "attached").await;
    let counter = desk("counter", "echo").says("order", "1").start(&nats).await;
    server.sees("counter", "attached").await;
    let (mut alice, _) = subscribed(&server).await;
    alice.send_to("/app/x/echo", "a").await;
    assert_eq!(answer(&mut alice).await.2, r#"counter "a""#);
    assert!(
        server.log().contains("two plugins serve this command"),
        "{}",
        server.log()
    );
    drop(counter);
    server.sees("counter", "absent").await;
    alice.send_to("/app/x/echo", "b").await;
    assert_eq!(answer(&mut alice).await.2, r#"desk "b""#);
}

#[tokio::test]
async fn a_greedy_session_is_bounded_and_lives() {
    let nats = Nats::start().await;
    let settings = [
        DESK,
        ("attach.hooks.deadline_ms", "2000"),
        ("edge.commands.in_flight", "2"),
        ("edge.commands.max_body", "100"),
        ("edge.commands.burst", "6"),
        ("edge.commands.per_second", "1"),
    ];
    let server = beside(&nats, &settings).await;
    let plugin = desk("desk", "echo order stall").start(&nats).await;
    server.sees("desk", "attached").await;
    let (mut alice, _) = subscribed(&server).await;
    assert_eq!(error(&mut alice, "echo", &"x".repeat(101)).await, "too-large");
    for _ in 0..2 {
        alice.send_to("/app/x/stall", "").await;
    }
    assert_eq!(error(&mut alice, "echo", "").await, "busy");
    let mut codes = Vec::new();
    while codes.last().is_none_or(|code| code == "busy") {
        codes.push(error(&mut alice, "echo", "").await);
    }
    assert_eq!(codes.last().map(|code| &**code), Some("too-many"));
    assert!(codes.len() <= 6, "{codes:?}");
    assert_eq!(plugin.questions().len(), 2, "nobody else was asked");
    assert!(server.metric("quick_notify_commands_refused_total").await >= 3.0);
    // Another one is not in its way.
    let (mut bob, _) = subscribed(&server).await;
    bob.send_to("/app/x/echo", "b").await;
    assert_eq!(answer(&mut bob).await.1, "");
    // Those that wait are answered at their deadline.
    for _ in 0..2 {
        assert_eq!(answer(&mut alice).await.1, "timeout");
    }
    // And a session that goes away takes its commands along.
    bob.send_to("/app/x/stall", "").await;
    bob.leave().await;
    eventually("one session", async || {
        server.metric("quick_notify_sessions").await == 1.0
    })
    .await;
}
