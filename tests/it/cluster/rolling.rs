//! All three nodes are restarted, one after the other, under load.

use std::sync::atomic::Ordering;

use quick_notify::lifecycle::wall_clock;

use super::away::{Sessions, tell};
use crate::checker::Fault;
use crate::harness::Cluster;
use crate::harness::crowd::{Crowd, Plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing_and_refuses_nobody_who_tries_twice() {
    let mut cluster = Cluster::start(&[("edge.return_within_ms", "3000")]).await;
    let plan = Plan {
        users: 60,
        tries: 2,
        ..Plan::default()
    };
    let mut crowd = Crowd::gather(&cluster, plan).await;
    let from = wall_clock();
    let mut restarts = Vec::new();
    for node in &mut cluster.nodes {
        // Long enough for everybody to be back from the restart before.
        crowd.accepts(800).await;
        restarts.push(wall_clock());
        assert_eq!(node.server.terminate().await, Some(0), "the drain was finished");
        node.server.restart().await;
    }
    crowd.accepts(800).await;
    crowd.stop_producing().await;
    let told = crowd.told.clone();
    let fault = Fault {
        what: "rolling restart".into(),
        from,
        to: wall_clock(),
    };
    tell(&cluster, crowd, fault, Sessions::Leave).await;
    assert_eq!(told.refused.load(Ordering::SeqCst), 0, "refused twice");

    let opened = told.opened.lock().expect("a lock").clone();
    for (number, begin) in restarts.iter().enumerate() {
        let end = restarts.get(number + 1).copied().unwrap_or(i64::MAX);
        let back: Vec<i64> = opened
            .iter()
            .filter(|at| (begin..&end).contains(at))
            .map(|at| at - begin)
            .collect();
        let most = back
            .iter()
            .map(|at| back.iter().filter(|other| (*at..at + 1_000).contains(*other)).count())
            .max();
        let most = most.expect("sessions came back");
        println!(
            "restart {number}: {} sessions came back, at most {most} within one second",
            back.len()
        );
        assert!(most * 4 < back.len() * 3, "they came back all at once: {back:?}");
    }
}
