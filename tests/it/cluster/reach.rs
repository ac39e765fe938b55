//! A node that reaches the queue but not the record.

use crate::harness::{Cluster, Line, Tab};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_can_not_reach_the_record_leaves_its_lanes_to_one_that_can() {
    let cluster = Cluster::start(&[("dispatch.give_back_ms", "500")]).await;
    let mut tabs = Vec::new();
    for number in 0..12 {
        tabs.push(Tab::listen(&cluster.nodes[2].server, &format!("test{number}"), None).await);
    }
    let round = async |tabs: &mut Vec<Tab>, text: &str| {
        let mut ids = Vec::new();
        for number in 0..tabs.len() {
            ids.push(cluster.nodes[2].server.notify(&format!("test{number}"), text).await);
        }
        for (tab, id) in tabs.iter_mut().zip(&ids) {
            assert_eq!(&tab.delivery().await.id, id);
            tab.ack(id).await;
        }
    };
    round(&mut tabs, "all reach it").await;
    // Whatever lanes these two have: the third is to have all of them.
    for node in &cluster.nodes[..2] {
        node.postgres.set(Line::Cut);
    }
    round(&mut tabs, "one reaches it").await;
    for node in &cluster.nodes[..2] {
        node.postgres.set(Line::Open);
    }
    cluster.nodes[2].postgres.set(Line::Cut);
    // Those who rested are back at work.
    let through = &cluster.nodes[0].server;
    let mut phone = Tab::listen(through, "test77", None).await;
    let id = through.notify("test77", "the others reach it").await;
    assert_eq!(phone.delivery().await.id, id);
}
