//! *webhook*: what happened is posted, signed, until it is taken; and once more when asked for.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use quick_notify::attach::schema;
use serde_json::Value;
use sha2::Sha256;
use tokio::process::Command;

use super::{Program, is_gone};
use crate::harness::plugin::beside;
use crate::harness::servers::Nats;
use crate::harness::{Server, eventually, within};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

/// Whoever is told: takes what is signed well, after as many refusals as it is told to give.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<Post>>>,
    refusals: Arc<Mutex<u32>>,
}

#[derive(Clone)]
struct Post {
    id: String,
    event: Value,
    taken: bool,
}

impl Receiver {
    /// Starts it; gives its address.
    async fn start(&self) -> String {
        let receiver = self.clone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let routes = Router::new().route(
            "/hook",
            post(async move |headers: HeaderMap, body: Bytes| receiver.take(&headers, &body)),
        );
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    fn take(&self, headers: &HeaderMap, body: &[u8]) -> StatusCode {
        let header = |name: &str| headers[name].to_str().expect("text").to_owned();
        let (id, timestamp, signature) = (
            header("webhook-id"),
            header("webhook-timestamp"),
            header("webhook-signature"),
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("a key");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        assert_eq!(
            signature,
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("it is later");
        let sent: u64 = timestamp.parse().expect("seconds");
        assert!(now.as_secs().abs_diff(sent) < 60, "{timestamp}");
        assert_eq!(header("content-type"), "application/json");

        let mut refusals = self.refusals.lock().expect("no panic");
        let taken = *refusals == 0;
        *refusals = refusals.saturating_sub(1);
        self.got.lock().expect("no panic").push(Post {
            id,
            event: serde_json::from_slice(body).expect("JSON"),
            taken,
        });
        match taken {
            true => StatusCode::NO_CONTENT,
            false => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn got(&self) -> Vec<Post> {
        self.got.lock().expect("no panic").clone()
    }

    fn taken(&self) -> usize {
        self.got().iter().filter(|post| post.taken).count()
    }

    async fn takes(&self, count: usize) {
        eventually(&format!("{count} posts"), async || self.taken() >= count).await;
    }
}

async fn webhook(url: &str, more: &[&str]) -> Command {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--example", "webhook"]);
    assert!(build.status().await.expect("cargo runs").success());
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--example", "webhook", "--", "--retry-ms", "20"])
        .args(more)
        .env("WEBHOOK_URL", url)
        .env("WEBHOOK_SECRET", format!("whsec_{}", STANDARD.encode(KEY)));
    command
}

async fn server(nats: &Nats) -> Server {
    let allowed = ("attach.plugins.webhook", r#"{events=["stored","dead"]}"#);
    let kept = ("attach.events.stream.kinds", r#"["stored","dead"]"#);
    beside(nats, &[allowed, kept]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_posted_until_it_is_taken_and_again_when_asked_for() {
    let nats = Nats::start().await;
    let server = server(&nats).await;
    let receiver = Receiver::default();
    let url = receiver.start().await;
    *receiver.refusals.lock().expect("no panic") = 2;
    let plugin = Program::start(webhook(&url, &[]).await, &nats).await;
    server.sees("webhook", "attached").await;

    let id = server.notify("o'neill \u{1f514}", "Hello").await;
    receiver.takes(1).await;
    let got = receiver.got();
    assert_eq!(
        got.iter().map(|post| post.taken).collect::<Vec<_>>(),
        [false, false, true]
    );
    let names: BTreeSet<_> = got.iter().map(|post| &post.id).collect();
    assert_eq!(names.len(), 1, "each try has the same name");
    let event = &got[2].event;
    assert_eq!(
        (&event["event"], &event["id"], &event["receiver"]),
        (&"stored".into(), &id.into(), &"o'neill \u{1f514}".into())
    );
    assert_eq!(schema::misfit("event", event), None);

    // While it is away nothing is lost.
    plugin.terminate().await;
    is_gone(&nats, "webhook").await;
    server.notify("bob", "Meanwhile").await;
    let plugin = Program::start(webhook(&url, &[]).await, &nats).await;
    receiver.takes(2).await;
    assert_eq!(receiver.got()[3].event["receiver"], "bob");

    // A replay ends by itself; the receiver knows the ids.
    let mut replay = Program::start(webhook(&url, &["--from-start"]).await, &nats).await;
    let ended = within("the end of the replay", replay.child.wait())
        .await
        .expect("it is our child");
    assert!(ended.success());
    let got = receiver.got();
    assert_eq!(got.len(), 6);
    let again: BTreeSet<_> = got[4..].iter().map(|post| &post.id).collect();
    assert_eq!(again, [&got[2].id, &got[3].id].into());

    let later = Program::start(webhook(&url, &["--from", "2100-01-01T00:00:00Z"]).await, &nats).await;
    let mut later = later;
    within("the end of the replay", later.child.wait())
        .await
        .expect("it is our child");
    assert_eq!(receiver.got().len(), 6, "nothing is of that time");
    plugin.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_takes_is_given_up_and_holds_up_nothing() {
    let nats = Nats::start().await;
    let server = server(&nats).await;
    let receiver = Receiver::default();
    let url = receiver.start().await;
    *receiver.refusals.lock().expect("no panic") = 3;
    let plugin = Program::start(webhook(&url, &["--attempts", "3", "--at-once", "1"]).await, &nats).await;
    server.notify("alice", "Never taken").await;
    eventually("three attempts", async || receiver.got().len() == 3).await;
    server.notify("alice", "Taken").await;
    receiver.takes(1).await;
    let got = receiver.got();
    assert_eq!(got.len(), 4);
    assert_ne!(got[3].id, got[2].id);
    plugin.terminate().await;
}
