//! What happened, told: seen by who listens, kept in the stream, and in nobody's way.

mod stream;

use std::collections::BTreeMap;

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use crate::harness::plugin::Plugin;
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually, within};

pub const ALL: &str = r#"["accepted","stored","delivered","acked","read","deleted","expired","dead","unreached","session-opened","session-closed","user-online","user-offline"]"#;

/// A server that tells, its NATS unless that is shared, and who hears everything.
pub struct Story {
    pub server: Server,
    pub nats: Option<Nats>,
    pub told: Told,
}

/// A subscriber of all events.
pub struct Told {
    pub client: async_nats::Client,
    prefix: String,
    heard: async_nats::Subscriber,
    pub events: Vec<Value>,
}

/// On the adapters of this run, with a NATS of its own where those need none.
pub async fn tell(settings: &[(&str, &str)]) -> Story {
    let alone = std::env::var("TEST_ADAPTERS").as_deref() != Ok("cluster");
    let nats = if alone { Some(Nats::start().await) } else { None };
    let servers = nats.as_ref().map(|nats| format!("[\"{}\"]", nats.url()));
    let mut all = vec![
        ("attach.enabled", "true"),
        ("attach.discover_ms", "100"),
        ("attach.lease_ms", "1000"),
    ];
    all.extend(servers.as_deref().map(|servers| ("nats.servers", servers)));
    all.extend(settings);
    let server = Server::with(&all).await;
    let told = Told::of(&server).await;
    Story { server, nats, told }
}

impl Told {
    pub async fn of(server: &Server) -> Self {
        let servers: Vec<String> =
            serde_json::from_str(server.setting("nats.servers").expect("it has NATS")).expect("a list");
        Self::at(servers, server.setting("nats.prefix").unwrap_or("notify")).await
    }

    pub async fn at(servers: impl async_nats::ToServerAddrs, prefix: &str) -> Self {
        let prefix = prefix.to_owned();
        let client = async_nats::connect(servers).await.expect("NATS answers");
        let heard = client.subscribe(format!("{prefix}.event.>")).await.expect("subscribed");
        client.flush().await.expect("the server heard it");
        Self {
            client,
            prefix,
            heard,
            events: Vec::new(),
        }
    }

    /// Waits for the next event of this kind; those before it are kept.
    pub async fn next(&mut self, kind: &str) -> Value {
        within(&format!("the event {kind}"), async {
            loop {
                let message = self.heard.next().await.expect("a subscription");
                let event: Value = serde_json::from_slice(&message.payload).expect("JSON");
                let token = message.subject.rsplit('.').next().expect("a token").to_owned();
                assert_eq!(
                    message.subject.as_str(),
                    format!(
                        "{}.event.{}.{token}",
                        self.prefix,
                        event["event"].as_str().expect("a kind")
                    )
                );
                let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
                assert!(id.is_some(), "{event}");
                self.events.push(event.clone());
                if event["event"] == kind {
                    return event;
                }
            }
        })
        .await
    }

    /// How many of each kind came so far. Who wants to have seen all first waits for an event that was told behind them.
    pub fn count(&mut self) -> BTreeMap<String, usize> {
        while let Some(Some(message)) = self.heard.next().now_or_never() {
            self.events
                .push(serde_json::from_slice(&message.payload).expect("JSON"));
        }
        let mut count = BTreeMap::new();
        for event in &self.events {
            *count
                .entry(event["event"].as_str().expect("a kind").to_owned())
                .or_default() += 1;
        }
        count
    }

    /// All of this kind that came so far.
    pub fn all(&mut self, kind: &str) -> Vec<Value> {
        self.count();
        self.events
            .iter()
            .filter(|event| event["event"] == kind)
            .cloned()
            .collect()
    }
}

fn fields<'a>(event: &'a Value, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &event[*name]).collect()
}

