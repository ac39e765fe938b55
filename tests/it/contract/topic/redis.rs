//! What the topic over Redis does when Redis is away, and what it costs there.

use super::*;

/// A command to Redis, past the product.
async fn ask<T: ::redis::FromRedisValue>(server: &servers::Redis, words: &[&str]) -> T {
    let client = ::redis::Client::open(server.url()).expect("an address");
    let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
    let mut command = ::redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async(&mut connection).await.expect("an answer")
}

/// How many nodes are subscribed to a user's channel.
async fn hearing(server: &servers::Redis, user: &str) -> i64 {
    let channel = format!("stomp::ws_notify_topic:{user}");
    let answer: (String, i64) = ask(server, &["PUBSUB", "NUMSUB", &channel]).await;
    answer.1
}

/// How often a command was called since the last reset.
async fn calls(server: &servers::Redis, command: &str) -> u64 {
    let stats: String = ask(server, &["INFO", "commandstats"]).await;
    let line = stats
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| {
        let end = line.find(',').expect("more fields");
        line[..end].parse().expect("a number")
    })
}

async fn started() -> World {
    World::Redis(servers::Redis::start().await)
}

impl World {
    fn server(&self) -> &servers::Redis {
        match self {
            Self::Redis(server) => server,
            _ => panic!("a world without Redis"),
        }
    }

    fn server_mut(&mut self) -> &mut servers::Redis {
        match self {
            Self::Redis(server) => server,
            _ => panic!("a world without Redis"),
        }
    }
}

#[tokio::test]
async fn a_message_costs_one_publish_however_many_nodes_there_are_and_reaches_holders_only() {
    let world = started().await;
    let nodes = world.nodes().await;
    let _devices = [
        nodes[0].enter("alice").await.expect("a place"),
        nodes[1].enter("alice").await.expect("a place"),
    ];
    assert_eq!(hearing(world.server(), "alice").await, 2);
    assert_eq!(hearing(world.server(), "bob").await, 0);
    let _: String = ask(world.server(), &["CONFIG", "RESETSTAT"]).await;
    for number in 0..100 {
        nodes[2].publish(for_user("alice", &format!("n{number}"))).await;
    }
    nodes[2].publish(for_everyone("last")).await;
    for node in &nodes {
        node.heard_to("last").await;
    }
    for node in &nodes[..2] {
        assert_eq!(node.heard_to("n99").await.len(), 101);
    }
    assert_eq!(nodes[2].heard.all(), ["last"]);
    assert_eq!(calls(world.server(), "publish").await, 101);
}

#[tokio::test]
async fn a_user_who_comes_back_soon_costs_no_subscription() {
    let world = started().await;
    let node = world
        .node_with(Config {
            linger_ms: 600_000,
            max_lingering: 2,
            ..world.config()
        })
        .await;
    drop(node.enter("alice").await.expect("a place"));
    let _: String = ask(world.server(), &["CONFIG", "RESETSTAT"]).await;
    for _ in 0..50 {
        drop(node.enter("alice").await.expect("a place"));
    }
    assert_eq!(calls(world.server(), "subscribe").await, 0);
    assert_eq!(calls(world.server(), "unsubscribe").await, 0);
    assert_eq!(hearing(world.server(), "alice").await, 1);
    // No more than the bound linger, whoever was first goes first.
    for user in ["bob", "carol"] {
        drop(node.enter(user).await.expect("a place"));
    }
    eventually("alice is heard no more", async || {
        hearing(world.server(), "alice").await == 0
    })
    .await;
    assert_eq!(hearing(world.server(), "carol").await, 1);
    // Who came back in the meantime stays heard.
    let _carol = node.enter("carol").await.expect("a place");
    for user in ["d", "e", "f"] {
        drop(node.enter(user).await.expect("a place"));
    }
    eventually("d is heard no more", async || hearing(world.server(), "d").await == 0).await;
    assert_eq!(hearing(world.server(), "carol").await, 1);
}

