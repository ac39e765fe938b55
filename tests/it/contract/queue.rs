//! What every ingest queue promises.

use std::sync::Arc;

use bytes::Bytes;
use quick_notify::domain::notification::{Audience, BodyHash};
use quick_notify::queue::{self, DeadLetter, Most, NewEntry, Queue, QueueError};
use tempfile::TempDir;

use crate::harness::{tempdir, within};

fn config() -> queue::Config {
    queue::Config {
        embedded: queue::embedded::Config {
            // Smaller than what the tests queue, so that reading back from the file is part of them.
            cache_bytes: 64,
            max_entries: 100,
            ..Default::default()
        },
        ..Default::default()
    }
}

async fn open(data: &TempDir) -> Arc<dyn Queue> {
    queue::build(&config(), data.path(), None)
        .await
        .expect("the queue opens")
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

async fn take(queue: &dyn Queue, max: usize) -> Vec<u64> {
    let taken = within("entries", queue.next(0, most(max))).await.expect("entries");
    taken.iter().map(|entry| entry.sequence).collect()
}

#[tokio::test]
async fn entries_come_in_order_and_again_until_they_are_settled() {
    let data = tempdir();
    let queue = open(&data).await;
    queue.publish(entries(0..20)).await;
    let mut got = Vec::new();
    while got.len() < 20 {
        got.extend(take(&*queue, 7).await);
    }
    assert_eq!(got, Vec::from_iter(1..=20));
    queue.settle(0, 5, Vec::new()).await.expect("settled");
    queue.hold(0).await.expect("rewound");
    assert_eq!(take(&*queue, 3).await, [6, 7, 8]);
}

#[tokio::test]
async fn a_batch_ends_by_its_bytes_but_holds_one_entry_at_least() {
    let data = tempdir();
    let queue = open(&data).await;
    queue.publish(entries(0..4)).await;
    let size = entry("n0", 0).payload.len();
    for (bytes, expected) in [(2 * size, vec![1, 2]), (1, vec![3]), (0, vec![4])] {
        let taken = queue.next(0, Most { entries: 10, bytes }).await.expect("entries");
        assert_eq!(Vec::from_iter(taken.iter().map(|entry| entry.sequence)), expected);
    }
}

#[tokio::test]
async fn what_is_not_settled_survives_and_sequences_are_never_reused() {
    let data = tempdir();
    let queue = open(&data).await;
    queue.publish(entries(0..3)).await;
    queue.settle(0, 2, Vec::new()).await.expect("settled");
    queue.close().await;
    let queue = open(&data).await;
    assert_eq!(take(&*queue, 10).await, [3]);
    queue.settle(0, 3, Vec::new()).await.expect("settled");
    queue.close().await;
    let queue = open(&data).await;
    let published = queue.publish(entries(5..6)).await;
    assert_eq!(
        published[0].as_ref().expect("queued").sequence,
        4,
        "after an empty file, too"
    );
    assert_eq!(take(&*queue, 10).await, [4]);
}

#[tokio::test]
async fn an_id_that_waits_is_not_queued_twice() {
    let data = tempdir();
    let queue = open(&data).await;
    let answers = queue.publish(vec![entry("a", 1), entry("a", 1), entry("a", 2)]).await;
    assert_eq!(
        answers[0].as_ref().map(|p| (p.sequence, p.duplicate)).ok(),
        Some((1, false))
    );
    assert_eq!(
        answers[1].as_ref().map(|p| (p.sequence, p.duplicate)).ok(),
        Some((1, true))
    );
    assert!(matches!(answers[2], Err(QueueError::Conflict)));
    queue.close().await;
    let queue = open(&data).await;
    let answers = queue.publish(vec![entry("a", 1)]).await;
    assert!(
        answers[0].as_ref().is_ok_and(|published| published.duplicate),
        "after a restart, too"
    );
    assert_eq!(queue.depth().await.expect("depth").last_sequence, 1);
}

#[tokio::test]
async fn a_full_queue_says_so_and_takes_again_when_there_is_room() {
    let data = tempdir();
    let queue = open(&data).await;
    let answers = queue.publish(entries(0..101)).await;
    assert!(
        answers[..100].iter().all(Result::is_ok),
        "an array is not atomic: what fits is taken"
    );
    assert!(matches!(answers[100], Err(QueueError::Full(_))));
    queue.settle(0, 50, Vec::new()).await.expect("settled");
    assert!(queue.publish(entries(200..201)).await[0].is_ok());
    assert_eq!(queue.depth().await.expect("depth").pending, 51);
}

#[tokio::test]
async fn entries_wait_for_a_consumer_and_a_consumer_for_entries() {
    let data = tempdir();
    let queue = open(&data).await;
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { take(&*queue, 10).await }
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

#[tokio::test]
async fn a_second_process_is_kept_off_the_same_data() {
    let data = tempdir();
    let _queue = open(&data).await;
    let Err(refused) = queue::build(&config(), data.path(), None).await else {
        panic!("two writers on one file");
    };
    assert!(
        refused
            .to_string()
            .contains("another quick-notify uses this data directory"),
        "{refused}"
    );
}

#[tokio::test]
async fn dead_letters_are_kept_with_their_reason() {
    let data = tempdir();
    let queue = open(&data).await;
    queue.publish(entries(0..2)).await;
    let letter = DeadLetter {
        sequence: 2,
        id: "n1".into(),
        reason: "conflict",
        detail: "the id is another's".into(),
        payload: Bytes::from_static(b"body"),
    };
    queue
        .settle(0, 2, vec![letter.clone(), letter])
        .await
        .expect("twice does no harm");
    queue.close().await;
    let mut file = crate::checker::open(data.path(), "queue.db").await;
    let kept: Vec<(i64, String, Vec<u8>)> = sqlx::query_as("select sequence, reason, payload from dead_letter")
        .fetch_all(&mut file)
        .await
        .expect("letters");
    assert_eq!(kept, [(2, "conflict".to_owned(), b"body".to_vec())]);
}

/// Who asked the record just before it had an id must not find the queue without it just after.
#[tokio::test]
async fn an_id_that_was_settled_a_moment_ago_is_known() {
    let data = tempdir();
    let queue = open(&data).await;
    let publish = async |hash: u8| queue.publish(vec![entry("a", hash)]).await.pop().expect("an answer");
    publish(0).await.expect("queued");
    take(&*queue, 10).await;
    queue.settle(0, 1, Vec::new()).await.expect("settled");
    assert!(publish(0).await.expect("known").duplicate);
    let other = publish(1).await;
    assert!(matches!(other, Err(QueueError::Conflict)), "{other:?}");
    assert_eq!(queue.depth().await.expect("a depth").pending, 0);
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

#[tokio::test]
async fn a_dead_letter_is_listed_until_it_is_replayed_as_it_came() {
    let data = tempdir();
    let queue = open(&data).await;
    let entries = accepted(&["a", "b", "c"]);
    let (first, last) = (entries[0].clone(), entries[2].clone());
    queue.publish(entries).await;
    take(&*queue, 10).await;
    let letters = vec![letter(1, &first), letter(3, &last)];
    queue.settle(0, 3, letters).await.expect("settled");
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
    let queue = open(&data).await;
    let again = within("the entry", queue.next(0, most(10))).await.expect("entries");
    let again: Vec<_> = again.iter().map(|entry| (entry.sequence, &entry.payload)).collect();
    assert_eq!(again, [(4, &first.payload)], "as it came, behind all others");
    assert_eq!(dead(&*queue, 0, 10).await, listed[1..]);
}

#[tokio::test]
async fn a_dead_letter_stays_while_its_id_is_queued_with_another_body() {
    let data = tempdir();
    let queue = open(&data).await;
    let entries = accepted(&["a"]);
    let died = entries[0].clone();
    queue.publish(entries).await;
    take(&*queue, 10).await;
    queue.settle(0, 1, vec![letter(1, &died)]).await.expect("settled");
    queue.publish(vec![entry("a", 9)]).await;
    let refused = queue.replay(1).await;
    assert!(matches!(refused, Err(QueueError::Conflict)), "{refused:?}");
    assert_eq!(dead(&*queue, 0, 10).await, [(1, "a".to_owned())]);
}

#[tokio::test]
async fn a_dead_letter_that_nobody_can_read_comes_again_as_it_came() {
    let data = tempdir();
    let queue = open(&data).await;
    queue.publish(entries(0..2)).await;
    take(&*queue, 10).await;
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
    let again = within("the entries", queue.next(0, most(10))).await.expect("entries");
    let again: Vec<_> = again.iter().map(|entry| &*entry.payload).collect();
    assert_eq!(again, [b"\xff\xfe", b"\xff\xfe"]);
}
