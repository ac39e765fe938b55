//! Many dispatchers, sessions and sweeps on one record.

use std::sync::Arc;

use futures_util::future::{join, join_all, try_join_all};
use futures_util::poll;
use quick_notify::store::{Confirmation, Confirmed, Placed, Store, StoreError};

use super::{adds_up, batch, config, fresh, number, open, run, sql, try_open};
use crate::harness::servers::MariaDb;
use crate::harness::within;

/// Different receivers, so another partition each: only the key of the record sees both.
#[tokio::test]
async fn an_id_that_two_lanes_take_at_once_is_stored_once_and_the_other_is_a_conflict() {
    let (store, url) = fresh().await;
    let epochs = [claim(&*store, 0).await, claim(&*store, 1).await];
    for round in 1..=30 {
        let id = format!("same{round}");
        let one = batch(0, epochs[0], &[(round, "alice", &id)]);
        let other = batch(1, epochs[1], &[(round, "bob", &id)]);
        let (one, other) = join(store.insert(&one), store.insert(&other)).await;
        let placed = [one.expect("an answer")[0], other.expect("an answer")[0]];
        let stored = placed
            .iter()
            .filter(|placed| matches!(placed, Placed::Stored { .. }))
            .count();
        let conflicts = placed.iter().filter(|placed| **placed == Placed::Conflict).count();
        assert_eq!((stored, conflicts), (1, 1), "{placed:?}");
    }
    let lanes = store.lanes().await.expect("lanes");
    assert_eq!(
        lanes
            .iter()
            .map(|lane| (lane.stored, lane.refused))
            .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)),
        (30, 30)
    );
    adds_up(&mut sql(&url).await).await;
}

/// It happens while partitions change hands: no gap and no place given twice.
#[tokio::test]
async fn a_receiver_on_two_lanes_at_once_keeps_its_count() {
    let (store, _) = fresh().await;
    let lanes = (0..2).map(|lane| {
        let store = Arc::clone(&store);
        async move {
            let epoch = claim(&*store, lane).await;
            let mut seqs = Vec::new();
            for sequence in 1..=25 {
                let ids = [0, 1].map(|part| format!("lane{lane}-{sequence}-{part}"));
                let items = [(2 * sequence, "alice", &*ids[0]), (2 * sequence + 1, "alice", &*ids[1])];
                for placed in store.insert(&batch(lane, epoch, &items)).await.expect("stored") {
                    match placed {
                        Placed::Stored { seq } => seqs.push(seq),
                        other => panic!("{other:?}"),
                    }
                }
            }
            seqs
        }
    });
    let mut seqs = join_all(lanes).await.concat();
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
}

/// Four dispatchers store, devices confirm the same ids in another order, users read and delete, two nodes sweep: none of them gets an error,
/// and at every moment the tallies add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dispatchers_confirmations_and_sweeps_at_once_end_well_and_add_up() {
    const ROUNDS: u64 = 12;
    const USERS: u64 = 10;
    let (store, url) = fresh().await;
    let id = |lane: u32, round: u64, user: u64| format!("n{lane}-{round}-{user}");
    let name = |lane: u32, user: u64| format!("user{lane}-{user}");
    let mut tasks = Vec::new();
    for lane in 0..4 {
        let (store, rounds) = (Arc::clone(&store), tokio::sync::watch::channel(0));
        let epoch = claim(&*store, lane).await;
        let (sender, seen) = rounds;
        let dispatcher = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            for round in 1..=ROUNDS {
                let entries: Vec<_> = (0..USERS)
                    .map(|user| (name(lane, user), id(lane, round, user)))
                    .collect();
                let items: Vec<_> = entries
                    .iter()
                    .zip(round * USERS..)
                    .map(|((user, id), sequence)| (sequence, &**user, &**id))
                    .collect();
                let placed = dispatcher.insert(&batch(lane, epoch, &items)).await.expect("stored");
                assert_eq!(placed, vec![Placed::Stored { seq: round }; USERS as usize]);
                sender.send(round).expect("someone listens");
            }
        }));
        for device in 0..3 {
            let (store, mut seen) = (Arc::clone(&store), seen.clone());
            tasks.push(tokio::spawn(async move {
                for round in 1..=ROUNDS {
                    seen.wait_for(|done| *done >= round).await.expect("it comes");
                    let mut confirmations: Vec<_> = (0..USERS)
                        .map(|user| Confirmation {
                            user: name(lane, user).into(),
                            id: id(lane, round, user),
                            look_only: false,
                        })
                        .collect();
                    // Each device in an order of its own.
                    confirmations.rotate_left(device * 3);
                    if device == 1 {
                        confirmations.reverse();
                    }
                    let found = store.confirm(&confirmations, 2_000).await.expect("an answer");
                    assert!(
                        found.iter().all(|found| !matches!(found, Confirmed::Unknown)),
                        "{found:?}"
                    );
                    let ids = [id(lane, round, 0), id(lane, round, 1)];
                    store.mark_viewed(&name(lane, 1), &ids, 2_000).await.expect("viewed");
                    store.delete(&name(lane, 0), &ids, 2_000).await.expect("deleted");
                }
            }));
        }
    }
    let workers = try_join_all(tasks);
    tokio::pin!(workers);
    let mut look = sql(&url).await;
    let mut looks = 0;
    while poll!(&mut workers).is_pending() {
        adds_up(&mut look).await;
        looks += 1;
    }
    assert!(looks > 3, "only {looks} looks while it happened");
    let all = (4 * ROUNDS * USERS) as i64;
    assert_eq!(number(&mut look, "select count(*) from notify_log").await, all);
    assert_eq!(
        number(&mut look, "select sum(confirmed + deleted) from notify_tally").await,
        all
    );

    let other = open(&url).await;
    let sweeps = (0..100).map(|n| {
        if n % 2 == 0 {
            store.sweep(1_001, 7)
        } else {
            other.sweep(1_001, 7)
        }
    });
    let removed: u64 = try_join_all(sweeps)
        .await
        .expect("swept")
        .iter()
        .map(|swept| swept.removed)
        .sum();
    let left = number(&mut look, "select count(*) from notify_log").await;
    assert_eq!(removed as i64 + left, all, "no row is removed twice");
    adds_up(&mut look).await;
}

