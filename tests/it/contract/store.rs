//! What every record promises. `told`: what nodes tell each other through it; `lanes`: with several dispatchers at work; `unreached`: what nobody was there to get; `postgres`: with a server that goes away, and with today's table.

mod lanes;
mod postgres;
mod told;
mod unreached;

use std::sync::Arc;

use quick_notify::domain::outcome::Outcome;
use quick_notify::store::{
    self, Adapter, Batch, Confirmation, Confirmed, Item, Kept, Page, PageQuery, Placed, Store, StoreError,
};
use tempfile::TempDir;

use super::notification;
use crate::harness::servers::{MariaDb, Postgres};
use crate::harness::tempdir;

/// Every adapter, fresh. The directory has to outlive its record.
async fn stores() -> Vec<(Arc<dyn Store>, TempDir)> {
    let mut stores = Vec::new();
    let (postgres, mariadb) = tokio::join!(Postgres::shared(), MariaDb::shared());
    let mut mysql = store::Config {
        adapter: Adapter::Mysql,
        ..Default::default()
    };
    mysql.mysql.url = mariadb.url;
    for config in [store::Config::default(), postgres::config(&postgres.url), mysql] {
        let data = tempdir();
        let store = store::build(&config, data.path()).await.expect("the record opens");
        stores.push((store, data));
    }
    stores
}

/// A batch from (sequence, user, id, text).
fn batch(epoch: u64, items: &[(u64, &str, &str, &str)]) -> Batch {
    let item = |(sequence, user, id, text): &(u64, &str, &str, &str)| Item {
        sequence: *sequence,
        notification: Some(notification(user, id, text)),
    };
    Batch {
        lane: 0,
        epoch,
        items: items.iter().map(item).collect(),
    }
}

async fn page(store: &dyn Store, user: &str, after: u64, all_after: Option<u64>, limit: u32) -> Page {
    let query = PageQuery {
        user: user.into(),
        after,
        all_after,
        limit,
    };
    store.page(&query).await.expect("a page")
}

fn ids(page: &Page) -> Vec<&str> {
    page.rows.iter().map(|row| &*row.id).collect()
}

async fn confirm(store: &dyn Store, user: &str, id: &str) -> Confirmed {
    let confirmation = Confirmation {
        user: user.into(),
        id: id.into(),
        look_only: false,
    };
    store.confirm(&[confirmation], 2_000).await.expect("an answer")[0]
}

#[tokio::test]
async fn seq_counts_each_receivers_notifications_without_gaps() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let first = batch(
            epoch,
            &[(1, "alice", "a1", "x"), (2, "bob", "b1", "x"), (3, "alice", "a2", "x")],
        );
        let placed = store.insert(&first).await.expect("stored");
        assert_eq!(placed, [1, 1, 2].map(|seq| Placed::Stored { seq }));
        let second = batch(epoch, &[(4, "alice", "a3", "x")]);
        assert_eq!(
            store.insert(&second).await.expect("stored"),
            [Placed::Stored { seq: 3 }]
        );
        assert_eq!(ids(&page(&*store, "alice", 0, None, 10).await), ["a1", "a2", "a3"]);
    }
}

#[tokio::test]
async fn a_batch_that_comes_again_changes_nothing() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let batch = batch(epoch, &[(1, "alice", "a1", "x"), (2, "alice", "a2", "x")]);
        store.insert(&batch).await.expect("stored");
        let before = store.lanes().await.expect("lanes")[0].clone();
        let again = store.insert(&batch).await.expect("no harm");
        assert_eq!(again, [1, 2].map(|seq| Placed::Duplicate { seq }));
        let after = store.lanes().await.expect("lanes")[0].clone();
        assert_eq!(
            (before.stored, before.settled, before.duplicates),
            (after.stored, after.settled, after.duplicates)
        );
    }
}

#[tokio::test]
async fn the_same_id_with_another_body_is_a_conflict_and_the_first_stands() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let items = [
            (1, "alice", "a1", "first"),
            (2, "alice", "a1", "second"),
            (3, "bob", "a1", "first"),
        ];
        let placed = store.insert(&batch(epoch, &items)).await.expect("stored");
        assert_eq!(placed, [Placed::Stored { seq: 1 }, Placed::Conflict, Placed::Conflict]);
        let rows = page(&*store, "alice", 0, None, 10).await.rows;
        assert_eq!(rows[0].data.get(), "\"first\"");
        assert_eq!(store.lanes().await.expect("lanes")[0].refused, 2);
    }
}

