//! What every ingest queue promises.

mod embedded;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quick_notify::domain::notification::{Audience, BodyHash};
use quick_notify::nats;
use quick_notify::queue::{self, DeadLetter, Entry, Most, NewEntry, Published, Queue, QueueError};
use tempfile::TempDir;

use crate::harness::servers::Nats;
use crate::harness::{eventually, tempdir, within};

/// A place that outlives the queues which are opened there.
enum Place {
    Embedded(TempDir),
    /// One lane, so that sequences have no holes.
    Jetstream(Box<Nats>),
}

impl Place {
    fn embedded() -> Self {
        Self::Embedded(tempdir())
    }

    async fn jetstream() -> Self {
        Self::Jetstream(Box::new(Nats::start().await))
    }

    async fn open(&self) -> Arc<dyn Queue> {
        match self {
            Self::Embedded(data) => queue::build(&embedded::config(), data.path(), None).await,
            Self::Jetstream(server) => {
                let nats = nats::Config {
                    servers: vec![server.url()],
                    ..Default::default()
                };
                let nats = nats::connect(&nats).await.expect("a connection");
                let config = queue::Config {
                    adapter: queue::Adapter::Jetstream,
                    jetstream: queue::jetstream::Config {
                        partitions: 1,
                        max_messages: 100,
                        ..Default::default()
                    },
                    ..Default::default()
                };
                queue::build(&config, Path::new("unused"), Some(&nats)).await
            }
        }
        .expect("the queue opens")
    }

    /// The same id with another body: refused at once, or queued under a sequence of its own, for the record to find.
    fn is_conflict(&self, answer: &Result<Published, QueueError>) {
        match (self, answer) {
            (Self::Embedded(_), Err(QueueError::Conflict)) => {}
            (Self::Jetstream(_), Ok(published)) if !published.duplicate => {}
            _ => panic!("{answer:?}"),
        }
    }
}

