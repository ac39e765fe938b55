//! What silence says: a plugin's, which froze, and that of NATS, which says nothing of plugins. The roster is this process's own, and looks when it is told.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use quick_notify::attach::protocol::{Failure, Hook};
use quick_notify::attach::{Config, Hooks, Roster};
use quick_notify::nats;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::harness::plugin::{Plugin, Reply};
use crate::harness::servers::Nats;
use crate::harness::{eventually, lasts, within};

/// Ten looks: some may be lost on a busy machine.
const LEASE: Duration = Duration::from_millis(5_000);

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
            // A connection over which nothing comes is kept for longer than any lease.
            ping_interval_ms: 60_000,
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

/// A plugin in a process of its own, which can be stopped.
async fn process(name: &str, nats: &Nats) -> Child {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(root.join("target/venv/bin/python"))
        .arg(root.join("tests/it/plugins/review.py"))
        .args([name, "1.0.0", "/dev/null"])
        .env("NATS_URL", nats.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the plugin starts");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("it is piped")).lines();
    let said = within("the plugin's word", lines.next_line()).await;
    assert_eq!(said.expect("text").as_deref(), Some("READY"));
    child
}

#[tokio::test]
async fn a_frozen_plugin_is_gone_after_its_lease_and_the_others_stay() {
    let server = Nats::start().await;
    let node = Node::beside(&server).await;
    let (frozen, _groups) = (process("censor", &server).await, passes("groups", &server).await);
    node.sees(("attached", "attached")).await;
    let pid = frozen.id().expect("it runs").to_string();
    let stopped = std::process::Command::new("kill").args(["-STOP", &pid]).status();
    assert!(stopped.is_ok_and(|done| done.success()));
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
}
