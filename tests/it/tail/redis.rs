//! Redis is a hint: without it everything arrives all the same, and soon.

use std::time::{Duration, Instant};

use quick_notify::stomp::{Command, FrameWriter, Version};
use serde_json::json;

use crate::harness::servers::Redis;
use crate::harness::{Server, Tab, within};

async fn node(redis: &Redis, more: &[(&str, &str)]) -> Server {
    let servers = format!("[\"{}\"]", redis.url());
    let settings = [("topic.adapter", "redis"), ("redis.servers", &servers)];
    Server::with(&[&settings, more].concat()).await
}

#[derive(Clone, Copy)]
enum Fault {
    Killed,
    Frozen,
}

/// Fifty a second for six seconds; in the third Redis goes away, and in the fifth it comes back.
async fn lives_through(fault: Fault) {
    const COUNT: usize = 300;
    let mut redis = Redis::start().await;
    let server = node(&redis, &[]).await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let publish = async {
        let mut accepted = Vec::with_capacity(COUNT);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        for number in 0..COUNT {
            tick.tick().await;
            match (number, fault) {
                (100, Fault::Killed) => redis.kill9().await,
                (100, Fault::Frozen) => redis.stop(),
                (200, Fault::Killed) => redis.relaunch(),
                (200, Fault::Frozen) => redis.cont(),
                _ => {}
            }
            let begun = Instant::now();
            server.notify("test1", &number.to_string()).await;
            accepted.push(begun);
        }
        accepted
    };
    let hear = async {
        let mut heard = Vec::with_capacity(COUNT);
        for number in 0..COUNT {
            let delivery = alice.delivery().await;
            heard.push(Instant::now());
            assert_eq!((delivery.data(), delivery.attempt), (number.to_string(), 1));
            let ack = FrameWriter::new(Version::V1_2, Command::Ack)
                .header("id", &delivery.id)
                .end();
            alice.send(ack).await;
        }
        heard
    };
    let (accepted, heard) = tokio::join!(publish, hear);
    let delays = accepted
        .iter()
        .zip(&heard)
        .map(|(accepted, heard)| heard.duration_since(*accepted));
    let longest = delays.max().expect("there are some");
    println!("longest delay {longest:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(
        server.metric("quick_notify_tail_rung_total").await > 0.0,
        "the tail had nothing to do"
    );
    assert_eq!(server.metric("quick_notify_resent_total").await, 0.0);
}

#[tokio::test]
async fn with_redis_killed_everything_arrives_within_two_seconds() {
    lives_through(Fault::Killed).await;
}

#[tokio::test]
async fn with_redis_frozen_everything_arrives_within_two_seconds() {
    lives_through(Fault::Frozen).await;
}

#[tokio::test]
async fn with_redis_well_the_tail_rings_nobody() {
    let redis = Redis::start().await;
    let server = node(&redis, &[("edge.tail_every_ms", "20")]).await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let before = server.metric("quick_notify_tail_rung_total").await;
    for number in 0..50 {
        server.notify("test1", &number.to_string()).await;
        alice.delivery().await;
    }
    assert_eq!(server.metric("quick_notify_tail_rung_total").await, before);
}

/// The nodes have records of their own, so it is the bell that tells.
#[tokio::test]
async fn a_revocation_is_heard_on_the_other_node() {
    let redis = Redis::start().await;
    let (one, other) = (node(&redis, &[]).await, node(&redis, &[]).await);
    let mut tab = Tab::listen(&other, "test1", None).await;
    let begun = Instant::now();
    revoke(&one).await;
    assert_eq!(tab.error().await.0, "token-revoked");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn without_redis_a_revocation_is_found_in_the_record() {
    let mut redis = Redis::start().await;
    let server = node(&redis, &[]).await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    redis.kill9().await;
    let begun = Instant::now();
    revoke(&server).await;
    assert_eq!(tab.error().await.0, "token-revoked");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

async fn revoke(server: &Server) {
    let body = json!({"user": "test1"}).to_string();
    let answer = within("an answer", server.post("/api/sessions/revoke", &[], body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}
