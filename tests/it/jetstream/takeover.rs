//! A lane goes from one node to another, and nothing is lost, left out or out of order.

use std::time::{Duration, Instant};

use super::*;
use crate::harness::servers;

/// Nobody publishes anything new, which would give the pin to the other one.
#[tokio::test]
async fn what_a_dead_node_had_in_hand_comes_in_order_to_another() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let (a, b) = (node(&urls, one_lane()).await, node(&urls, one_lane()).await);
    publish(&*a, 1..=20).await;
    hold(&*a).await;
    assert_eq!(sequences(&gather(&*a, 10).await), Vec::from_iter(1..=10));
    a.settle(0, 5, Vec::new()).await.expect("settled");
    pending(&*a, 15).await;
    let standby = tokio::spawn({
        let b = Arc::clone(&b);
        async move { hold(&*b).await }
    });
    drop(a);
    let died = Instant::now();
    standby.await.expect("it has the lane");
    assert_eq!(sequences(&gather(&*b, 15).await), Vec::from_iter(6..=20));
    assert!(died.elapsed() < Duration::from_secs(10), "{:?}", died.elapsed());
    b.settle(0, 20, Vec::new()).await.expect("settled");
    settled(&*b).await;
}

/// By the time-out of the pin it would take a minute.
#[tokio::test]
async fn a_node_that_drains_hands_over_at_once() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let patient = || jetstream::Config {
        pin_timeout_ms: 60_000,
        check_ms: 60_000,
        ..one_lane()
    };
    let (a, b) = (node(&urls, patient()).await, node(&urls, patient()).await);
    publish(&*a, 1..=20).await;
    hold(&*a).await;
    gather(&*a, 10).await;
    a.settle(0, 4, Vec::new()).await.expect("settled");
    let standby = tokio::spawn({
        let b = Arc::clone(&b);
        async move { hold(&*b).await }
    });
    a.close().await;
    standby.await.expect("it has the lane");
    assert_eq!(sequences(&gather(&*b, 16).await), Vec::from_iter(5..=20));
}

/// It froze: the server gave the lane to another, and it wakes with a batch in hand.
#[tokio::test]
async fn a_node_that_wakes_is_told_that_its_lane_has_moved_and_does_no_harm() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let (a, b) = (node(&urls, one_lane()).await, node(&urls, one_lane()).await);
    publish(&*a, 1..=20).await;
    hold(&*a).await;
    gather(&*a, 10).await;
    let standby = tokio::spawn({
        let b = Arc::clone(&b);
        async move { hold(&*b).await }
    });
    // The standby has asked before it gets the pin.
    let stream = async_nats::jetstream::new(connect(&urls).await.client)
        .get_stream("notify")
        .await
        .expect("the stream");
    eventually("two nodes wait", async || {
        let info = stream.consumer_info("lane-0").await.expect("the consumer");
        info.num_waiting >= 2
    })
    .await;
    eventually("the lane has moved", async || {
        stream
            .unpin_consumer("lane-0", "dispatch")
            .await
            .expect("the pin is free");
        publish(&*b, 21..=21).await;
        let most = Most {
            entries: 100,
            bytes: 1_000_000,
        };
        let moved = tokio::time::timeout(Duration::from_millis(300), a.next(0, most)).await;
        matches!(moved, Ok(Err(QueueError::Moved))) && standby.is_finished()
    })
    .await;
    // What it had stored before it froze may be settled, and nothing else comes to it.
    a.settle(0, 3, Vec::new()).await.expect("no harm");
    let mut got = sequences(&gather(&*b, 1).await);
    assert!(got[0] == 1 || got[0] == 4, "{got:?}");
    got.extend(sequences(&gather(&*b, 21 - got[0] as usize).await));
    assert_eq!(got, Vec::from_iter(got[0]..=21));
    b.settle(0, 21, Vec::new()).await.expect("settled");
    settled(&*b).await;
}

#[tokio::test]
async fn a_batch_stays_in_hand_however_long_it_takes() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let short = jetstream::Config {
        ack_wait_ms: 1_000,
        ..one_lane()
    };
    let (a, b) = (node(&urls, short.clone()).await, node(&urls, short).await);
    publish(&*a, 1..=20).await;
    hold(&*a).await;
    assert_eq!(sequences(&gather(&*a, 2).await), [1, 2]);
    // Three times as long as an ack and a pin last.
    let taken = tokio::time::timeout(Duration::from_secs(3), b.hold(0)).await;
    assert!(taken.is_err(), "another node has the lane");
    let info = async_nats::jetstream::new(connect(&urls).await.client)
        .get_stream("notify")
        .await
        .expect("the stream")
        .consumer_info("lane-0")
        .await
        .expect("the consumer");
    assert_eq!(info.num_redelivered, 0, "{info:?}");
    assert_eq!(sequences(&gather(&*a, 18).await), Vec::from_iter(3..=20));
    a.settle(0, 20, Vec::new()).await.expect("settled");
    settled(&*a).await;
}

#[tokio::test]
async fn what_is_at_hand_is_bounded_by_number_and_by_size() {
    let server = servers::Nats::start().await;
    let urls = [server.url()];
    let few = jetstream::Config {
        prefetch: 4,
        ..one_lane()
    };
    let queue = node(&urls, few).await;
    publish(&*queue, 1..=200).await;
    let large = |n| NewEntry {
        payload: Bytes::from(vec![b'x'; 40_000]),
        ..entry(n)
    };
    queue.publish((201..=400).map(large).collect()).await;
    let stream = async_nats::jetstream::new(connect(&urls).await.client)
        .get_stream("notify")
        .await
        .expect("the stream");
    let out = async || {
        let info = stream.consumer_info("lane-0").await.expect("the consumer");
        info.num_ack_pending
    };
    hold(&*queue).await;
    eventually("it has some at hand", async || out().await >= 4).await;
    // Longer than a pull lasts: the pin is kept by asking again, and nothing more comes.
    let more = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            if out().await > 2 * 4 {
                return;
            }
        }
    };
    assert!(
        tokio::time::timeout(Duration::from_secs(2), more).await.is_err(),
        "{}",
        out().await
    );
    assert_eq!(sequences(&gather(&*queue, 200).await), Vec::from_iter(1..=200));
    queue.close().await;

    let small = jetstream::Config {
        prefetch_bytes: 100_000,
        ..one_lane()
    };
    queue::migrate(&configured(small.clone()), Some(&connect(&urls).await))
        .await
        .expect("migrated");
    let queue = node(&urls, small).await;
    hold(&*queue).await;
    let got = sequences(&gather(&*queue, 400).await);
    assert_eq!(got, Vec::from_iter(1..=400));
}
