//! `unreached`: a notification that nobody was there to get is told of, with what it says, once.

use quick_notify::lifecycle::wall_clock;
use serde_json::json;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use super::events::{Story, Told, tell};
use crate::harness::servers::Nats;
use crate::harness::{Cluster, Server, Tab, eventually};

const WANTED: (&str, &str) = ("attach.events.always", r#"["unreached"]"#);
const SOON: (&str, &str) = ("attach.events.unreached_after_ms", "500");
const OFTEN: (&str, &str) = ("sweep.unreached_every_ms", "50");

#[tokio::test]
async fn who_is_not_there_is_told_of_once_and_who_is_or_has_confirmed_is_not() {
    let Story {
        server,
        nats: _nats,
        mut told,
    } = tell(&[WANTED, SOON, OFTEN]).await;
    let mut here = Tab::listen(&server, "test-here", None).await;
    let held = server.notify("test-here", "held, and not confirmed").await;
    here.delivery().await;
    let confirmed = server.notify("test-gone", "confirmed").await;
    eventually("the confirmation", async || {
        let gone = ("Authorization", "test-gone");
        let answer = server
            .post("/api/notify/ack", &[gone], json!([confirmed]).to_string())
            .await;
        answer.json()["data"]["ids"] == json!([confirmed])
    })
    .await;
    let missed = server
        .publish(json!({"receiver": "test-away", "type": "STRING_MSG", "data": "Disk 3 is full"}))
        .await;
    let event = told.next("unreached").await;
    assert_eq!(
        (
            &event["id"],
            &event["receiver"],
            &event["type"],
            &event["data"],
            &event["seq"]
        ),
        (
            &missed["id"],
            &json!("test-away"),
            &json!("STRING_MSG"),
            &json!("Disk 3 is full"),
            &json!(1)
        )
    );
    let age = event["at"].as_i64().expect("a time") - event["created"].as_i64().expect("a time");
    assert!(age >= 500, "{age} ms");
    // The next one shows that all before it were looked at.
    let next = server.notify("test-away", "next").await;
    assert_eq!(told.next("unreached").await["id"], *next);
    let all = told.all("unreached");
    assert_eq!(all.len(), 2, "not {held}: {all:?}");
}

#[tokio::test]
async fn what_was_old_before_anybody_listened_is_not_told() {
    let settings = [SOON, OFTEN, ("attach.events.unreached_within_ms", "2000")];
    let Story {
        mut server,
        nats,
        mut told,
    } = tell(&settings).await;
    for n in 0..30 {
        server.notify("test-away", &n.to_string()).await;
    }
    let begun = wall_clock();
    eventually("their time is over", async || wall_clock() > begun + 2_000).await;
    server.set(WANTED.0, WANTED.1);
    server.set("sweep.unreached_batch", "7");
    server.terminate().await;
    server.restart().await;
    let fresh = server.notify("test-away", "fresh").await;
    assert_eq!(told.next("unreached").await["id"], *fresh);
    assert_eq!(told.all("unreached").len(), 1);
    drop(nats);
}

#[tokio::test]
async fn a_killed_node_loses_none() {
    let settings = [
        WANTED,
        SOON,
        OFTEN,
        ("sweep.unreached_turn_ms", "1000"),
        ("sweep.unreached_batch", "5"),
    ];
    let Story {
        mut server,
        nats: _nats,
        mut told,
    } = tell(&settings).await;
    let mut ids = Vec::new();
    for n in 0..60 {
        ids.push(server.notify("test-away", &n.to_string()).await);
    }
    told.next("unreached").await;
    server.kill9().await;
    server.restart().await;
    for id in &ids {
        while !told.events.iter().any(|event| event["id"] == **id) {
            told.next("unreached").await;
        }
    }
}

/// One row says that it comes from tomorrow; another one was stored hours late, by a record that was away.
#[tokio::test]
async fn a_row_of_another_time_is_told_and_holds_up_nobody() {
    let nats = Nats::start().await;
    let servers = format!("[\"{}\"]", nats.url());
    let settings = [("attach.enabled", "true"), ("nats.servers", &*servers), SOON, OFTEN];
    let mut server = Server::alone(&settings).await;
    let mut told = Told::of(&server).await;
    let ahead = server.notify("test-away", "tomorrow").await;
    let next = server.notify("test-away", "next").await;
    server.terminate().await;
    shift(&server, &ahead, 86_400_000).await;
    server.set(WANTED.0, WANTED.1);
    server.restart().await;
    for id in [&ahead, &next] {
        assert_eq!(told.next("unreached").await["id"], **id);
    }
    let late = server.notify("test-away", "late").await;
    shift(&server, &late, -7_200_000).await;
    assert_eq!(told.next("unreached").await["id"], *late);
}

/// Changes when it was created.
async fn shift(server: &Server, id: &str, by: i64) {
    let options = SqliteConnectOptions::new().filename(server.data().join("record.db"));
    let mut record = options.connect().await.expect("the record");
    let shift = sqlx::query("update notify_log set created = created + ? where id = ?");
    let shifted = shift.bind(by).bind(id).execute(&mut record).await.expect("a change");
    assert_eq!(shifted.rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_three_nodes_one_tells_and_none_while_the_roll_is_away() {
    let settings = [
        ("attach.enabled", "true"),
        WANTED,
        SOON,
        OFTEN,
        ("topic.roll_timeout_ms", "200"),
    ];
    let mut cluster = Cluster::start(&settings).await;
    let mut told = Told::at(cluster.nats.servers()[0].url(), "notify").await;
    // On another node than the one that was asked.
    let mut tab = Tab::listen(&cluster.nodes[1].server, "test-here", None).await;
    let publish = async |server: &Server, users: std::ops::Range<usize>| {
        let mut ids = Vec::new();
        for n in users {
            ids.push(server.notify(&format!("test-away{n}"), "x").await);
        }
        ids.sort();
        ids
    };
    cluster.nodes[0].server.notify("test-here", "x").await;
    tab.delivery().await;
    let ids = publish(&cluster.nodes[0].server, 0..60).await;
    while told.events.len() < ids.len() {
        told.next("unreached").await;
    }
    let mut heard: Vec<_> = told.all("unreached");
    heard.sort_by_key(|event| event["id"].as_str().expect("an id").to_owned());
    let heard: Vec<_> = heard.iter().map(|event| event["id"].as_str().expect("an id")).collect();
    assert_eq!(heard, ids, "each once, and not what its receiver holds");

    cluster.redis.kill9().await;
    let later = publish(&cluster.nodes[2].server, 60..70).await;
    let begun = wall_clock();
    eventually("it would be time", async || wall_clock() > begun + 1_500).await;
    assert_eq!(told.all("unreached").len(), ids.len(), "nobody can say who is here");
    cluster.redis.restart().await;
    for id in &later {
        while !told.events.iter().any(|event| event["id"] == **id) {
            told.next("unreached").await;
        }
    }
}