/// Each story, over each adapter.
macro_rules! over_all {
    ($($story:ident)*) => {
        mod on_embedded {
            $(#[tokio::test] async fn $story() { super::$story(super::Place::embedded()).await })*
        }
        mod on_jetstream {
            $(#[tokio::test] async fn $story() { super::$story(super::Place::jetstream().await).await })*
        }
    };
}

over_all! {
    entries_come_in_order_and_again_until_they_are_settled
    a_batch_ends_by_its_bytes_but_holds_one_entry_at_least
    what_is_not_settled_survives_and_sequences_are_never_reused
    an_id_that_waits_is_not_queued_twice
    a_full_queue_says_so_and_takes_again_when_there_is_room
    entries_wait_for_a_consumer_and_a_consumer_for_entries
    an_id_that_was_settled_a_moment_ago_is_known
    a_dead_letter_is_listed_until_it_is_replayed_as_it_came
    a_dead_letter_that_nobody_can_read_comes_again_as_it_came
}

fn entry(id: &str, hash: u8) -> NewEntry {
    NewEntry {
        id: id.into(),
        hash: BodyHash([hash; 16]),
        to: Audience::User("alice".into()),
        payload: Bytes::from(format!("payload of {id}, long enough to fill the cache")),
    }
}

fn entries(ids: std::ops::Range<usize>) -> Vec<NewEntry> {
    ids.map(|n| entry(&format!("n{n}"), 0)).collect()
}

fn most(entries: usize) -> Most {
    Most {
        entries,
        bytes: 1_000_000,
    }
}

/// The next entries' sequences, up to `max`, as soon as there are some.
async fn take(queue: &dyn Queue, max: usize) -> Vec<u64> {
    let taken = within("entries", queue.next(0, most(max))).await.expect("entries");
    taken.iter().map(|entry| entry.sequence).collect()
}

/// The next `count` entries, in as many batches as it takes.
async fn gather(queue: &dyn Queue, count: usize) -> Vec<Entry> {
    let mut gathered = Vec::new();
    while gathered.len() < count {
        let most = most(count - gathered.len());
        gathered.extend(within("entries", queue.next(0, most)).await.expect("entries"));
    }
    gathered
}

fn sequences(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

/// Works on the lane, which is this queue's as soon as there is something in it.
async fn hold(queue: &dyn Queue) {
    within("the lane", queue.hold(0)).await.expect("held");
}

/// What is settled is gone a moment later.
async fn pending(queue: &dyn Queue, expected: u64) {
    eventually("what is settled is gone", async || {
        queue.depth().await.expect("a depth").pending == expected
    })
    .await;
}

async fn entries_come_in_order_and_again_until_they_are_settled(place: Place) {
    let queue = place.open().await;
    queue.publish(entries(0..20)).await;
    hold(&*queue).await;
    let mut got = Vec::new();
    while got.len() < 20 {
        let taken = take(&*queue, 7).await;
        assert!(taken.len() <= 7, "{taken:?}");
        got.extend(taken);
    }
    assert_eq!(got, Vec::from_iter(1..=20));
    queue.settle(0, 5, Vec::new()).await.expect("settled");
    hold(&*queue).await;
    assert_eq!(sequences(&gather(&*queue, 15).await), Vec::from_iter(6..=20));
}

async fn a_batch_ends_by_its_bytes_but_holds_one_entry_at_least(place: Place) {
    let queue = place.open().await;
    queue.publish(entries(0..4)).await;
    hold(&*queue).await;
    let size = entry("n0", 0).payload.len();
    let mut got = Vec::new();
    for (bytes, most) in [(2 * size, 2), (1, 1), (0, 1)] {
        let taken = within("entries", queue.next(0, Most { entries: 10, bytes }))
            .await
            .expect("entries");
        assert!((1..=most).contains(&taken.len()), "{taken:?}");
        got.extend(sequences(&taken));
    }
    assert_eq!(got, Vec::from_iter(1..=got.len() as u64));
}

async fn what_is_not_settled_survives_and_sequences_are_never_reused(place: Place) {
    let queue = place.open().await;
    queue.publish(entries(0..3)).await;
    hold(&*queue).await;
    gather(&*queue, 3).await;
    queue.settle(0, 2, Vec::new()).await.expect("settled");
    queue.close().await;
    let queue = place.open().await;
    hold(&*queue).await;
    assert_eq!(take(&*queue, 10).await, [3]);
    queue.settle(0, 3, Vec::new()).await.expect("settled");
    queue.close().await;
    let queue = place.open().await;
    let published = queue.publish(entries(5..6)).await;
    assert_eq!(
        published[0].as_ref().expect("queued").sequence,
        4,
        "after an empty queue, too"
    );
    hold(&*queue).await;
    assert_eq!(take(&*queue, 10).await, [4]);
}

async fn an_id_that_waits_is_not_queued_twice(place: Place) {
    let queue = place.open().await;
    let answers = queue.publish(vec![entry("a", 1), entry("a", 1), entry("a", 2)]).await;
    assert_eq!(
        answers[0].as_ref().map(|p| (p.sequence, p.duplicate)).ok(),
        Some((1, false))
    );
    assert_eq!(
        answers[1].as_ref().map(|p| (p.sequence, p.duplicate)).ok(),
        Some((1, true))
    );
    place.is_conflict(&answers[2]);
    let last = queue.depth().await.expect("depth").last_sequence;
    queue.close().await;
    let queue = place.open().await;
    let answers = queue.publish(vec![entry("a", 1)]).await;
    assert!(
        answers[0].as_ref().is_ok_and(|published| published.duplicate),
        "after a restart, too"
    );
    assert_eq!(queue.depth().await.expect("depth").last_sequence, last);
}

async fn a_full_queue_says_so_and_takes_again_when_there_is_room(place: Place) {
    let queue = place.open().await;
    let answers = queue.publish(entries(0..101)).await;
    assert!(
        answers[..100].iter().all(Result::is_ok),
        "an array is not atomic: what fits is taken"
    );
    assert!(matches!(answers[100], Err(QueueError::Full(_))), "{:?}", answers[100]);
    hold(&*queue).await;
    gather(&*queue, 50).await;
    queue.settle(0, 50, Vec::new()).await.expect("settled");
    pending(&*queue, 50).await;
    assert!(queue.publish(entries(200..201)).await[0].is_ok());
    pending(&*queue, 51).await;
}

async fn entries_wait_for_a_consumer_and_a_consumer_for_entries(place: Place) {
    let queue = place.open().await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move {
            hold(&*queue).await;
            take(&*queue, 10).await
        }
    });
    tokio::task::yield_now().await;
    queue.publish(entries(0..1)).await;
    assert_eq!(within("the consumer", waiting).await.expect("it ran"), [1]);
    let closing = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.next(0, most(10)).await }
    });
    tokio::task::yield_now().await;
    queue.close().await;
    assert!(
        within("the end", closing)
            .await
            .expect("it ran")
            .expect("no error")
            .is_empty()
    );
}

