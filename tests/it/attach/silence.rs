//! What silence says: a plugin's, which froze, and that of NATS, which says nothing of plugins. The roster is this process's own, and looks when it is told.

use std::time::{Duration, Instant};

use quick_notify::attach::protocol::{Failure, Hook};
use quick_notify::attach::{Config, Hooks, Roster};
use quick_notify::nats;
use serde_json::{Value, json};

use crate::harness::plugin::{Plugin, Reply};
use crate::harness::servers::Nats;
use crate::harness::{eventually, lasts};

const LEASE: Duration = Duration::from_millis(1_000);

struct Node {
    nats: nats::Nats,
    hooks: Hooks,
    roster: Roster,
}

impl Node {
    async fn beside(server: &Nats) -> Self {
        let config: Config = serde_json::from_value(json!({
            "enabled": true,
            "discover_ms": 500,
            "lease_ms": LEASE.as_millis() as u64,
            "hooks": {"deadline_ms": 100, "breaker_failures": 2, "breaker_first_ms": 600_000, "breaker_most_ms": 600_000},
            "plugins": {"censor": {"hooks": ["review"]}, "groups": {"hooks": ["review"]}},
        }))
        .expect("a configuration");
        let nats = nats::connect(&nats::Config {
            servers: vec![server.url()],
            ..nats::Config::default()
        })
        .await
        .expect("NATS");
        let hooks = Hooks::new(&config, &nats);
        let roster = Roster::new(&config, &nats, &hooks, |_| {});
        Self { nats, hooks, roster }
    }

    async fn looks(&self) -> (&'static str, &'static str) {
        self.roster.look().await;
        let state = |name| self.roster.about(name).expect("it is allowed").state;
        (state("censor"), state("groups"))
    }

    /// Until it sees them so: a machine that is busy may take longer than a look.
    async fn sees(&self, states: (&str, &str)) {
        eventually("they are seen", async || self.looks().await == states).await;
    }

    async fn asks(&self) -> Result<Value, Failure> {
        let line = self.hooks.line("censor", Hook::Review).expect("it is allowed");
        line.ask(&json!({"notifications": []}), Ok).await
    }
}

async fn passes(name: &str, nats: &Nats) -> Plugin {
    let plugin = Plugin::named(name).hook("review", |_| Reply::Json(json!({"verdicts": []})));
    plugin.start(nats).await
}

#[tokio::test]
async fn without_nats_nobody_is_absent_and_hooks_fail_as_unavailable() {
    let mut server = Nats::start().await;
    let (_censor, node) = (passes("censor", &server).await, Node::beside(&server).await);
    node.sees(("attached", "absent")).await;
    node.asks().await.expect("an answer");

    server.kill9().await;
    let gone = Instant::now();
    eventually("the connection is lost", async || !node.nats.pulse.borrow().connected).await;
    // More often than the breaker bears: nothing is learnt of the plugin.
    for _ in 0..3 {
        let failed = node.asks().await.expect_err("nobody is there");
        assert_eq!(failed.code(), "unavailable", "{failed}");
    }
    lasts((LEASE + LEASE / 4).saturating_sub(gone.elapsed())).await;
    assert_eq!(node.looks().await, ("attached", "absent"));

    server.restart().await;
    eventually("it is asked again", async || {
        assert_eq!(node.looks().await, ("attached", "absent"));
        node.asks().await.is_ok()
    })
    .await;
    assert_eq!(node.looks().await, ("attached", "absent"));
    let hook = &node.roster.about("censor").expect("it is allowed").hooks[0];
    let tallied = serde_json::to_value(&hook.tallied).expect("JSON");
    assert!(tallied["failed"]["unavailable"].as_u64() >= Some(3), "{tallied}");
    assert_eq!(
        (&tallied["answered"], &tallied["latency"]["of"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(tallied["last_failure"]["reason"], "unavailable");
}

#[tokio::test]
async fn a_nats_server_that_hangs_says_nothing_of_plugins() {
    let server = Nats::start().await;
    let (_censor, node) = (passes("censor", &server).await, Node::beside(&server).await);
    node.sees(("attached", "absent")).await;
    server.stop();
    let frozen = Instant::now();
    while frozen.elapsed() < LEASE + LEASE / 2 {
        assert_eq!(node.looks().await, ("attached", "absent"));
    }
    assert!(node.nats.pulse.borrow().connected, "it keeps its connections");
    server.cont();
    eventually("it is asked again", async || {
        assert_eq!(node.looks().await, ("attached", "absent"));
        node.asks().await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_frozen_plugin_is_gone_after_its_lease_and_the_others_stay() {
    let server = Nats::start().await;
    let node = Node::beside(&server).await;
    let (censor, groups) = (passes("censor", &server).await, passes("groups", &server).await);
    node.sees(("attached", "attached")).await;
    // It listens, and does nothing: as a process that was stopped.
    let silent = censor.client().subscribe("$SRV.INFO.censor").await.expect("subscribed");
    drop(censor);
    let client = async_nats::connect(server.url()).await.expect("NATS");
    let frozen = client.subscribe("$SRV.INFO.censor").await.expect("subscribed");
    client.flush().await.expect("the server heard it");
    let heard = Instant::now();
    eventually("its lease ends", async || {
        let (censor, groups) = node.looks().await;
        assert_eq!(groups, "attached");
        censor == "absent"
    })
    .await;
    assert!(
        heard.elapsed() >= LEASE / 2,
        "one answer that is late ends no attachment"
    );
    drop((silent, frozen, groups));
}
