//! Records that several nodes share: many lanes at once, and whoever comes late.

use std::collections::HashSet;
use std::sync::Arc;

use quick_notify::store::{Batch, Confirmation, Item, Placed, Store, StoreError};
use tokio::task::JoinSet;

use super::super::notification;
use super::{ids, page, stores};

/// Every adapter that several nodes can share.
async fn shared_stores() -> Vec<Arc<dyn Store>> {
    let stores = stores().await.into_iter().map(|(store, _data)| store);
    stores.filter(|store| store.name() != "sqlite").collect()
}

fn batch_of(lane: u32, epoch: u64, first: u64, items: impl IntoIterator<Item = (String, String)>) -> Batch {
    let item = |(sequence, (user, id)): (u64, (String, String))| Item {
        sequence,
        notification: Some(notification(&user, &id, "x")),
    };
    Batch {
        lane,
        epoch,
        items: (first..).zip(items).map(item).collect(),
    }
}

/// Four dispatchers store while sessions confirm what is there: nothing waits in a circle, and every number fits at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lanes_store_at_once_while_sessions_confirm() {
    const LANES: u32 = 4;
    const BATCHES: u64 = 12;
    const USERS: u64 = 5;
    const SIZE: u64 = 25;
    for store in shared_stores().await {
        let mut work = JoinSet::new();
        for lane in 0..LANES {
            let store = Arc::clone(&store);
            work.spawn(async move {
                let epoch = store.claim(lane).await.expect("the lane");
                for round in 0..BATCHES {
                    let first = round * SIZE;
                    // Receivers in another order each time; each has its lane.
                    let items = (0..SIZE).map(|n| {
                        let user = (n * (round + 1)) % USERS;
                        (format!("u{lane}-{user}"), format!("n{lane}-{}", first + n))
                    });
                    let batch = batch_of(lane, epoch, first + 1, items);
                    let placed = store.insert(&batch).await.expect("stored");
                    assert!(placed.iter().all(|place| matches!(place, Placed::Stored { .. })));
                    // Every second one, by two nodes at once, in opposite orders, some of them twice.
                    let mut confirmations: Vec<_> = (0..SIZE)
                        .step_by(2)
                        .map(|n| Confirmation {
                            user: format!("u{lane}-{}", (n * (round + 1)) % USERS).into(),
                            id: format!("n{lane}-{}", first + n),
                            look_only: false,
                        })
                        .collect();
                    let forth = confirmations.clone();
                    confirmations.extend(forth.clone());
                    confirmations.reverse();
                    let (a, b) = tokio::join!(store.confirm(&forth, 2_000), store.confirm(&confirmations, 2_000));
                    let answers = [a.expect("an answer"), b.expect("an answer")].concat();
                    let firsts = answers
                        .iter()
                        .filter(|answer| matches!(answer, quick_notify::store::Confirmed::First { .. }));
                    assert_eq!(firsts.count(), forth.len(), "each is confirmed once");
                }
            });
        }
        while let Some(done) = work.join_next().await {
            done.expect("a lane's work");
        }
        let mut open = 0;
        for lane in 0..LANES {
            for user in 0..USERS {
                let user = format!("u{lane}-{user}");
                let all = page(&*store, &user, 0, Some(0), 1_000).await;
                let seqs: Vec<_> = all.rows.iter().map(|row| row.seq.expect("a seq")).collect();
                assert_eq!(seqs, (1..=all.last_seq).collect::<Vec<_>>(), "{user} has no gaps");
                open += page(&*store, &user, 0, None, 1_000).await.rows.len() as u64;
            }
            let rung = store.rung(lane, 0, u64::MAX >> 1, 10_000).await.expect("positions");
            let positions: Vec<_> = rung.iter().map(|rung| rung.position).collect();
            assert_eq!(positions, (1..=BATCHES * SIZE).collect::<Vec<_>>());
        }
        let lanes = store.lanes().await.expect("lanes");
        assert_eq!(
            lanes.iter().map(|lane| lane.stored).sum::<u64>(),
            u64::from(LANES) * BATCHES * SIZE
        );
        assert_eq!(lanes.iter().map(|lane| lane.open).sum::<u64>(), open);
        for lane in lanes {
            let ended: u64 = lane.ended.iter().map(|(_, count)| count).sum();
            assert_eq!(lane.stored, ended + lane.open);
            assert_eq!(ended, BATCHES * SIZE.div_ceil(2));
        }
    }
}

