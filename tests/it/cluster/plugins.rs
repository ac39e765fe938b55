//! Plugins in Python, Node and Rust beside three nodes under load: killed, frozen, slowed and upgraded. What is accepted meanwhile is stored once,
//! in order, and delivered; and where a plugin must not be passed by, nothing passes it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quick_notify::lifecycle::wall_clock;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::away::{Sessions, tell};
use crate::checker::Fault;
use crate::harness::crowd::{Crowd, Plan};
use crate::harness::plugin::{Plugin, Reply};
use crate::harness::{Cluster, eventually, lasts, tempdir, within};

/// A plugin in a process of its own.
struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Process {
    async fn python(nats: &str, name: &str, version: &str, seen: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(root.join("target/venv/bin/python"));
        command.arg(root.join("tests/it/plugins/review.py"));
        Self::start(command, nats, name, version, seen).await
    }

    async fn node(nats: &str, name: &str, version: &str, seen: &Path) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new("node");
        command.arg(root.join("tests/it/plugins/review.cjs"));
        Self::start(command, nats, name, version, seen).await
    }

    async fn start(mut command: Command, nats: &str, name: &str, version: &str, seen: &Path) -> Self {
        let mut child = command
            .args([name, version])
            .arg(seen)
            .env("NATS_URL", nats)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the plugin starts");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut process = Self { child, stdin, stdout };
        process.says("READY").await;
        process
    }

    async fn says(&mut self, line: &str) {
        let said = within("the plugin's word", self.stdout.next_line()).await;
        assert_eq!(said.expect("text").as_deref(), Some(line));
    }

    /// How long its answers take from now on.
    async fn takes(&mut self, seconds: &str) {
        let line = format!("{seconds}\n");
        self.stdin.write_all(line.as_bytes()).await.expect("it reads");
        self.says("SET").await;
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs").to_string();
        let done = std::process::Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(done.is_ok_and(|done| done.success()));
    }

    async fn kill9(mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// As at an upgrade: it leaves when it has finished.
    async fn leaves(mut self) {
        self.signal("TERM");
        let end = within("its end", self.child.wait()).await.expect("it is our child");
        assert!(end.success(), "{end}");
    }
}

const SETTINGS: [(&str, &str); 7] = [
    ("attach.enabled", "true"),
    ("attach.discover_ms", "200"),
    ("attach.lease_ms", "1500"),
    ("attach.hooks.breaker_first_ms", "200"),
    ("attach.hooks.breaker_most_ms", "500"),
    // Nothing may pass it by.
    (
        "attach.plugins.notary",
        r#"{hooks=["review"],required=true,on_failure="retry",order=1,deadline_ms=400}"#,
    ),
    // And this one is left out when it fails.
    (
        "attach.plugins.adviser",
        r#"{hooks=["review"],on_failure="pass",order=2,deadline_ms=300,receivers=["test*"]}"#,
    ),
];

/// How long each fault lasts.
const FAULT: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_die_freeze_dawdle_and_are_replaced_lose_and_double_nothing() {
    let folder = tempdir();
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let cluster = Cluster::start(&SETTINGS).await;
    let nats = cluster.nats.servers()[0].url();
    let mut notary = Process::python(&nats, "notary", "1.0.0", &file("notary")).await;
    let adviser = Process::node(&nats, "adviser", "1.0.0", &file("adviser")).await;
    // A second instance, in Rust, of the same plugin: they share the work.
    let rust = Plugin::named("adviser")
        .hook("review", |_| Reply::Json(json!({"verdicts": [], "others": "pass"})))
        .start(&cluster.nats.servers()[0])
        .await;
    for node in &cluster.nodes {
        node.server.sees("notary", "attached").await;
        eventually("both instances", async || {
            node.server.plugin("adviser").await["hooks"][0]["instances"] == 2
        })
        .await;
    }

    let mut crowd = Crowd::gather(&cluster, Plan::default()).await;
    crowd.accepts(300).await;
    let from = wall_clock();

    // Frozen: the other instance is asked instead, or it is passed by. Deliveries go on.
    adviser.signal("STOP");
    crowd.accepts(300).await;
    lasts(FAULT).await;
    let heard_meanwhile = crowd.told.accepted_so_far();
    adviser.signal("CONT");
    crowd.accepts(100).await;
    println!("adviser frozen: {heard_meanwhile} accepted by then");

    // Killed: what comes meanwhile waits in the queue.
    notary.kill9().await;
    lasts(FAULT).await;
    notary = Process::python(&nats, "notary", "1.0.0", &file("notary")).await;
    crowd.accepts(200).await;

    // Slower than its deadline, and then as before.
    notary.takes("1.5").await;
    lasts(FAULT).await;
    notary.takes("0").await;
    crowd.accepts(200).await;

    // A new version comes, then the old one goes.
    let upgraded = Process::python(&nats, "notary", "2.0.0", &file("notary")).await;
    for node in &cluster.nodes {
        eventually("both versions", async || {
            node.server.plugin("notary").await["hooks"][0]["instances"] == 2
        })
        .await;
    }
    notary.leaves().await;
    crowd.accepts(200).await;
    for node in &cluster.nodes {
        eventually("the new version alone", async || {
            let seen = node.server.plugin("notary").await;
            seen["version"] == "2.0.0" && seen["hooks"][0]["instances"] == 1
        })
        .await;
    }
    // Killed for good: it is passed by.
    adviser.kill9().await;
    drop(rust);
    crowd.accepts(300).await;

    let to = wall_clock();
    crowd.stop_producing().await;
    let told = crowd.told.clone();
    let fault = Fault {
        what: "plugins killed, frozen, slowed, upgraded".into(),
        from,
        to,
    };
    tell(&cluster, crowd, fault, Sessions::Stay).await;
    let seen = std::fs::read_to_string(file("notary")).expect("it wrote");
    let seen: HashSet<&str> = seen.lines().collect();
    upgraded.leaves().await;
    let accepted = told.accepted.lock().expect("a lock");
    let passed_by = accepted.iter().filter(|one| !seen.contains(&*one.id)).count();
    assert_eq!(passed_by, 0, "of {} that had to be shown to the notary", accepted.len());
}