#[tokio::test]
async fn a_zombie_with_an_old_epoch_changes_nothing() {
    for (store, _data) in stores().await {
        let old = store.claim(0).await.expect("the lane");
        let new = store.claim(0).await.expect("taken over");
        assert!(new > old);
        let refused = store.insert(&batch(old, &[(1, "alice", "a1", "x")])).await;
        assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
        assert_eq!(page(&*store, "alice", 0, None, 10).await.last_seq, 0);
        store
            .insert(&batch(new, &[(1, "alice", "a1", "x")]))
            .await
            .expect("the new one works");
    }
}

#[tokio::test]
async fn ids_and_receivers_compare_byte_by_byte() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let long = "x".repeat(63) + "é";
        let (longest, same_but_for_the_last) = ("🔔".repeat(64), "🔔".repeat(63) + "🔕");
        let names = [
            "alice",
            "Alice",
            "alice ",
            "älice",
            "🔔",
            &long,
            &longest,
            &same_but_for_the_last,
        ];
        let items: Vec<_> = names
            .iter()
            .zip(1..)
            .map(|(name, sequence)| (sequence, *name, *name, "\u{0}"))
            .collect();
        let placed = store.insert(&batch(epoch, &items)).await.expect("stored");
        assert_eq!(placed, [Placed::Stored { seq: 1 }; 8]);
        for name in names {
            let page = page(&*store, name, 0, None, 10).await;
            assert_eq!(ids(&page), [name]);
            assert_eq!(page.rows[0].data.get(), "\"\\u0000\"");
        }
    }
}

#[tokio::test]
async fn the_first_outcome_stands_and_only_for_its_own_user() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        store
            .insert(&batch(epoch, &[(1, "alice", "a1", "x"), (2, "alice", "a2", "x")]))
            .await
            .expect("stored");
        assert_eq!(confirm(&*store, "bob", "a1").await, Confirmed::Unknown);
        assert_eq!(confirm(&*store, "alice", "nothing").await, Confirmed::Unknown);
        assert_eq!(
            confirm(&*store, "alice", "a1").await,
            Confirmed::First { seq: 1, created: 1_000 }
        );
        assert_eq!(confirm(&*store, "alice", "a1").await, Confirmed::Again { seq: 1 });
        assert_eq!(
            store.delete("alice", &["a1".into()], 2_000).await.expect("deleted"),
            ["a1"]
        );
        let lane = store.lanes().await.expect("lanes")[0].clone();
        let ended = |outcome| {
            lane.ended
                .iter()
                .find(|(known, _)| *known == outcome)
                .map(|(_, count)| *count)
        };
        assert_eq!(
            (ended(Outcome::Confirmed), ended(Outcome::Deleted), lane.open),
            (Some(1), Some(0), 1)
        );
    }
}

#[tokio::test]
async fn looking_writes_nothing() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        store
            .insert(&batch(epoch, &[(1, "alice", "a1", "x")]))
            .await
            .expect("stored");
        let look = Confirmation {
            user: "alice".into(),
            id: "a1".into(),
            look_only: true,
        };
        let found = store.confirm(&[look], 2_000).await.expect("an answer");
        assert_eq!(found, [Confirmed::Again { seq: 1 }]);
        assert_eq!(store.lanes().await.expect("lanes")[0].open, 1);
    }
}

