//! *web push*: who is not reached gets a push, which a push service takes and only the browser can read.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{Program, file, is_gone};
use crate::harness::plugin::beside;
use crate::harness::servers::Nats;
use crate::harness::{eventually, tempdir, within};

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_reached_gets_a_push_and_a_dead_subscription_is_dropped() {
    let (nats, files) = (Nats::start().await, tempdir());
    let path = |name: &str| files.path().join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost";
    let made = Command::new("openssl")
        .args(words.split(' '))
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .await;
    assert!(made.expect("openssl is there: tests/run installs it").status.success());
    let mut service = Command::new("node")
        .arg(file("tests/browser/push-service.mjs"))
        .args([&certificate, &key])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs");
    let mut said = BufReader::new(service.stdout.take().expect("stdout is piped")).lines();
    let mut next = async || -> Value {
        let line = within("a word of the push service", said.next_line())
            .await
            .expect("text");
        serde_json::from_str(&line.expect("a line")).expect("JSON")
    };
    let given = next().await;

    let subscriptions = path("subscriptions.json");
    let own = json!({"alice": [given["live"], given["gone"]], "bob": [given["missing"]]});
    std::fs::write(&subscriptions, own.to_string()).expect("a file");
    let directory = file("examples/plugins/webpush");
    assert!(
        directory.join("node_modules").exists(),
        "run tests/run, which installs what is missing"
    );
    let mut command = Command::new("node");
    command
        .arg(directory.join("webpush.mjs"))
        .arg(&subscriptions)
        .env("NODE_EXTRA_CA_CERTS", &certificate)
        .env("VAPID_SUBJECT", "mailto:ops@example.org")
        .env("VAPID_PUBLIC_KEY", given["publicKey"].as_str().expect("a key"))
        .env("VAPID_PRIVATE_KEY", given["privateKey"].as_str().expect("a key"));
    let allowed = ("attach.plugins.webpush", r#"{events=["unreached"]}"#);
    let server = beside(&nats, &[allowed, ("attach.events.unreached_after_ms", "200")]).await;
    let plugin = Program::start(command, &nats).await;
    server.sees("webpush", "attached").await;

    let id = server.notify("alice", "Dinner \u{1f35d} is ready").await;
    let mut pushes = [next().await, next().await];
    pushes.sort_by_key(|push| push["path"].to_string());
    for (push, path) in pushes.iter().zip(["/gone", "/live"]) {
        let pushed = json!({"id": id, "type": "STRING_MSG", "data": "Dinner \u{1f35d} is ready"});
        let whole =
            json!({"path": path, "sub": "mailto:ops@example.org", "ttl": "86400", "urgency": "high", "pushed": pushed});
        assert_eq!(*push, whole);
    }
    let kept = || {
        serde_json::from_str::<Value>(&std::fs::read_to_string(&subscriptions).expect("a file")).expect("JSON, whole")
    };
    eventually("the end of a subscription", async || {
        kept() == json!({"alice": [given["live"]], "bob": [given["missing"]]})
    })
    .await;

    // One that says 404 goes, too; what doesn't fit into a push is told by its id.
    let long = server.notify("alice", &"\u{1f35d}".repeat(2_000)).await;
    assert_eq!(next().await["pushed"], json!({"id": long, "type": "STRING_MSG"}));
    server.notify("bob", "Hello?").await;
    assert_eq!(next().await["path"], "/missing");
    eventually("the end of another", async || {
        kept() == json!({"alice": [given["live"]]})
    })
    .await;
    plugin.terminate().await;
    is_gone(&nats, "webpush").await;
}
