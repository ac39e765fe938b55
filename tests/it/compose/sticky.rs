//! SockJS sessions through each load balancer: they stay on their node while it lives, and only those move that lost it.

use std::process::Command;

use super::file::{Compose, root};
use crate::harness::servers::{HaProxy, Nginx, nginx, temporary};
use crate::harness::{Cluster, tempdir};
use crate::programs::{End, SETTINGS, node};

fn haproxys() -> String {
    let file = Compose::read().mounted("haproxy", "/usr/local/etc/haproxy/haproxy.cfg");
    let text = std::fs::read_to_string(file).expect("text");
    text.replace("bind :8404", "bind unix@metrics.sock")
        // The tests' open files are fewer than a cluster's.
        .replace("maxconn 57000", "maxconn 500")
}

fn nginxs() -> String {
    std::fs::read_to_string(root().join("config/nginx.conf")).expect("text")
}

/// The same with the addresses of these nodes.
fn before(cluster: &Cluster, configuration: &str) -> String {
    let mut here = configuration.to_owned();
    for (at, node) in cluster.nodes.iter().enumerate() {
        here = here.replace(&format!("node-{}:2025", at + 1), node.server.address());
    }
    here
}

/// The story, in which the first node dies.
async fn told(cluster: &mut Cluster, balancer: &str) -> End {
    let url = format!("http://{balancer}");
    let arguments = [&url, "xhr-polling", "xhr-streaming"];
    node(&mut cluster.nodes[0].server, "balanced.mjs", &arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn sockjs_sessions_live_long_behind_haproxy_and_move_only_when_their_node_dies() {
    let mut cluster = Cluster::start(&SETTINGS).await;
    let balancer = HaProxy::with(before(&cluster, &haproxys())).await;
    told(&mut cluster, &balancer.address()).await.survived_a_kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn sockjs_sessions_live_long_behind_nginx_and_move_only_when_their_node_dies() {
    let mut cluster = Cluster::start(&SETTINGS).await;
    let balancer = Nginx::with(before(&cluster, &nginxs())).await;
    told(&mut cluster, &balancer.address()).await.survived_a_kill();
}

/// The stories above are able to fail: with requests shared out among the nodes no session lives.
#[tokio::test(flavor = "multi_thread")]
async fn without_stickiness_sockjs_sessions_are_lost() {
    let mut cluster = Cluster::start(&SETTINGS).await;
    let shared = haproxys().replace("balance hash path,field(4,/)", "balance roundrobin");
    let haproxy = HaProxy::with(before(&cluster, &shared)).await;
    let shared = nginxs().replace("hash $sockjs_session consistent;", "");
    let nginx = Nginx::with(before(&cluster, &shared)).await;
    for balancer in [haproxy.address(), nginx.address()] {
        let end = told(&mut cluster, &balancer).await;
        assert!(!end.success && end.errors.contains("a session was lost"), "{end}");
        assert!(!end.lines.iter().any(|line| line == "KILL"), "{end}");
    }
}

#[test]
fn nginx_takes_the_file() {
    let here = tempdir();
    // Names are those of the containers; here nobody knows them.
    let mut file = nginxs().replace("http {", &format!("http {{\n{}", temporary()));
    for name in ["node-1", "node-2", "node-3"] {
        file = file.replace(&format!("{name}:2025"), "127.0.0.1:2025");
    }
    std::fs::write(here.path().join("nginx.conf"), file).expect("a file");
    let prefix = format!("{}/", here.path().display());
    let checked = Command::new(nginx())
        .args([
            "-t",
            "-p",
            &prefix,
            "-e",
            "stderr",
            "-c",
            "nginx.conf",
            "-g",
            "pid nginx.pid;",
        ])
        .output()
        .expect("nginx runs");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.status.success(), "{said}");
    // As many open files as the file asks for are the machine's to give.
    let other: Vec<_> = said
        .lines()
        .filter(|line| line.contains("[warn]") && !line.contains("worker_connections exceed"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
}