#[tokio::test]
async fn each_happening_is_told_with_what_it_is_about() {
    let settings = [("attach.events.always", ALL), ("attach.events.offline_after_ms", "100")];
    let Story {
        server,
        nats: _nats,
        mut told,
    } = tell(&settings).await;
    let mut tab = Tab::listen(&server, "test-alice", None).await;
    let opened = told.next("session-opened").await;
    assert_eq!(
        fields(&opened, &["v", "user", "dialect"]),
        [&json!(1), &json!("test-alice"), &json!("1.2")]
    );
    assert_eq!(told.next("user-online").await["user"], "test-alice");

    let id = server.notify("test-alice", "one").await;
    let about = ["id", "type", "receiver"];
    let this = [&json!(id), &json!("STRING_MSG"), &json!("test-alice")];
    let accepted = told.next("accepted").await;
    assert_eq!(fields(&accepted, &about), this);
    assert!(accepted["node"].is_string() && accepted["at"].is_i64() && accepted["created"].is_i64());
    let stored = told.next("stored").await;
    assert_eq!((fields(&stored, &about), &stored["seq"]), (this.to_vec(), &json!(1)));
    assert!(stored["data"].is_null(), "only where attach.events.data says so");
    let delivered = told.next("delivered").await;
    assert_eq!(
        (fields(&delivered, &about), &delivered["seq"]),
        (this.to_vec(), &json!(1))
    );
    assert_eq!(delivered["session"], opened["session"]);
    tab.delivery().await;
    tab.ack(&id).await;
    let acked = told.next("acked").await;
    assert_eq!(
        fields(&acked, &["id", "receiver", "seq", "created"]),
        [&json!(id), &json!("test-alice"), &json!(1), &accepted["created"]]
    );

    let [read, acked, deleted] = [
        server.notify("test-bob", "2").await,
        server.notify("test-bob", "3").await,
        server.notify("test-bob", "4").await,
    ];
    while told.next("stored").await["id"] != *deleted {}
    let bob = ("Authorization", "test-bob");
    server
        .post("/api/notify/viewed", &[bob], json!([read, "unknown"]).to_string())
        .await;
    assert_eq!(
        fields(&told.next("read").await, &["id", "receiver"]),
        [&json!(read), &json!("test-bob")]
    );
    for _ in 0..2 {
        server.post("/api/notify/ack", &[bob], json!([acked]).to_string()).await;
    }
    assert_eq!(
        fields(&told.next("acked").await, &["id", "receiver"]),
        [&json!(acked), &json!("test-bob")]
    );
    let delete = reqwest::Method::DELETE;
    server
        .request(delete, "/api/notify/delete", &[bob], json!([deleted]).to_string())
        .await;
    assert_eq!(
        fields(&told.next("deleted").await, &["id", "receiver"]),
        [&json!(deleted), &json!("test-bob")]
    );

    // A second device comes and goes: the user stays.
    let second = Tab::listen(&server, "test-alice", None).await;
    second.leave().await;
    assert_eq!(told.next("session-closed").await["user"], "test-alice");
    tab.leave().await;
    let closed = told.next("session-closed").await;
    assert_eq!(
        fields(&closed, &["user", "session", "dialect"]),
        [&json!("test-alice"), &opened["session"], &json!("1.2")]
    );
    assert!(closed["reason"].is_string());
    assert_eq!(told.next("user-offline").await["user"], "test-alice");
    // What is told last comes last.
    let last = server.notify("test-last", "x").await;
    while told.next("stored").await["id"] != *last {}
    let count = told.count();
    let counts: Vec<(&str, usize)> = count.iter().map(|(kind, count)| (&**kind, *count)).collect();
    assert_eq!(
        counts,
        [
            ("accepted", 5),
            ("acked", 2),
            ("deleted", 1),
            ("delivered", 1),
            ("read", 1),
            ("session-closed", 2),
            ("session-opened", 2),
            ("stored", 5),
            ("user-offline", 1),
            ("user-online", 1)
        ],
        "each once"
    );
}