/// The lane's row is locked by someone who has stopped: the server ends that, and the zombie that wakes has changed nothing.
#[tokio::test]
async fn a_dispatcher_that_freezes_in_the_middle_of_a_batch_gives_its_lane_up() {
    let url = MariaDb::shared().await.url;
    let mut settings = config(&url);
    settings.mysql.idle_transaction_seconds = 1;
    let frozen = try_open(&settings).await.expect("the record opens");
    let store = open(&url).await;
    let old = claim(&*frozen, 0).await;
    let work = batch(0, old, &[(1, "alice", "a1")]);
    let mut insert = frozen.insert(&work);
    half_way(&url, &mut insert).await;
    // From here on nobody asks it to go on.
    let new = within("a takeover", claim(&*store, 0)).await;
    assert!(new > old);
    let woken = insert.await;
    assert!(woken.as_ref().is_err_and(StoreError::is_retryable), "{woken:?}");
    let again = frozen.insert(&work).await;
    assert!(matches!(again, Err(StoreError::Fenced)), "{again:?}");
    assert_eq!(number(&mut sql(&url).await, "select count(*) from notify_log").await, 0);
}

#[tokio::test]
async fn a_batch_that_is_dropped_half_way_leaves_nothing_and_frees_its_lane() {
    let (store, url) = fresh().await;
    let epoch = claim(&*store, 0).await;
    let work = batch(0, epoch, &[(1, "alice", "a1")]);
    let mut insert = store.insert(&work);
    half_way(&url, &mut insert).await;
    drop(insert);
    let placed = within("the lane", store.insert(&work)).await.expect("stored");
    assert_eq!(placed, [Placed::Stored { seq: 1 }]);
    assert_eq!(store.lanes().await.expect("lanes")[0].stored, 1);
}

/// More than one statement takes, in number and in octets.
#[tokio::test]
async fn a_batch_larger_than_a_statement_is_one_transaction_all_the_same() {
    let (store, url) = fresh().await;
    let epoch = claim(&*store, 0).await;
    let ids: Vec<String> = (0..2_500).map(|n| format!("many{n}")).collect();
    let mut work = batch(0, epoch, &[]);
    let large = "y".repeat(60_000);
    for (sequence, id) in (1..).zip(&ids) {
        let text = if sequence % 25 == 0 { &large } else { "x" };
        work.items.push(quick_notify::store::Item {
            sequence,
            notification: Some(crate::contract::notification(
                &format!("user{}", sequence % 1_700),
                id,
                text,
            )),
        });
    }
    let placed = store.insert(&work).await.expect("stored");
    assert!(placed.iter().all(|placed| matches!(placed, Placed::Stored { .. })));
    let again = store.insert(&work).await.expect("no harm");
    assert!(again.iter().all(|placed| matches!(placed, Placed::Duplicate { .. })));
    let mut look = sql(&url).await;
    assert_eq!(number(&mut look, "select count(*) from notify_log").await, 2_500);
    assert_eq!(
        number(&mut look, "select sum(last_seq) from notify_receiver").await,
        2_500
    );
    assert_eq!(
        number(&mut look, "select count(*) from notify_log where length(data) = 60002").await,
        100
    );
}

async fn claim(store: &dyn Store, lane: u32) -> u64 {
    store.claim(lane).await.expect("the lane")
}

/// Brings an insert of lane 0 to where it holds the lane and has written nothing: it waits for the lane while we hold it, and learns that it has it
/// only when it is asked to go on.
async fn half_way(url: &str, insert: &mut (impl Future + Unpin)) {
    const ASKING: &str = "select count(*) from information_schema.processlist \
                          where db = database() and command = 'Query' and info like 'select epoch%for update'";
    const TAKEN: &str =
        "select 1 - count(*) from (select lane from notify_lane where lane = 0 for update skip locked) free";
    let (mut gate, mut look) = (sql(url).await, sql(url).await);
    run(&mut gate, "begin").await;
    run(&mut gate, "select * from notify_lane where lane = 0 for update").await;
    within("a question for the lane", async {
        while number(&mut look, ASKING).await == 0 {
            assert!(poll!(&mut *insert).is_pending(), "it did not wait for its lane");
        }
    })
    .await;
    run(&mut gate, "commit").await;
    within("the lane's change of hands", async {
        while number(&mut look, TAKEN).await == 0 {}
    })
    .await;
}
