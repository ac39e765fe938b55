//! The queue on JetStream, with real servers that are killed: who takes a lane over and what comes then, what is refused at the start, what
//! comes past the doors.

mod direct;
mod outage;
mod start;
mod takeover;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quick_notify::domain::notification::{Audience, BodyHash};
use quick_notify::nats::{self, Nats};
use quick_notify::queue::{self, Adapter, Entry, Most, NewEntry, Queue, QueueError, jetstream};

use crate::harness::{eventually, within};

/// One lane, and quick to notice.
fn one_lane() -> jetstream::Config {
    jetstream::Config {
        partitions: 1,
        pin_timeout_ms: 1_000,
        check_ms: 200,
        ..Default::default()
    }
}

fn configured(jetstream: jetstream::Config) -> queue::Config {
    queue::Config {
        adapter: Adapter::Jetstream,
        jetstream,
        ..Default::default()
    }
}

async fn connect(urls: &[String]) -> Nats {
    let config = nats::Config {
        servers: urls.to_vec(),
        ping_interval_ms: 500,
        reconnect_most_ms: 50,
        ..Default::default()
    };
    nats::connect(&config).await.expect("a connection")
}

/// A node's queue, over a connection of its own.
async fn open(urls: &[String], config: jetstream::Config) -> Result<Arc<dyn Queue>, QueueError> {
    let nats = connect(urls).await;
    queue::build(&configured(config), Path::new("unused"), Some(&nats)).await
}

async fn node(urls: &[String], config: jetstream::Config) -> Arc<dyn Queue> {
    open(urls, config).await.expect("the queue opens")
}

fn entry(n: usize) -> NewEntry {
    NewEntry {
        id: format!("n{n}"),
        hash: BodyHash([0; 16]),
        to: Audience::User("alice".into()),
        payload: Bytes::from(format!("payload {n}")),
    }
}

async fn publish(queue: &dyn Queue, numbers: std::ops::RangeInclusive<usize>) {
    for answer in queue.publish(numbers.map(entry).collect()).await {
        answer.expect("published");
    }
}

async fn hold(queue: &dyn Queue) {
    within("the lane", queue.hold(0)).await.expect("held");
}

/// The next `count` entries of lane 0.
async fn gather(queue: &dyn Queue, count: usize) -> Vec<Entry> {
    let mut gathered = Vec::new();
    while gathered.len() < count {
        let most = Most {
            entries: count - gathered.len(),
            bytes: 1_000_000,
        };
        gathered.extend(within("entries", queue.next(0, most)).await.expect("entries"));
    }
    gathered
}

fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

async fn settled(queue: &dyn Queue) {
    pending(queue, 0).await;
}

/// What is settled is gone a moment later.
async fn pending(queue: &dyn Queue, expected: u64) {
    eventually("what is settled is gone", async || {
        queue.depth().await.is_ok_and(|depth| depth.pending == expected)
    })
    .await;
}
