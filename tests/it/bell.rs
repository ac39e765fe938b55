//! `<quick-notify-bell>` and the page that has it, in a real Chromium. What they look like is left in `target/tmp/bell`.

use std::path::Path;

use crate::harness::servers::HaProxy;
use crate::harness::{Cluster, Server};
use crate::programs::{SETTINGS, needs_chromium, node};

#[tokio::test]
async fn a_bell_is_used_by_keyboard_and_screen_reader_in_light_dark_and_chinese_and_outlives_its_server() {
    needs_chromium().await;
    let kind = ("domain.types.ORDER_PAID.schema", r#"{type="object"}"#);
    let mut server = Server::with(&[&SETTINGS[..], &[kind]].concat()).await;
    node(&mut server, "bell.mjs", &["test1", &pictures("alone")])
        .await
        .survived_a_kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_on_two_nodes_show_the_same_and_the_one_whose_node_dies_loses_and_doubles_nothing() {
    needs_chromium().await;
    let mut cluster = Cluster::start(&SETTINGS).await;
    let [first, second] = [0, 1].map(|number| cluster.nodes[number].server.address().to_owned());
    let balancer = HaProxy::with(balancer(&first, &second)).await;
    let front = format!("http://{}", balancer.address());
    let behind = format!("http://{second}");
    let arguments = ["test1", &pictures("nodes"), &front, &behind];
    let end = node(&mut cluster.nodes[0].server, "bell-nodes.mjs", &arguments).await;
    end.survived_a_kill();
    println!("{}", end.errors);
}

#[tokio::test]
async fn a_bell_leaves_keys_to_fields_and_says_why_it_is_not_connected() {
    needs_chromium().await;
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "bell-keys.mjs", &["test1", &pictures("keys")])
        .await
        .went_well();
}

/// It would ask for 20 rows, and for 100 to mark them all as read.
#[tokio::test]
async fn a_list_stays_whole_while_it_changes_also_on_a_server_with_small_pages() {
    let mut server = Server::with(&[("api.max_page", "7")]).await;
    node(&mut server, "bell-list.mjs", &["test1"]).await.went_well();
}

/// Everybody is on the first node as long as it lives.
fn balancer(first: &str, second: &str) -> String {
    format!(
        "defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 60s
    timeout tunnel 1h
frontend public
    bind :2025
    default_backend nodes
backend nodes
    option httpchk GET /health/ready
    option redispatch 1
    retries 3
    default-server check inter 500ms fastinter 200ms fall 2 rise 1 observe layer4 error-limit 1 on-error mark-down
    server first {first}
    server second {second} backup
"
    )
}

fn pictures(story: &str) -> String {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bell").join(story);
    folder.to_str().expect("the path is text").to_owned()
}