/// The id is the producer's: two of them may choose the same. One is stored, whichever came first; the other is a conflict, and no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_ids_on_two_lanes_are_stored_once() {
    for store in shared_stores().await {
        let (left, right) = (
            store.claim(0).await.expect("a lane"),
            store.claim(1).await.expect("a lane"),
        );
        let mut places = Vec::new();
        for round in 0..20u64 {
            let ids: Vec<_> = (0..10).map(|n| format!("r{round}-{n}")).collect();
            let forth = ids.iter().map(|id| ("alice".to_owned(), id.clone()));
            // In the opposite order, so that each could hold what the other one waits for.
            let back = ids.iter().rev().map(|id| ("bob".to_owned(), id.clone()));
            let (forth, back) = (
                batch_of(0, left, round * 10 + 1, forth),
                batch_of(1, right, round * 10 + 1, back),
            );
            let (a, b) = tokio::join!(store.insert(&forth), store.insert(&back));
            let (a, mut b) = (a.expect("stored"), b.expect("stored"));
            b.reverse();
            for (a, b) in a.iter().zip(&b) {
                let stored = [a, b].map(|place| matches!(place, Placed::Stored { .. }));
                assert!(stored[0] != stored[1], "{a:?} and {b:?}");
                assert!([a, b].contains(&&Placed::Conflict), "{a:?} and {b:?}");
            }
            places.push((a, b));
        }
        let (alice, bob) = (
            page(&*store, "alice", 0, None, 1_000).await,
            page(&*store, "bob", 0, None, 1_000).await,
        );
        let all: HashSet<_> = ids(&alice).into_iter().chain(ids(&bob)).collect();
        assert_eq!(all.len(), 200);
        for page in [&alice, &bob] {
            assert_eq!(page.rows.len() as u64, page.last_seq, "a conflict leaves no gap");
        }
    }
}

/// A dispatcher that was frozen wakes with a batch in hand, while its successor works.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_zombies_batch_changes_nothing_while_the_new_holder_works() {
    for store in shared_stores().await {
        let old = store.claim(2).await.expect("the lane");
        store
            .insert(&batch_of(2, old, 1, [("alice".to_owned(), "a1".to_owned())]))
            .await
            .expect("stored");
        let new = store.claim(2).await.expect("taken over");
        let mut work = JoinSet::new();
        for zombie in 0..4 {
            let store = Arc::clone(&store);
            work.spawn(async move {
                for n in 0..10u64 {
                    let batch = batch_of(2, old, 2 + n, [("alice".to_owned(), format!("z{zombie}-{n}"))]);
                    let refused = store.insert(&batch).await;
                    assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
                }
            });
        }
        for n in 2..30u64 {
            let batch = batch_of(2, new, n, [("alice".to_owned(), format!("a{n}"))]);
            assert_eq!(store.insert(&batch).await.expect("stored"), [Placed::Stored { seq: n }]);
        }
        while let Some(done) = work.join_next().await {
            done.expect("the zombies are told");
        }
        let inbox = page(&*store, "alice", 0, None, 100).await;
        assert!(ids(&inbox).iter().all(|id| id.starts_with('a')) && inbox.last_seq == 29);
        let lane = store.lanes().await.expect("lanes").remove(0);
        assert_eq!((lane.settled, lane.position, lane.stored), (29, 29, 29));
    }
}

/// A zombie whose batch lies ahead of what is stored: without the fence its row would stand before earlier ones, and the entries between would
/// be counted nowhere.
#[tokio::test]
async fn a_zombie_that_is_ahead_does_not_get_before_the_others() {
    for store in shared_stores().await {
        let old = store.claim(2).await.expect("the lane");
        let new = store.claim(2).await.expect("taken over");
        let entry = |epoch, sequence, id: &str| batch_of(2, epoch, sequence, [("alice".to_owned(), id.to_owned())]);
        let zombie = store.insert(&entry(old, 3, "a3")).await;
        assert!(matches!(zombie, Err(StoreError::Fenced)), "{zombie:?}");
        for (sequence, id, placed) in [
            (1, "a1", Placed::Stored { seq: 1 }),
            (2, "a1", Placed::Duplicate { seq: 1 }),
            (3, "a3", Placed::Stored { seq: 2 }),
        ] {
            assert_eq!(
                store.insert(&entry(new, sequence, id)).await.expect("an answer"),
                [placed]
            );
        }
        let lane = store.lanes().await.expect("lanes").remove(0);
        assert_eq!((lane.stored, lane.duplicates, lane.settled), (2, 1, 3));
    }
}

/// Every node sweeps; what one of them does, the others leave alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_sweep_at_once_remove_each_row_once() {
    for store in shared_stores().await {
        for lane in 0..3 {
            let epoch = store.claim(lane).await.expect("the lane");
            let items = (0..100).map(|n| (format!("u{lane}-{}", n % 7), format!("s{lane}-{n}")));
            store.insert(&batch_of(lane, epoch, 1, items)).await.expect("stored");
        }
        let mut work = JoinSet::new();
        for _ in 0..4 {
            let store = Arc::clone(&store);
            work.spawn(async move {
                let mut removed = 0;
                // A sweep that another one kept from working finds nothing: only the lanes say when all is done.
                while store.lanes().await.expect("lanes").iter().any(|lane| lane.open > 0) {
                    let swept = store.sweep(5_000, 20).await.expect("swept");
                    assert!(swept.removed <= 20 && swept.expired.len() as u64 == swept.removed);
                    removed += swept.removed;
                }
                removed
            });
        }
        let mut removed = 0;
        while let Some(done) = work.join_next().await {
            removed += done.expect("swept");
        }
        assert_eq!(removed, 300);
        for lane in store.lanes().await.expect("lanes") {
            let ended: u64 = lane.ended.iter().map(|(_, count)| count).sum();
            assert_eq!((lane.stored, ended, lane.open), (100, 100, 0));
        }
        let empty = page(&*store, "u0-0", 0, Some(0), 10).await;
        assert_eq!((empty.rows.len(), empty.removed_through), (0, empty.last_seq));
    }
}