/// Who asked the record just before it had an id must not find the queue without it just after.
async fn an_id_that_was_settled_a_moment_ago_is_known(place: Place) {
    let queue = place.open().await;
    let publish = async |hash: u8| queue.publish(vec![entry("a", hash)]).await.pop().expect("an answer");
    publish(0).await.expect("queued");
    hold(&*queue).await;
    take(&*queue, 10).await;
    queue.settle(0, 1, Vec::new()).await.expect("settled");
    assert!(publish(0).await.expect("known").duplicate);
    pending(&*queue, 0).await;
    place.is_conflict(&publish(1).await);
}

/// Entries that a door might have queued, under these ids.
fn accepted(ids: &[&str]) -> Vec<NewEntry> {
    let queued = |id: &&str| {
        let notification = super::notification("alice", id, &format!("text of {id}"));
        NewEntry {
            id: notification.id.clone(),
            hash: notification.hash,
            to: notification.to.clone(),
            payload: serde_json::to_vec(&notification).expect("JSON").into(),
        }
    };
    ids.iter().map(queued).collect()
}

fn letter(sequence: u64, entry: &NewEntry) -> DeadLetter {
    DeadLetter {
        sequence,
        id: entry.id.clone(),
        reason: "conflict",
        detail: "the id is another's".into(),
        payload: entry.payload.clone(),
    }
}

async fn dead(queue: &dyn Queue, after: u64, limit: u32) -> Vec<(u64, String)> {
    let letters = queue.dead(after, limit).await.expect("letters");
    letters.into_iter().map(|letter| (letter.number, letter.id)).collect()
}

async fn a_dead_letter_is_listed_until_it_is_replayed_as_it_came(place: Place) {
    let queue = place.open().await;
    let entries = accepted(&["a", "b", "c"]);
    let (first, last) = (entries[0].clone(), entries[2].clone());
    queue.publish(entries).await;
    hold(&*queue).await;
    gather(&*queue, 3).await;
    let letters = vec![letter(1, &first), letter(3, &last)];
    let twice = letters.clone();
    queue
        .settle(0, 3, letters.into_iter().chain(twice).collect())
        .await
        .expect("twice does no harm");
    let listed = dead(&*queue, 0, 10).await;
    let [(one, _), (two, _)] = listed[..] else {
        panic!("two letters: {listed:?}");
    };
    assert_eq!(listed, [(one, "a".to_owned()), (two, "c".to_owned())]);
    assert_eq!(dead(&*queue, 0, 1).await, listed[..1]);
    assert_eq!(dead(&*queue, one, 10).await, listed[1..]);
    assert_eq!(dead(&*queue, two, 10).await, []);
    let kept = queue.dead(0, 1).await.expect("letters").remove(0);
    assert_eq!(
        (&*kept.reason, &*kept.detail, &kept.payload),
        ("conflict", "the id is another's", &first.payload)
    );

    assert!(queue.replay(one).await.expect("replayed"));
    assert!(
        !queue.replay(one).await.expect("an answer"),
        "it is a dead letter no more"
    );
    assert!(
        !queue.replay(1_000_000).await.expect("an answer"),
        "there never was one"
    );
    queue.close().await;
    let queue = place.open().await;
    hold(&*queue).await;
    let again = gather(&*queue, 1).await;
    let again: Vec<_> = again.iter().map(|entry| (entry.sequence, &entry.payload)).collect();
    assert_eq!(again, [(4, &first.payload)], "as it came, behind all others");
    assert_eq!(dead(&*queue, 0, 10).await, listed[1..]);
}

async fn a_dead_letter_that_nobody_can_read_comes_again_as_it_came(place: Place) {
    let queue = place.open().await;
    queue.publish(entries(0..2)).await;
    hold(&*queue).await;
    gather(&*queue, 2).await;
    let letters = [1, 2].map(|sequence| DeadLetter {
        sequence,
        id: String::new(),
        reason: "unreadable",
        detail: "no JSON".into(),
        payload: Bytes::from_static(b"\xff\xfe"),
    });
    queue.settle(0, 2, letters.into()).await.expect("settled");
    for number in [1, 2] {
        assert!(queue.replay(number).await.expect("replayed"));
    }
    let again = gather(&*queue, 2).await;
    let again: Vec<_> = again.iter().map(|entry| &*entry.payload).collect();
    assert_eq!(again, [b"\xff\xfe", b"\xff\xfe"]);
}