#[tokio::test]
async fn a_page_has_what_is_open_and_above_a_mark_all_that_is_kept() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let items: Vec<_> = (1..=6)
            .map(|n| (n, "alice", ["", "a1", "a2", "a3", "a4", "a5", "a6"][n as usize], "x"))
            .collect();
        store.insert(&batch(epoch, &items)).await.expect("stored");
        for id in ["a2", "a4", "a5"] {
            confirm(&*store, "alice", id).await;
        }
        store.delete("alice", &["a5".into()], 2_000).await.expect("deleted");
        assert_eq!(ids(&page(&*store, "alice", 0, None, 10).await), ["a1", "a3", "a6"]);
        assert_eq!(
            ids(&page(&*store, "alice", 0, Some(3), 10).await),
            ["a1", "a3", "a4", "a6"]
        );
        assert_eq!(
            ids(&page(&*store, "alice", 0, Some(0), 10).await),
            ["a1", "a2", "a3", "a4", "a6"]
        );
        let first = page(&*store, "alice", 0, Some(3), 2).await;
        assert_eq!(
            (ids(&first), first.complete, first.last_seq),
            (vec!["a1", "a3"], false, 6)
        );
        let second = page(&*store, "alice", 3, Some(3), 2).await;
        assert_eq!((ids(&second), second.complete), (vec!["a4", "a6"], true));
        assert_eq!(page(&*store, "nobody", 0, None, 2).await.last_seq, 0);
    }
}

#[tokio::test]
async fn history_unread_viewed_and_delete_are_the_users_own() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let items = [
            (1, "alice", "a1", "x"),
            (2, "bob", "b1", "x"),
            (3, "alice", "a2", "x"),
            (4, "alice", "a3", "x"),
        ];
        store.insert(&batch(epoch, &items)).await.expect("stored");
        let all = ["a1".to_owned(), "b1".to_owned(), "a2".to_owned()];
        assert_eq!(store.unread("alice").await.expect("a number").unread, 3);
        assert_eq!(
            store.mark_viewed("alice", &all[..2], 2_000).await.expect("viewed"),
            ["a1"]
        );
        assert_eq!(
            store.mark_viewed("alice", &all[..2], 2_000).await.expect("viewed"),
            Vec::<String>::new()
        );
        assert_eq!(store.unread("alice").await.expect("a number").unread, 2);
        assert_eq!(store.delete("alice", &all[1..], 2_000).await.expect("deleted"), ["a2"]);
        assert_eq!(store.unread("alice").await.expect("a number").unread, 1);
        let listed = store.history("alice", i64::MAX, 0, 10).await.expect("history");
        let listed: Vec<_> = listed.iter().map(|row| (&*row.id, row.viewed)).collect();
        assert_eq!(listed, [("a3", false), ("a1", true)]);
        assert_eq!(store.history("alice", i64::MAX, 1, 10).await.expect("history").len(), 1);
        assert_eq!(store.history("alice", 1_000, 0, 10).await.expect("history").len(), 0);
        let unread = store.unread("bob").await.expect("a number");
        assert_eq!((unread.unread, unread.last_seq), (1, 1));
        let unread = store.unread("nobody").await.expect("a number");
        assert_eq!((unread.unread, unread.last_seq), (0, 0));
    }
}

#[tokio::test]
async fn what_was_deleted_keeps_its_id_taken() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let draft = notification("alice", "a1", "x");
        store
            .insert(&batch(epoch, &[(1, "alice", "a1", "x")]))
            .await
            .expect("stored");
        store.delete("alice", &["a1".into()], 2_000).await.expect("deleted");
        assert_eq!(
            store.lookup(&["a1", "a2"]).await.expect("hashes"),
            [
                Some(Kept {
                    hash: draft.hash,
                    seq: 1
                }),
                None
            ]
        );
        let placed = store
            .insert(&batch(epoch, &[(2, "alice", "a1", "x")]))
            .await
            .expect("no harm");
        assert_eq!(placed, [Placed::Duplicate { seq: 1 }]);
        assert!(page(&*store, "alice", 0, Some(0), 10).await.rows.is_empty());
    }
}

#[tokio::test]
async fn retention_expires_what_is_open_and_counters_outlive_rows() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        store
            .insert(&batch(epoch, &[(1, "alice", "a1", "x"), (2, "alice", "a2", "x")]))
            .await
            .expect("stored");
        confirm(&*store, "alice", "a1").await;
        assert_eq!(
            store.sweep(1_000, 10).await.expect("swept").removed,
            0,
            "created at 1000 is not before 1000"
        );
        let swept = store.sweep(1_001, 1).await.expect("swept");
        assert_eq!((swept.expired.len(), swept.removed), (0, 1), "a batch is bounded");
        let swept = store.sweep(1_001, 10).await.expect("swept");
        assert_eq!((swept.expired.len(), swept.removed), (1, 1));
        let gone = &swept.expired[0];
        assert_eq!(
            (&*gone.id, &*gone.receiver, gone.seq, gone.created),
            ("a2", "alice", 2, 1_000),
            "what expired is named"
        );
        let empty = page(&*store, "alice", 0, Some(0), 10).await;
        assert_eq!((empty.rows.len(), empty.last_seq, empty.removed_through), (0, 2, 2));
        let lane = store.lanes().await.expect("lanes")[0].clone();
        let ended: u64 = lane.ended.iter().map(|(_, count)| count).sum();
        assert_eq!((lane.stored, ended, lane.open), (2, 2, 0));
        let placed = store
            .insert(&batch(epoch, &[(3, "alice", "a3", "x")]))
            .await
            .expect("stored");
        assert_eq!(placed, [Placed::Stored { seq: 3 }], "seq goes on where it was");
    }
}

