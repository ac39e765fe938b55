//! The servers that the stories are told with: each starts, is killed, frozen, and comes back with what it had.

use std::time::{Duration, Instant};

use async_nats::jetstream;
use sqlx::{Connection, Row};

use crate::harness::servers::{MariaDb, Nats, NatsCluster, Postgres, Redis};
use crate::harness::within;

#[tokio::test]
async fn redis_starts_freezes_and_comes_back() {
    let mut redis = timed("redis-server", Redis::start()).await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let ping = redis::cmd("PING");
    redis.stop();
    let frozen = tokio::time::timeout(Duration::from_millis(100), ping.query_async::<String>(&mut connection)).await;
    assert!(frozen.is_err(), "a frozen server answers nothing: {frozen:?}");
    redis.cont();
    within(
        "PONG",
        ping.query_async::<String>(&mut client.get_multiplexed_async_connection().await.unwrap()),
    )
    .await
    .unwrap();

    let port = redis.port();
    redis.kill9().await;
    assert!(client.get_multiplexed_async_connection().await.is_err());
    redis.restart().await;
    assert_eq!(redis.address(), format!("127.0.0.1:{port}"));
    client.get_multiplexed_async_connection().await.unwrap();
    redis.terminate().await;
}

#[tokio::test]
async fn nats_comes_back_with_its_streams() {
    let mut nats = timed("nats-server", Nats::start()).await;
    let config = jetstream::stream::Config {
        name: "S".to_owned(),
        subjects: vec!["s.>".to_owned()],
        ..Default::default()
    };
    let client = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    client.create_stream(config).await.unwrap();
    client.publish("s.one", "first".into()).await.unwrap().await.unwrap();
    nats.kill9().await;
    nats.restart().await;
    let client = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let stream = client.get_stream("S").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
}

#[tokio::test]
async fn three_nats_servers_replicate_and_one_may_go() {
    let mut cluster = timed("three nats-servers", NatsCluster::start()).await;
    let client = jetstream::new(async_nats::connect(cluster.urls()).await.unwrap());
    let config = jetstream::stream::Config {
        name: "S".to_owned(),
        subjects: vec!["s.>".to_owned()],
        num_replicas: 3,
        ..Default::default()
    };
    let stream = client.create_stream(config).await.unwrap();
    client.publish("s.one", "first".into()).await.unwrap().await.unwrap();
    let leader = stream.cached_info().cluster.clone().unwrap().leader.unwrap();
    let leader: usize = leader.trim_start_matches('n').parse().unwrap();
    let began = Instant::now();
    cluster.servers[leader].kill9().await;
    within("a publish with two of three", async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if let Ok(ack) = client.publish("s.two", "second".into()).await
                && ack.await.is_ok()
            {
                return;
            }
        }
    })
    .await;
    eprintln!(
        "a publish was taken {:?} after the death of the stream's leader",
        began.elapsed()
    );
    cluster.servers[leader].restart().await;
    cluster.settled().await;
}

#[tokio::test]
async fn postgresql_comes_back_with_what_it_committed() {
    let mut postgres = timed("postgres", Postgres::start()).await;
    let mut connection = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::query("CREATE TABLE t (n int)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO t VALUES (7)")
        .execute(&mut connection)
        .await
        .unwrap();
    let fsync: String = sqlx::query("SHOW fsync")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get(0);
    assert_eq!(fsync, "on");
    assert!(postgres.data().join("PG_VERSION").is_file());

    let mut other = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    postgres.stop();
    let frozen = tokio::time::timeout(Duration::from_millis(100), other.ping()).await;
    assert!(frozen.is_err(), "a frozen server answers nothing: {frozen:?}");
    postgres.cont();
    postgres.kill9().await;
    assert!(connection.ping().await.is_err(), "its children died with it");
    postgres.restart().await;
    let mut connection = sqlx::PgConnection::connect(&postgres.url()).await.unwrap();
    let n: i32 = sqlx::query("SELECT n FROM t")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get(0);
    assert_eq!(n, 7);
    drop((connection, other));
    postgres.terminate().await;

    let (one, two) = (Postgres::shared().await, Postgres::shared().await);
    assert_ne!(one.url, two.url);
    let mut connection = sqlx::PgConnection::connect(&one.url).await.unwrap();
    sqlx::query("CREATE TABLE t (n int)")
        .execute(&mut connection)
        .await
        .unwrap();
    let mut connection = sqlx::PgConnection::connect(&two.url).await.unwrap();
    sqlx::query("CREATE TABLE t (n int)")
        .execute(&mut connection)
        .await
        .unwrap();
}

#[tokio::test]
async fn mariadb_comes_back_with_what_it_committed() {
    let mut mariadb = timed("mariadbd", MariaDb::start()).await;
    let database = mariadb.database().await;
    let mut connection = sqlx::MySqlConnection::connect(&database.url).await.unwrap();
    sqlx::query("CREATE TABLE t (n int)")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query("INSERT INTO t VALUES (7)")
        .execute(&mut connection)
        .await
        .unwrap();
    mariadb.kill9().await;
    mariadb.restart().await;
    let mut connection = sqlx::MySqlConnection::connect(&database.url).await.unwrap();
    let n: i32 = sqlx::query("SELECT n FROM t")
        .fetch_one(&mut connection)
        .await
        .unwrap()
        .get(0);
    assert_eq!(n, 7);
    drop(connection);
    mariadb.terminate().await;

    let (one, two) = (MariaDb::shared().await, MariaDb::shared().await);
    assert_ne!(one.url, two.url);
    sqlx::MySqlConnection::connect(&two.url).await.unwrap();
}

/// The first of all may have to make the template, which is why nothing is asserted of the time.
async fn timed<T>(name: &str, start: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let server = start.await;
    eprintln!("{name} started in {:?}", began.elapsed());
    server
}