#[tokio::test]
async fn redis_cutting_off_a_subscriber_is_a_break_like_others() {
    let world = started().await;
    let node = world.node().await;
    let before = node.up().await;
    let _: i64 = ask(world.server(), &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let after = node
        .line("it is up again", |line| line.up && line.breaks > before.breaks)
        .await;
    assert_eq!(after.breaks, before.breaks + 1);
    node.publish(for_everyone("n")).await;
    node.heard_to("n").await;
}

/// Each node enters anew under another name; nobody is counted twice meanwhile.
#[tokio::test]
async fn a_line_that_broke_costs_nobody_his_place() {
    let world = started().await;
    let nodes = [world.node().await, world.node().await];
    let chairs: [Arc<Chair>; 4] = Default::default();
    let mut inside = Vec::new();
    for (index, chair) in chairs.iter().enumerate() {
        inside.push(nodes[index % 2].seat("alice", chair, 4).await.expect("a place"));
    }
    for round in 1..=3 {
        let breaks = [nodes[0].up().await.breaks, nodes[1].up().await.breaks];
        let _: i64 = ask(world.server(), &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        for (node, breaks) in nodes.iter().zip(breaks) {
            node.line("it is up again", |line| line.up && line.breaks > breaks)
                .await;
            eventually("four are there", async || node.present("alice").await == 4).await;
        }
        assert!(chairs.iter().all(|chair| chair.told() == 0), "round {round}");
    }
    // By now what the old names had on the roll is gone.
    eventually("four are on the roll", async || {
        ask::<u32>(world.server(), &["ZCARD", "stomp::roll:alice"]).await == 4
    })
    .await;
    assert!(chairs.iter().all(|chair| chair.told() == 0));
}

/// Redis lost its data without a break of the line, or the lease ended while this node slept: all are on the roll again.
#[tokio::test]
async fn a_roll_that_was_lost_is_written_anew() {
    let world = started().await;
    let node = world.node().await;
    let _inside = [
        node.enter("alice").await.expect("a place"),
        node.enter("alice").await.expect("a place"),
        node.enter("bob").await.expect("a place"),
    ];
    let _: String = ask(world.server(), &["FLUSHALL"]).await;
    let users = ["alice", "bob"];
    eventually("all are there", async || {
        node.topic.present(&users).await.expect("numbers") == [2, 1]
    })
    .await;
    assert_eq!(node.up().await.breaks, 1, "nothing was missed");
}

/// A node starts without Redis, and finds it later.
#[tokio::test]
async fn a_node_starts_while_redis_is_away() {
    let mut world = started().await;
    world.server_mut().kill9().await;
    let node = world.node().await;
    assert!(!node.topic.line().borrow().up);
    let _alice = node.enter("alice").await.expect("a place on this node alone");
    world.server_mut().restart().await;
    node.up().await;
    node.publish(for_user("alice", "n")).await;
    node.heard_to("n").await;
    eventually("alice is on the roll", async || node.present("alice").await == 1).await;
}

/// Newer nodes may say what this one doesn't know; others may say anything.
#[tokio::test]
async fn what_is_not_understood_is_dropped() {
    let world = started().await;
    let node = world.node().await;
    for said in [
        r#"{"v":2,"to":"everyone","message":{"id":"of-version-2"}}"#,
        r#"{"v":1}"#,
        "hello",
        r#"{"v":1,"to":"everyone","message":{"id":7}}"#,
        &format!(r#"{{"v":1,"pad":"{}"}}"#, "x".repeat(3_000_000)),
    ] {
        let _: i64 = ask(world.server(), &["PUBLISH", "stomp::ws_notify_topic", said]).await;
    }
    let odd = r#"{"v":1,"to":"everyone","more":[1],"message":{"id":"n","type":"STRING_MSG","data":"x","viewed":false,"created":1,"new":{}}}"#;
    let _: i64 = ask(world.server(), &["PUBLISH", "stomp::ws_notify_topic", odd]).await;
    assert_eq!(node.heard_to("n").await, ["n"]);
    assert_eq!(node.up().await.breaks, 1);
}