#[tokio::test]
async fn what_expired_and_what_could_never_pass_is_told() {
    let settings = [
        ("attach.events.always", r#"["expired","dead"]"#),
        ("sweep.retention_seconds", "1"),
        ("sweep.every_ms", "100"),
        ("attach.events.data", "true"),
        ("ingest.nats", "true"),
        ("queue.adapter", "jetstream"),
    ];
    let Story {
        server,
        nats: _nats,
        mut told,
    } = tell(&settings).await;
    let id = server.notify("test-alice", "one").await;
    let expired = told.next("expired").await;
    assert_eq!(
        fields(&expired, &["id", "receiver", "seq"]),
        [&json!(id), &json!("test-alice"), &json!(1)]
    );

    let subject = format!("{}.in.user.alice", told.prefix);
    let bodies = [r#"{"receiver":"bob","data":"x"}"#, r#"{"receiver":"alice","id":"#];
    for body in bodies {
        told.client
            .publish(subject.clone(), body.into())
            .await
            .expect("published");
        let dead = told.next("dead").await;
        assert!(dead["id"].is_null(), "nothing of it can be trusted: {dead}");
        assert!(
            ["misdirected", "invalid"].contains(&dead["reason"].as_str().expect("a reason")),
            "{dead}"
        );
    }
}

#[tokio::test]
async fn what_nobody_wants_is_not_published_and_plugins_say_what_they_want() {
    let allowed = ("attach.plugins.audit", r#"{events=["stored","unreached"]}"#);
    let Story {
        server,
        nats: _nats,
        mut told,
    } = tell(&[allowed]).await;
    let cycle = async |text: &str| {
        let mut tab = Tab::listen(&server, "test-alice", None).await;
        let id = server.notify("test-alice", text).await;
        assert_eq!(tab.delivery().await.data(), text);
        tab.ack(&id).await;
        tab.leave().await;
        eventually("the outcome", async || {
            server
                .get("/api/notify/unread", &[("Authorization", "test-alice")])
                .await
                .json()["data"]["last_seq"]
                != 0
        })
        .await;
        id
    };
    cycle("one").await;
    let servers: Vec<String> = serde_json::from_str(server.setting("nats.servers").expect("NATS")).expect("a list");
    let attach = async || {
        let plugin = Plugin::named("audit").says("events", "stored");
        let plugin = plugin
            .start_at(&servers[0], server.setting("nats.prefix").unwrap_or("notify"))
            .await;
        server.sees("audit", "attached").await;
        plugin
    };
    let plugin = attach().await;
    let two = cycle("two").await;
    assert_eq!(told.next("stored").await["id"], *two);
    drop(plugin);
    server.sees("audit", "absent").await;
    cycle("three").await;
    let _plugin = attach().await;
    let four = cycle("four").await;
    assert_eq!(told.next("stored").await["id"], *four);
    assert_eq!(
        told.count(),
        BTreeMap::from([("stored".to_owned(), 2)]),
        "nothing else, and nothing while nobody was there"
    );
}

/// Both are in the hub before either is open; and one that is refused has been there, too.
#[tokio::test]
async fn who_comes_in_several_tabs_at_once_is_online_once() {
    let settings = [
        ("attach.events.always", r#"["user-online"]"#),
        ("session.max_per_user", "2"),
    ];
    let Story {
        server,
        nats: _nats,
        mut told,
    } = tell(&settings).await;
    let url = server.ws();
    let mut tabs = Vec::new();
    for n in 0..40 {
        let user = format!("test-user{n}");
        let (one, two, three) = tokio::join!(
            Tab::try_listen(&url, &user, None),
            Tab::try_listen(&url, &user, None),
            Tab::try_listen(&url, &user, None),
        );
        tabs.extend([one, two, three]);
        assert_eq!(told.next("user-online").await["user"], *user);
    }
    let _last = Tab::listen(&server, "test-last", None).await;
    assert_eq!(told.next("user-online").await["user"], "test-last");
    assert_eq!(
        told.count(),
        BTreeMap::from([("user-online".to_owned(), 41)]),
        "once each"
    );
}

#[tokio::test]
async fn a_frozen_nats_costs_events_and_no_delivery() {
    let nats = Nats::start().await;
    let servers = format!("[\"{}\"]", nats.url());
    let server = Server::alone(&[
        ("attach.enabled", "true"),
        ("nats.servers", &servers),
        ("attach.events.always", r#"["accepted","stored","delivered","acked"]"#),
        ("attach.events.queue", "50"),
        ("nats.ping_interval_ms", "200"),
        ("telemetry.sample_ms", "100"),
    ])
    .await;
    let mut tab = Tab::listen(&server, "test-alice", None).await;
    nats.stop();
    // With no pong the client gives the connection up; until then the kernel takes what is written.
    within("lost events", async {
        while server.metric("quick_notify_events_lost_total").await == 0.0 {
            for n in 0..50 {
                let id = server.notify("test-alice", &n.to_string()).await;
                assert_eq!(tab.delivery().await.body()["id"], *id);
                tab.ack(&id).await;
            }
        }
    })
    .await;
    let text = server.metrics().await;
    assert!(text.contains(r#"reason="queue-full""#), "{text}");
    eventually("a full queue", async || {
        server.metric("quick_notify_events_waiting").await >= 50.0
    })
    .await;
    nats.cont();
    eventually("an empty queue", async || {
        server.metric("quick_notify_events_waiting").await == 0.0
    })
    .await;
    let mut told = Told::of(&server).await;
    let id = server.notify("test-alice", "after").await;
    while told.next("stored").await["id"] != *id {}
}
