//! Every device everywhere gets it, at the cost of one bell that only the nodes concerned hear.

use serde_json::json;

use crate::harness::{Cluster, Tab, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn devices_on_two_nodes_both_get_it_whichever_node_took_it() {
    let cluster = Cluster::start(&[]).await;
    let mut phone = Tab::listen(&cluster.nodes[0].server, "test1", None).await;
    let mut laptop = Tab::listen(&cluster.nodes[1].server, "test1", None).await;
    let mut stranger = Tab::listen(&cluster.nodes[2].server, "test2", None).await;
    for node in &cluster.nodes {
        let id = node.server.notify("test1", "on both").await;
        for tab in [&mut phone, &mut laptop] {
            let delivery = tab.delivery().await;
            assert_eq!((&delivery.id, delivery.attempt), (&id, 1));
            tab.ack(&id).await;
        }
    }
    stranger.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_reaches_every_node() {
    let cluster = Cluster::start(&[]).await;
    let mut tabs = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        let mut tab = Tab::listen(&node.server, &format!("test{number}"), None).await;
        tab.subscribe("orders", "/topic/orders").await;
        tabs.push(tab);
    }
    for (number, node) in cluster.nodes.iter().enumerate() {
        node.server
            .publish(json!({"everyone": true, "data": format!("all {number}")}))
            .await;
        node.server
            .publish(json!({"topic": "orders", "data": format!("order {number}")}))
            .await;
        for tab in &mut tabs {
            let mut got = [tab.delivery().await.data(), tab.delivery().await.data()];
            // A broadcast and a topic are two lanes: between them there is no order.
            got.sort();
            assert_eq!(got, [format!("all {number}"), format!("order {number}")]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_costs_one_publish_and_reaches_only_the_nodes_that_hold_the_user() {
    let cluster = Cluster::start(&[]).await;
    let mut phone = Tab::listen(&cluster.nodes[0].server, "test1", None).await;
    let mut laptop = Tab::listen(&cluster.nodes[1].server, "test1", None).await;
    let _other = Tab::listen(&cluster.nodes[2].server, "test2", None).await;
    let channels = [1, 2, 3].map(|user| format!("stomp::ws_notify_topic:test{user}"));
    eventually("interest of the nodes that hold the users", || async {
        subscribers(&cluster, &channels).await == [2, 1, 0]
    })
    .await;
    cluster.redis(&["CONFIG", "RESETSTAT"]).await;
    for n in 0..20 {
        let id = cluster.nodes[n % 3].server.notify("test1", "once").await;
        assert_eq!(phone.delivery().await.id, id);
        assert_eq!(laptop.delivery().await.id, id);
    }
    assert_eq!(publishes(&cluster).await, 20);
    cluster.nodes[2]
        .server
        .publish(json!({"everyone": true, "data": "all"}))
        .await;
    assert_eq!(phone.delivery().await.data(), "all");
    assert_eq!(publishes(&cluster).await, 21);
    // Who has no session anywhere is told nothing, and it costs no more.
    cluster.nodes[0].server.notify("test3", "later").await;
    eventually("its bell", || async { publishes(&cluster).await == 22 }).await;
}

/// How many nodes hear each channel.
async fn subscribers(cluster: &Cluster, channels: &[String]) -> Vec<i64> {
    let words: Vec<&str> = ["PUBSUB", "NUMSUB"]
        .into_iter()
        .chain(channels.iter().map(String::as_str))
        .collect();
    let counts: Vec<(String, i64)> = redis::from_redis_value(cluster.redis(&words).await).expect("pairs");
    counts.into_iter().map(|(_, count)| count).collect()
}

async fn publishes(cluster: &Cluster) -> u64 {
    let stats: String = redis::from_redis_value(cluster.redis(&["INFO", "commandstats"]).await).expect("a text");
    let calls = |line: &str| line.split_once(":calls=")?.1.split(',').next()?.parse::<u64>().ok();
    let publish = |line: &&str| line.starts_with("cmdstat_publish:") || line.starts_with("cmdstat_spublish:");
    stats.lines().filter(publish).filter_map(calls).sum()
}
