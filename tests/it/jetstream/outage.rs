//! Servers die, and what was accepted arrives.

use std::time::{Duration, Instant};

use super::*;
use crate::harness::servers::{self, NatsCluster};

#[tokio::test]
async fn producers_are_refused_at_once_while_nats_is_away_and_nothing_accepted_is_lost() {
    let mut server = servers::Nats::start().await;
    let queue = node(&[server.url()], one_lane()).await;
    publish(&*queue, 1..=20).await;
    hold(&*queue).await;
    gather(&*queue, 10).await;
    queue.settle(0, 4, Vec::new()).await.expect("settled");
    server.kill9().await;
    eventually("it is noticed", async || queue.ping().await.is_err()).await;
    let asked = Instant::now();
    let answers = queue.publish(vec![entry(21), entry(22)]).await;
    let refused = |answer: &Result<_, QueueError>| matches!(answer, Err(QueueError::Unavailable(_)));
    assert!(answers.iter().all(refused), "{answers:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    server.restart().await;
    eventually("it takes again", async || {
        queue.publish(vec![entry(30)]).await[0].is_ok()
    })
    .await;
    // The pin died with the server: what was in hand comes again, sooner or later.
    let mut last = 10;
    while last < 21 {
        let most = Most {
            entries: 100,
            bytes: 1_000_000,
        };
        match within("entries", queue.next(0, most)).await {
            Ok(entries) => {
                for entry in entries {
                    let next = entry.sequence == last + 1 || (last == 0 && entry.sequence <= 5);
                    assert!(next, "{} after {last}", entry.sequence);
                    last = entry.sequence;
                }
            }
            Err(QueueError::Moved) => {
                hold(&*queue).await;
                last = 0;
            }
            Err(error) => panic!("{error}"),
        }
    }
    queue.settle(0, last, Vec::new()).await.expect("settled");
    settled(&*queue).await;
}

#[tokio::test]
async fn one_server_of_three_may_be_killed_and_order_stays() {
    let mut cluster = NatsCluster::start().await;
    let replicated = jetstream::Config {
        replicas: 3,
        require_durability: Some(jetstream::Required::Replicated),
        ..one_lane()
    };
    let queue = node(&cluster.urls(), replicated).await;
    assert_eq!(queue.durability(), queue::Durability::Replicated);
    let consumer = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            // What came last of each number, so that it may repeat and not go back beyond what is settled.
            let mut got: Vec<(u64, Bytes)> = Vec::new();
            hold(&*queue).await;
            while got.last().is_none_or(|(_, payload)| payload != "payload 400") {
                let most = Most {
                    entries: 7,
                    bytes: 1_000_000,
                };
                match within("entries", queue.next(0, most)).await {
                    Ok(entries) => {
                        let through = entries.last().expect("not empty").sequence;
                        for entry in entries {
                            // The record knows what it has.
                            if got.last().is_none_or(|(last, _)| *last < entry.sequence) {
                                got.push((entry.sequence, entry.payload));
                            }
                        }
                        queue.settle(0, through, Vec::new()).await.expect("settled");
                    }
                    Err(QueueError::Moved) => hold(&*queue).await,
                    Err(error) => panic!("{error}"),
                }
            }
            got
        }
    });
    let leader = async_nats::jetstream::new(connect(&cluster.urls()).await.client)
        .get_stream("notify")
        .await
        .expect("the stream")
        .cached_info()
        .cluster
        .clone()
        .and_then(|cluster| cluster.leader)
        .expect("a leader");
    let leader: usize = leader.trim_start_matches('n').parse().expect("a number");
    for n in 1..=400 {
        if n == 150 {
            cluster.servers[leader].kill9().await;
        }
        // A producer tries again with the same id.
        eventually("it is accepted", async || {
            queue.publish(vec![entry(n)]).await[0].is_ok()
        })
        .await;
    }
    let got = within("all of them", consumer).await.expect("it ran");
    let payloads: Vec<_> = got.iter().map(|(_, payload)| payload.clone()).collect();
    let expected: Vec<_> = (1..=400).map(|n| entry(n).payload).collect();
    assert_eq!(payloads, expected, "each once, in the order of their acceptance");
    settled(&*queue).await;
}

#[tokio::test]
async fn a_stream_without_room_says_that_it_is_full() {
    let server = servers::Nats::start().await;
    let small = jetstream::Config {
        max_bytes: 20_000,
        ..one_lane()
    };
    let queue = node(&[server.url()], small).await;
    let large = |n| NewEntry {
        payload: Bytes::from(vec![b'x'; 4_000]),
        ..entry(n)
    };
    let answers = queue.publish((1..=10).map(large).collect()).await;
    let taken = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((3..=5).contains(&taken), "{answers:?}");
    assert!(
        answers[taken..]
            .iter()
            .all(|answer| matches!(answer, Err(QueueError::Full(_)))),
        "{answers:?}"
    );
    hold(&*queue).await;
    gather(&*queue, taken).await;
    queue.settle(0, 1, Vec::new()).await.expect("settled");
    eventually("there is room", async || {
        queue.publish(vec![large(11)]).await[0].is_ok()
    })
    .await;
}

/// What the server had sent and this node had not read is gone with the connection, and the pin is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_leaves_nothing_out() {
    const COUNT: u64 = 6_000;
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let nats = connect(&urls).await;
    let flowing = jetstream::Config {
        prefetch: 400,
        pin_timeout_ms: 3_000,
        ..one_lane()
    };
    let queue = queue::build(&configured(flowing), Path::new("unused"), Some(&nats))
        .await
        .expect("the queue opens");
    let large = |n: u64| NewEntry {
        payload: Bytes::from(vec![b'x'; 4_000]),
        ..entry(n as usize)
    };
    for answer in queue.publish((1..=COUNT).map(large).collect()).await {
        answer.expect("published");
    }
    let (breaks, mut wanted) = tokio::sync::mpsc::channel(1);
    let client = nats.client.clone();
    tokio::spawn(async move {
        while wanted.recv().await.is_some() {
            client.force_reconnect().await.expect("it begins anew");
        }
    });
    hold(&*queue).await;
    let mut last = 0;
    let mut anew = true;
    while last < COUNT {
        let most = Most {
            entries: 50,
            bytes: 1_000_000,
        };
        match within("entries", queue.next(0, most)).await {
            Ok(entries) => {
                for entry in &entries {
                    // At the first unsettled entry after a new pin; an ack may be under way or lost.
                    let next = entry.sequence == last + 1 || (anew && entry.sequence <= last);
                    assert!(next, "{} after {last}", entry.sequence);
                    (last, anew) = (entry.sequence, false);
                }
                queue.settle(0, last, Vec::new()).await.expect("settled");
                // Again and again, while more is under way.
                if last % 7 == 0 {
                    let _ = breaks.try_send(());
                }
            }
            Err(QueueError::Moved) => {
                hold(&*queue).await;
                anew = true;
            }
            Err(error) => panic!("{error}"),
        }
    }
    settled(&*queue).await;
}
