//! What nobody was there to get: each lane is looked through in order, by one node at a time, and from where the last one came.

use quick_notify::domain::time::EpochMs;
use quick_notify::store::{Looked, Store, Stretch, Unended};

use super::{batch, confirm, stores};

/// Everything was created at 1000.
async fn look(store: &dyn Store, after: u64, limit: u32, (from, until): (EpochMs, EpochMs)) -> Stretch {
    let query = Unended {
        lane: 0,
        after,
        from,
        until,
        limit,
    };
    store.unended(&query).await.expect("rows")
}

fn ids(stretch: &Stretch) -> Vec<&str> {
    stretch.rows.iter().map(|row| &*row.id).collect()
}

const ALL: (EpochMs, EpochMs) = (0, 2_000);

#[tokio::test]
async fn open_rows_are_given_in_order_with_their_data_and_no_others() {
    for (store, _data) in stores().await {
        let epoch = store.claim(0).await.expect("the lane");
        let items = [
            (1, "alice", "a1", "first"),
            (2, "bob", "b1", "x"),
            (3, "alice", "a2", "second"),
            (4, "bob", "b2", "x"),
        ];
        store.insert(&batch(epoch, &items)).await.expect("stored");
        confirm(&*store, "bob", "b1").await;
        store.delete("bob", &["b2".into()], 2_000).await.expect("deleted");

        let all = look(&*store, 0, 10, ALL).await;
        assert_eq!(
            (ids(&all), all.through, all.next, all.more),
            (vec!["a1", "a2"], 4, None, false)
        );
        let row = &all.rows[1];
        assert_eq!(
            (&*row.receiver, &*row.kind, row.data.get(), row.seq, row.created),
            ("alice", "STRING_MSG", "\"second\"", Some(2), 1_000)
        );
        let some = look(&*store, 0, 2, ALL).await;
        assert_eq!(
            (ids(&some), some.through, some.more),
            (vec!["a1"], 2, true),
            "a look is bounded"
        );
        let rest = look(&*store, some.through, 3, ALL).await;
        assert_eq!((ids(&rest), rest.through), (vec!["a2"], 4));

        let young = look(&*store, 0, 10, (0, 999)).await;
        assert_eq!(
            (ids(&young), young.through, young.next),
            (vec![], 0, Some(1_000)),
            "its time comes"
        );
        let old = look(&*store, 0, 10, (1_001, 2_000)).await;
        assert_eq!((ids(&old), old.through), (vec![], 4), "its time is over");
        let elsewhere = Unended {
            lane: 1,
            after: 0,
            from: 0,
            until: 2_000,
            limit: 10,
        };
        assert!(store.unended(&elsewhere).await.expect("rows").rows.is_empty());
    }
}

#[tokio::test]
async fn one_node_at_a_time_has_a_lanes_turn_and_what_it_looked_through_stays() {
    for (store, _data) in stores().await {
        assert_eq!(store.looked().await.expect("lanes"), []);
        let epoch = store.claim(0).await.expect("the lane");
        let items = [(1, "alice", "a1", "x"), (2, "bob", "b1", "x"), (3, "alice", "a2", "x")];
        store.insert(&batch(epoch, &items)).await.expect("stored");
        let looked = async || store.looked().await.expect("lanes");
        let at = |through| {
            let lane = Looked {
                lane: 0,
                position: 3,
                through,
            };
            vec![lane]
        };
        assert_eq!(looked().await, at(0));
        let begin = async |through, now, until| store.begin_turn(0, through, now, until).await.expect("an answer");
        let end = async |until, through| store.end_turn(0, until, through).await.expect("an answer");

        assert!(begin(0, 100, 500).await);
        assert!(!begin(0, 200, 600).await, "it is another node's turn");
        assert_eq!(looked().await, at(0), "nothing is looked through before it is told");
        assert!(end(500, 2).await);
        assert_eq!(looked().await, at(2));
        assert!(!begin(0, 300, 700).await, "somebody came further since");

        assert!(begin(2, 300, 700).await);
        assert!(begin(2, 700, 900).await, "the node died, and its turn is over");
        assert!(!end(700, 3).await, "it comes to life too late");
        assert_eq!(looked().await, at(2));
        assert!(end(900, 3).await);
        assert_eq!(looked().await, at(3));
        assert!(begin(3, 1_000, 1_100).await && end(1_100, 3).await, "and no further");
        assert_eq!(looked().await, at(3));
    }
}
