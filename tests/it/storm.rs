//! A node dies with thousands of sessions and comes back: they all come back, too, as its queue admits them, each with what it missed, and nobody
//! who publishes notices.
//!
//! `TEST_CLIENTS=10000 TEST_RATE=1000` tells it in its full size, which takes as many sockets in this process; `TEST_SERVER=target/release/quick-notify`
//! of a build that is meant to be fast.

mod client;
mod producer;
// The benchmark's octets: as little work as can be, since thousands of clients share the cores with the server.
#[allow(dead_code)]
#[path = "../bench/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::client::{Client, Heard, Seen};
use self::producer::{Outcome, Try, produce};
use crate::harness::random::{number, seed};
use crate::harness::{Cluster, Server, eventually};

/// Those of whose notifications one stays unconfirmed before the storm.
const WITH_BACKLOG: usize = 10;
const PRODUCERS: usize = 4;
/// Of all producers together.
const PER_SECOND: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_has_all_its_clients_back_and_fails_no_publish() {
    let clients = usize::try_from(number("TEST_CLIENTS", 2_000)).expect("a number");
    let seed = seed();
    println!("seed {seed}, {clients} clients");
    rlimit::increase_nofile_limit(u64::MAX).expect("so many sockets");
    let per_second = usize::try_from(number("TEST_RATE", clients as u64 / 5))
        .expect("a number")
        .max(1);
    let mut server = Server::with(&[
        ("edge.admission.per_second", &per_second.to_string()),
        ("edge.admission.burst", &(per_second / 5).max(1).to_string()),
        ("edge.admission.max_waiting", &(per_second * 5).to_string()),
    ])
    .await;
    let seen = Arc::new(Seen::new(clients));
    let over = CancellationToken::new();
    let mut crowd = JoinSet::new();
    for number in 0..clients {
        let client = Client {
            addresses: vec![server.address().to_owned()],
            number,
            holds_back: number % WITH_BACKLOG == 0,
            seed: seed.wrapping_mul(1_000_003) + number as u64,
        };
        crowd.spawn(client.run(Arc::clone(&seen), over.clone()));
    }
    seen.all_here().await;
    let before: Vec<_> = (0..clients).step_by(WITH_BACKLOG).collect();
    let mut accepted = HashMap::new();
    for number in before {
        accepted.insert(server.notify(&format!("test{number}"), "held back").await, number);
    }
    let tries: Arc<Mutex<Vec<Try>>> = Arc::default();
    let enough = CancellationToken::new();
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let pace = Duration::from_micros(1_000_000 * PRODUCERS as u64 / PER_SECOND);
        let plan = producer::Plan {
            url: server.url(),
            number,
            clients,
            pace,
            seed: seed + number as u64,
        };
        producers.push(produce(plan, Arc::clone(&tries), enough.clone()));
    }
    let published = |count: usize| {
        let tries = Arc::clone(&tries);
        async move {
            tries
                .lock()
                .expect("a lock")
                .iter()
                .filter(|a_try| a_try.outcome == Outcome::Taken)
                .count()
                >= count
        }
    };
    eventually("what is held back, and some load", || async {
        seen.heard() >= accepted.len() && published(50).await
    })
    .await;

    let away_from = Instant::now();
    server.kill9().await;
    seen.left(0).await;
    server.restart().await;
    let ready = Instant::now();
    seen.all_here().await;
    let back = Instant::now();
    let peak = peak(&server);
    // The producers go on for a while after it.
    let so_far = tries.lock().expect("a lock").len();
    eventually("some load after the storm", || published(so_far + 50)).await;
    enough.cancel();
    for producer in producers {
        let taken = tokio::task::spawn_blocking(|| producer.join())
            .await
            .expect("it is waited for");
        accepted.extend(taken.expect("a producer"));
    }
    eventually("what everybody missed", || async { seen.has_heard(accepted.iter()) }).await;
    let metric = async |name: &str| server.metric(&format!("quick_notify_{name}")).await;
    let (admitted, sent_away) = (metric("admitted_total").await, metric("sent_away_total").await);
    let waited = metric("admission_wait_seconds_sum").await;
    over.cancel();
    while let Some(ended) = crowd.join_next().await {
        ended.expect("a client");
    }

    let tries = tries.lock().expect("a lock");
    let up: Vec<_> = tries.iter().filter(|a_try| a_try.began >= ready).collect();
    let failed: Vec<_> = up.iter().filter(|a_try| a_try.outcome != Outcome::Taken).collect();
    let refused = |from: Instant, to: Instant| {
        let meanwhile = tries.iter().filter(|a_try| a_try.began >= from && a_try.began < to);
        meanwhile.filter(|a_try| a_try.outcome != Outcome::Taken).count()
    };
    let mut times: Vec<_> = up
        .iter()
        .filter(|a_try| a_try.began < back)
        .map(|a_try| a_try.took)
        .collect();
    times.sort();
    let percentile = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let took = back - ready;
    println!("away for {:?}; all back {took:?} after it was ready", ready - away_from);
    println!(
        "admitted {admitted} ({:.0} a second), sent away {sent_away}, waited {:.2} s on average",
        admitted / took.as_secs_f64(),
        waited / admitted.max(1.0)
    );
    println!("longest from CONNECT to CONNECTED: {:?}", seen.longest_wait());
    let gave_up = seen.gave_up.load(SeqCst);
    println!(
        "tries of clients that were refused or broke off: {}, and those of them that waited for 15 s: {gave_up}",
        seen.refused.load(SeqCst)
    );
    println!(
        "publishes: {} while up, {} failed; {} refused while it was away",
        up.len(),
        failed.len(),
        refused(away_from, ready)
    );
    println!(
        "during the storm: {} publishes, p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        percentile(50),
        percentile(99),
        times.last()
    );
    println!(
        "deliveries that came again: {}; peak RSS {} MiB",
        seen.again.load(SeqCst),
        peak / 1_024
    );

    // Not all at once: the rate is kept to, from the first moment at which it may have been up.
    let least = (clients - per_second / 5) as f64 / per_second as f64;
    let most_time = (back - away_from).as_secs_f64();
    assert!(
        most_time >= least,
        "{clients} were back after {most_time} s; at {per_second} a second that takes {least} s"
    );
    assert!(
        failed.is_empty(),
        "publishes that failed while the node was up: {failed:?}"
    );
    assert!(times.len() > 20, "there was load during the storm");
    assert_eq!(seen.told_twice(), Vec::<String>::new());
    let once_and_at_most_again = clients as f64..=(clients + gave_up) as f64;
    assert!(
        once_and_at_most_again.contains(&admitted),
        "each came in once, but for {gave_up} who went away before: {admitted}"
    );
}