/// A client may name anything; what no notification can be called is not there, and no failure of the record.
#[tokio::test]
async fn a_name_that_no_notification_can_have_is_unknown() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        store
            .insert(&batch(epoch, &[(1, "alice", "a1", "x")]))
            .await
            .expect("stored");
        let long = "x".repeat(100_000);
        for name in ["\u{0}", "a1\u{0}", "", &long] {
            assert_eq!(confirm(&*store, "alice", name).await, Confirmed::Unknown);
            let ids = [name.to_owned(), "a1".to_owned()];
            store.mark_viewed("alice", &ids[..1], 2_000).await.expect("an answer");
            assert_eq!(
                store.delete("alice", &ids[..1], 2_000).await.expect("an answer"),
                Vec::<String>::new()
            );
            assert_eq!(store.lookup(&[name]).await.expect("an answer"), [None]);
        }
        assert_eq!(confirm(&*store, "alice", "a1").await.seq(), Some(1));
    }
}

/// What brings no row is counted by what the lane had settled before, and what repeats an id of its own batch by that row's body.
#[tokio::test]
async fn a_batch_of_every_kind_is_counted_once() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let mut mixed = batch(
            epoch,
            &[
                (3, "alice", "a1", "x"),
                (4, "alice", "a1", "x"),
                (5, "alice", "a1", "y"),
                (6, "alice", "a2", "x"),
                (8, "alice", "a2", "x"),
            ],
        );
        mixed.items[3].notification.as_mut().expect("one").persist = false;
        mixed.items.insert(
            4,
            Item {
                sequence: 7,
                notification: None,
            },
        );
        let seq = |seq| Placed::Stored { seq };
        let told = Placed::Transient { repeated: false };
        assert_eq!(
            store.insert(&mixed).await.expect("stored"),
            [
                seq(1),
                Placed::Duplicate { seq: 1 },
                Placed::Conflict,
                told,
                Placed::Unreadable,
                seq(2)
            ]
        );
        let again = [
            Placed::Duplicate { seq: 1 },
            Placed::Duplicate { seq: 1 },
            Placed::Conflict,
            Placed::Transient { repeated: true },
            Placed::Unreadable,
            Placed::Duplicate { seq: 2 },
        ];
        let counted = async || {
            let lane = store.lanes().await.expect("lanes").remove(0);
            (lane.settled, lane.stored, lane.duplicates, lane.transient, lane.refused)
        };
        for _ in 0..2 {
            assert_eq!(counted().await, (8, 2, 1, 1, 2));
            assert_eq!(store.insert(&mixed).await.expect("no harm"), again);
        }
        // Taken from the queue anew behind all that was settled: now each of them is one more.
        for (item, sequence) in mixed.items.iter_mut().zip(9..) {
            item.sequence = sequence;
        }
        store.insert(&mixed).await.expect("no harm");
        assert_eq!(counted().await, (14, 2, 4, 2, 4));
    }
}

/// A queue that began anew gives sequences that were settled once: what it brings is stored and counted all the same.
#[tokio::test]
async fn a_row_counts_whatever_its_sequence() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        store
            .insert(&batch(epoch, &[(10, "alice", "a1", "x")]))
            .await
            .expect("stored");
        store
            .insert(&batch(epoch, &[(1, "alice", "a2", "x")]))
            .await
            .expect("stored");
        let lane = store.lanes().await.expect("lanes").remove(0);
        assert_eq!((lane.settled, lane.stored, lane.open), (10, 2, 2));
    }
}
