//! The load balancer: HAProxy takes the file, and passes on what a node that dies or drains leaves to the others.

use std::process::Command;

use quick_notify::config::Config;
use serde_json::json;

use super::file::{Compose, seconds};
use crate::harness::servers::{HaProxy, haproxy};
use crate::harness::{Server, Tab, eventually};

fn configuration() -> String {
    let file = Compose::read().mounted("haproxy", "/usr/local/etc/haproxy/haproxy.cfg");
    std::fs::read_to_string(file).expect("text")
}

/// The arguments of a directive, each time that it stands there.
fn said(directive: &str) -> Vec<String> {
    let all = configuration();
    let lines = all.lines().map(|line| line.split(" #").next().expect("a line").trim());
    let found = lines.filter_map(|line| line.strip_prefix(directive)?.strip_prefix(' '));
    found.map(|rest| rest.trim().to_owned()).collect()
}

fn one(directive: &str) -> String {
    let [found] = said(directive)
        .try_into()
        .unwrap_or_else(|found| panic!("{directive}: {found:?}"));
    found
}

fn milliseconds(directive: &str) -> u64 {
    let text = one(directive);
    let split = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let unit = match &text[split..] {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        other => panic!("{other}"),
    };
    text[..split].parse::<u64>().expect("a number") * unit
}

#[test]
fn haproxy_takes_the_file() {
    let file = Compose::read().mounted("haproxy", "/usr/local/etc/haproxy/haproxy.cfg");
    let checked = Command::new(haproxy())
        .args(["-c", "-f"])
        .arg(file)
        .output()
        .expect("haproxy runs");
    let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
    assert!(checked.status.success(), "{said}");
    // Names are those of the containers; here nobody knows them.
    let other: Vec<_> = said
        .lines()
        .filter(|line| line.contains("[WARNING]") && !line.contains("could not resolve address"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
}

#[test]
fn its_bounds_hold_what_the_nodes_promise() {
    let config = Config::default();
    let compose = Compose::read();
    let service = compose.service("haproxy");
    let nodes: Vec<_> = compose
        .nodes()
        .into_iter()
        .map(|(name, _)| format!("{name} {name}:2025"))
        .collect();
    assert_eq!(
        said("server"),
        [&nodes[..], &nodes].concat(),
        "with and without SockJS sessions"
    );
    assert_eq!(said("bind"), [":2025", ":8404"]);
    let waits: Vec<_> = service["depends_on"]
        .as_object()
        .expect("a table")
        .keys()
        .cloned()
        .collect();
    assert_eq!(
        waits,
        compose
            .nodes()
            .into_iter()
            .map(|(name, _)| name.clone())
            .collect::<Vec<_>>()
    );

    let silence = config.session.heartbeat_ms * (1 + u64::from(config.session.heartbeat_grace));
    assert!(
        milliseconds("timeout tunnel") > 10 * silence,
        "a healthy session is cut"
    );
    for answer in [
        config.ingest.accept_timeout_ms,
        config.ingest.read_timeout_ms,
        config.api.ask_timeout_ms,
        config.api.read_timeout_ms,
    ] {
        for timeout in ["timeout client", "timeout server"] {
            assert!(
                milliseconds(timeout) > 2 * answer,
                "{timeout} ends before the node has answered"
            );
        }
    }
    for timeout in ["timeout client", "timeout server"] {
        assert!(
            milliseconds(timeout) > 2 * config.edge.sockjs.heartbeat_ms,
            "{timeout} ends an idle SockJS session"
        );
    }
    let each = config.edge.max_connections + config.http.max_connections;
    assert!(
        one("default-server").contains(&format!(" maxconn {each} ")),
        "{}",
        one("default-server")
    );
    let all: usize = one("maxconn").parse().expect("a number");
    assert_eq!(all, each * nodes.len());
    assert!(service["ulimits"]["nofile"].as_u64().expect("a limit") as usize > 2 * all + 1_000);
    assert!(seconds(&service["stop_grace_period"]) * 1_000 > milliseconds("hard-stop-after"));
}

/// Nodes that know nothing of each other, behind the very file; the third is not there at all.
async fn behind(nodes: [&Server; 2]) -> HaProxy {
    let configuration = configuration()
        .replace("node-1:2025", nodes[0].address())
        .replace("node-2:2025", nodes[1].address())
        .replace("node-3:2025", "127.0.0.1:1")
        .replace("bind :8404", "bind unix@metrics.sock")
        // The tests' open files are fewer than a cluster's.
        .replace("maxconn 57000", "maxconn 500");
    HaProxy::with(configuration).await
}

async fn publish(balancer: &HaProxy, receiver: &str) -> u16 {
    let url = format!("http://{}/api/notify", balancer.address());
    let body = json!({"receiver": receiver, "data": "x"}).to_string();
    let request = reqwest::Client::new()
        .post(url)
        .header("Content-Type", "application/json")
        .body(body);
    request.send().await.expect("the balancer answers").status().as_u16()
}

/// A request that reached nobody goes to another node: producers see nothing of a node that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_costs_producers_nothing() {
    let (mut one, two) = (Server::start().await, Server::start().await);
    let balancer = behind([&one, &two]).await;
    for _ in 0..10 {
        assert_eq!(publish(&balancer, "test1").await, 202);
    }
    assert!(
        one.metric("quick_notify_accepted_total").await > 0.0 && two.metric("quick_notify_accepted_total").await > 0.0
    );
    one.kill9().await;
    for _ in 0..20 {
        assert_eq!(publish(&balancer, "test1").await, 202);
    }
}

/// The session of a draining node is told by the node, and comes back on the other one.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_pass_and_a_drain_moves_them() {
    let (mut one, mut two) = (Server::start().await, Server::start().await);
    let balancer = behind([&one, &two]).await;
    let url = format!("ws://{}/stomp-ws", balancer.address());
    let mut tab = Tab::open_at(&url).await;
    tab.handshake("test1", "1.2").await;
    tab.subscribe_inbox("client-individual", None).await;
    let (its, other) = match one.metric("quick_notify_sessions").await {
        1.0 => (&mut one, &mut two),
        _ => (&mut two, &mut one),
    };
    its.notify("test1", "through the balancer").await;
    assert_eq!(tab.delivery().await.data(), "through the balancer");

    its.signal("TERM");
    tab.closed().await;
    assert_eq!(tab.close.as_ref().map(|(code, _)| *code), Some(1001), "{:?}", tab.close);
    assert_eq!(its.wait().await, Some(0));
    let mut again = Tab::open_at(&url).await;
    again.handshake("test1", "1.2").await;
    again.subscribe_inbox("client-individual", None).await;
    eventually("its session on the other node", async || {
        other.metric("quick_notify_sessions").await == 1.0
    })
    .await;
    other.notify("test1", "again").await;
    assert_eq!(again.delivery().await.data(), "again");
}