/// Half of the clients lose their node for good; they go to the one that holds the other half, which keeps what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_takes_the_clients_of_another_one_in_and_keeps_its_own() {
    let clients = usize::try_from(number("TEST_CLIENTS", 1_000)).expect("a number");
    let seed = seed();
    println!("seed {seed}, {clients} clients on two nodes");
    rlimit::increase_nofile_limit(u64::MAX).expect("so many sockets");
    let per_second = (clients / 10).max(1);
    let mut cluster = Cluster::start(&[
        ("edge.admission.per_second", &per_second.to_string()),
        ("edge.admission.burst", "1"),
    ])
    .await;
    let nodes: Vec<_> = (0..2)
        .map(|node| cluster.nodes[node].server.address().to_owned())
        .collect();
    let seen = Arc::new(Seen::new(clients));
    let over = CancellationToken::new();
    let mut crowd = JoinSet::new();
    for number in 0..clients {
        let client = Client {
            addresses: vec![nodes[number % 2].clone(), nodes[1 - number % 2].clone()],
            number,
            holds_back: number % WITH_BACKLOG == 0,
            seed: seed.wrapping_mul(1_000_003) + number as u64,
        };
        crowd.spawn(client.run(Arc::clone(&seen), over.clone()));
    }
    seen.all_here().await;
    let tries: Arc<Mutex<Vec<Try>>> = Arc::default();
    let enough = CancellationToken::new();
    let plan = producer::Plan {
        url: cluster.nodes[2].server.url(),
        number: 0,
        clients,
        pace: Duration::from_micros(1_000_000 / PER_SECOND),
        seed,
    };
    let producer = produce(plan, Arc::clone(&tries), enough.clone());
    let so_far = || tries.lock().expect("a lock").len();
    eventually("some load", || async { so_far() > 50 }).await;
    let others = cluster.nodes[1].server.metric("quick_notify_sessions").await;
    let away_from = Instant::now();
    cluster.nodes[0].server.kill9().await;
    seen.left(clients - 1).await;
    // Until everybody has noticed, `all` may be those who have not.
    let moved = others + (clients / 2) as f64;
    within_patience("all on one node", async || {
        cluster.nodes[1].server.metric("quick_notify_sessions").await == moved
    })
    .await;
    seen.all_here().await;
    let took = away_from.elapsed();
    let during = so_far();
    eventually("some load after it", || async { so_far() > during + 50 }).await;
    enough.cancel();
    let accepted = tokio::task::spawn_blocking(|| producer.join())
        .await
        .expect("it is waited for");
    let accepted = accepted.expect("the producer");
    eventually("what everybody missed", || async { seen.has_heard(accepted.iter()) }).await;
    let closed = cluster.nodes[1]
        .server
        .metric("quick_notify_connections_closed_total")
        .await;
    let sent_away = cluster.nodes[1].server.metric("quick_notify_sent_away_total").await;
    over.cancel();
    while let Some(ended) = crowd.join_next().await {
        ended.expect("a client");
    }
    let tries = tries.lock().expect("a lock");
    let mut times: Vec<_> = tries.iter().map(|a_try| a_try.took).collect();
    times.sort();
    println!(
        "all on one node after {took:?}; sent away {sent_away}; longest wait {:?}",
        seen.longest_wait()
    );
    println!("{} publishes, p99 {:?}", times.len(), times[times.len() * 99 / 100]);
    assert!(
        tries.iter().all(|a_try| a_try.outcome == Outcome::Taken),
        "another node's publishes failed: {tries:?}"
    );
    assert_eq!(seen.told_twice(), Vec::<String>::new());
    assert_eq!(closed, sent_away, "none of its own sessions was closed");
    let least = (clients / 2) as f64 / per_second as f64 - 0.1;
    assert!(took.as_secs_f64() >= least, "{took:?}: faster than they can be let in");
}

/// As `eventually`, for what takes longer by its nature.
async fn within_patience(what: &str, check: impl AsyncFn() -> bool) {
    let work = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !check().await {
            tick.tick().await;
        }
    };
    if tokio::time::timeout(client::PATIENCE, work).await.is_err() {
        panic!("{what}: not within {:?}", client::PATIENCE);
    }
}

/// The most that the server ever held, in KiB.
fn peak(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .expect("a number")
}

impl Seen {
    /// First deliveries that a session was told twice.
    fn told_twice(&self) -> Vec<String> {
        let deliveries = self.deliveries.lock().expect("a lock");
        let mut told = HashMap::new();
        for heard in &*deliveries {
            *told.entry(heard).or_insert(0) += 1;
        }
        let twice = told.into_iter().filter(|(_, times)| *times > 1);
        twice
            .map(|(Heard { client, session, id }, times)| {
                format!("{id}: {times} times to session {session} of test{client}")
            })
            .collect()
    }
}
