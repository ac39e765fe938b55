//! The table of today's users becomes the record, in place: every row is there, in order, and nothing is sent again.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use quick_notify::domain::notification::Draft;
use quick_notify::domain::outcome::Outcome;
use quick_notify::lifecycle::wall_clock;
use quick_notify::store::{Batch, Item, PageQuery, Placed, Store, StoreError};
use sqlx::MySqlConnection;

use super::{adds_up, batch, config, number, open, run, sql, try_open};
use crate::harness::servers::MariaDb;
use crate::harness::within;

const MINUTE: i64 = 60_000;

/// As today's program makes it, with an older schema's character set or the newer column of JSON.
fn table(collation: &str, data: &str) -> String {
    format!(
        "create table notify_log ( \
            id varchar(64) not null primary key, type varchar(64) not null, receiver varchar(64) not null, data {data}, \
            viewed tinyint(1) default 0, created bigint, last_modified bigint, version bigint default 0, \
            key idx_receiver (receiver, viewed, created) \
         ) engine = InnoDB default collate {collation}"
    )
}

/// Users `user0` to `user9` with a hundred each; alice's ids sort otherwise by letters than by bytes.
const ROWS: [&str; 2] = [
    "insert into notify_log (id, type, receiver, data, viewed, created, last_modified) \
     select concat('ntf_', seq), 'STRING_MSG', concat('user', seq mod 10), concat('\"', seq, '\"'), seq mod 2, 1000 + seq div 4, 2000 from seq_1_to_1000",
    "insert into notify_log (id, type, receiver, data, viewed, created, last_modified, version) values \
     ('n_a', 'STRING_MSG', 'alice', '\"second\"', 0, 500, null, 3), ('n_B', 'STRING_MSG', 'alice', '\"first\"', 1, 500, 600, null), \
     ('n_c', 'ORDER', 'Alice', '{\"a\": [1, \"\\\\u0000\"]}', null, 400, 400, 0), ('n_d', 'STRING_MSG', 'alice', null, 0, 600, null, 0), \
     ('n_e', 'STRING_MSG', 'älice', '\"ü\"', 0, null, null, 0)",
];

async fn todays(collation: &str, data: &str) -> (String, MySqlConnection) {
    let url = MariaDb::shared().await.url;
    let mut connection = sql(&url).await;
    run(&mut connection, &table(collation, data)).await;
    for rows in ROWS {
        run(&mut connection, rows).await;
    }
    (url, connection)
}

/// id → seq of one inbox, everything that is kept.
async fn inbox(store: &dyn Store, user: &str) -> Vec<(String, u64)> {
    let query = PageQuery {
        user: user.into(),
        after: 0,
        all_after: Some(0),
        limit: 1_000,
    };
    let page = store.page(&query).await.expect("a page");
    assert!(page.complete);
    page.rows
        .into_iter()
        .map(|row| (row.id, row.seq.expect("it has a place")))
        .collect()
}

#[tokio::test]
async fn every_row_is_there_in_order_and_confirmed_whatever_the_table_was_made_of() {
    for (collation, data) in [
        ("utf8mb4_general_ci", "text"),
        ("utf8mb4_unicode_520_ci", "json"),
        ("utf8mb3_general_ci", "longtext"),
        ("latin1_swedish_ci", "text"),
    ] {
        let (url, mut connection) = todays(collation, data).await;
        let store = open(&url).await;
        let lane = store.lanes().await.expect("lanes")[0].clone();
        let ended: BTreeMap<_, _> = lane
            .ended
            .iter()
            .map(|(outcome, count)| (outcome.name(), *count))
            .collect();
        assert_eq!(
            (lane.lane, lane.stored, lane.position, lane.open, lane.settled),
            (0, 1_005, 1_005, 0, 0),
            "{collation}"
        );
        assert_eq!(ended[Outcome::Confirmed.name()], 1_005);
        adds_up(&mut connection).await;
        let sameness = "select count(*) from notify_log now join notify_log_before was \
                        on now.id = cast(convert(was.id using utf8mb4) as binary) \
                        where now.type = was.type and now.receiver = cast(convert(was.receiver using utf8mb4) as binary) \
                        and now.viewed = coalesce(was.viewed, 0) and now.created = coalesce(was.created, 0) and now.version = coalesce(was.version, 0) \
                        and now.data = cast(coalesce(convert(was.data using utf8mb4), 'null') as binary)";
        assert_eq!(number(&mut connection, sameness).await, 1_005, "{collation}");

        let seqs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).zip(1..).collect::<Vec<_>>();
        assert_eq!(
            inbox(&*store, "alice").await,
            seqs(&["n_B", "n_a", "n_d"]),
            "bytes decide where `created` doesn't"
        );
        assert_eq!(inbox(&*store, "Alice").await, seqs(&["n_c"]));
        assert_eq!(inbox(&*store, "älice").await, seqs(&["n_e"]));
        assert_eq!(inbox(&*store, "user3").await.len(), 100);
        let history = store.history("alice", i64::MAX, 0, 10).await.expect("history");
        let listed: Vec<_> = history
            .iter()
            .map(|row| (&*row.id, row.data.get(), row.viewed, row.created))
            .collect();
        assert_eq!(
            listed,
            [
                ("n_d", "null", false, 600),
                ("n_a", "\"second\"", false, 500),
                ("n_B", "\"first\"", true, 500)
            ]
        );
        let order = store.history("Alice", i64::MAX, 0, 10).await.expect("history");
        assert_eq!(
            (order[0].data.get(), &*order[0].kind),
            ("{\"a\": [1, \"\\u0000\"]}", "ORDER")
        );
        let unread = store.unread("alice").await.expect("a number");
        assert_eq!((unread.unread, unread.last_seq), (2, 3));
        let replay = PageQuery {
            user: "alice".into(),
            after: 0,
            all_after: None,
            limit: 10,
        };
        let replay = store.page(&replay).await.expect("a page");
        assert!(replay.rows.is_empty() && replay.complete, "nothing is sent again");

        let epoch = store.claim(0).await.expect("the lane");
        let placed = store
            .insert(&batch(0, epoch, &[(1, "alice", "new")]))
            .await
            .expect("stored");
        assert_eq!(placed, [Placed::Stored { seq: 4 }], "{collation}");
        assert_eq!(store.rung(0, 1_005, 2_000, 10).await.expect("rung")[0].position, 1_006);
        let other = open(&url).await;
        assert_eq!(inbox(&*other, "alice").await.len(), 4, "once is enough");
        assert_eq!(number(&mut connection, "select count(*) from notify_log").await, 1_006);
    }
}

/// The first sweep would otherwise remove what was older than the retention already; their users still have it.
#[tokio::test]
async fn what_was_taken_over_is_as_old_as_its_take_over_to_retention() {
    let (url, mut connection) = todays("utf8mb4_general_ci", "text").await;
    let store = open(&url).await;
    let now = wall_clock();
    let epoch = store.claim(0).await.expect("the lane");
    store
        .insert(&batch(0, epoch, &[(1, "alice", "new")]))
        .await
        .expect("stored");
    // Long behind every `created`, the new row's too. Fewer are looked at than were taken over.
    let swept = store.sweep(now - MINUTE, 10).await.expect("swept");
    assert_eq!((swept.removed, swept.expired.len()), (1, 1), "the new row alone");
    assert_eq!(number(&mut connection, "select count(*) from notify_log").await, 1_005);
    let swept = store.sweep(now + MINUTE, 2_000).await.expect("swept");
    assert_eq!((swept.removed, swept.expired.len()), (1_005, 0), "their time is over");
    adds_up(&mut connection).await;
}

/// Such as an old program that still runs: the start doesn't wait for it for ever, in silence.
#[tokio::test]
async fn a_lock_on_todays_table_ends_the_start_with_a_reason() {
    let (url, mut connection) = todays("utf8mb4_general_ci", "text").await;
    run(&mut connection, "begin").await;
    run(&mut connection, "update notify_log set viewed = 1 where id = 'n_a'").await;
    let mut impatient = config(&url);
    impatient.mysql.upgrade_timeout_ms = 300;
    let refused = within("the start", try_open(&impatient)).await.map(drop);
    let Err(StoreError::Refused(reason)) = refused else {
        panic!("{refused:?}")
    };
    let sentence = "another program holds a lock on notify_log: stop the old program, then start again";
    assert!(reason.ends_with(sentence), "{reason}");
    run(&mut connection, "commit").await;
    let store = try_open(&impatient).await.expect("now it starts");
    assert_eq!(inbox(&*store, "alice").await.len(), 3);
}

/// What the old collation held apart stays apart, and an emoji is a receiver like others.
#[tokio::test]
async fn receivers_that_were_one_become_two() {
    let url = MariaDb::shared().await.url;
    let mut connection = sql(&url).await;
    run(&mut connection, &table("utf8mb4_bin", "text")).await;
    let values: Vec<_> = ["x", "X", "é", "e", "🔔", "🔕"]
        .iter()
        .map(|name| format!("('id{name}', 'STRING_MSG', '{name}', '\"{name}\"', 1)"))
        .collect();
    let insert = format!(
        "insert into notify_log (id, type, receiver, data, created) values {}",
        values.join(", ")
    );
    run(&mut connection, &insert).await;
    let store = open(&url).await;
    for name in ["x", "X", "é", "e", "🔔", "🔕"] {
        assert_eq!(inbox(&*store, name).await, [(format!("id{name}"), 1)]);
    }
}

/// A producer's retry across the change is known, and another body under an old id is refused.
#[tokio::test]
async fn an_old_id_is_taken_and_its_body_is_known() {
    let (url, _) = todays("utf8mb4_general_ci", "text").await;
    let store = open(&url).await;
    let epoch = store.claim(0).await.expect("the lane");
    let item = |sequence, id: &str, receiver: &str, text: &str| {
        let draft = format!(r#"{{"id":"{id}","receiver":"{receiver}","data":"{text}"}}"#);
        let draft = Draft::from_json(draft.as_bytes()).expect("a draft");
        let notification = draft
            .accept(String::new, 9_000, &Default::default())
            .expect("a right draft");
        Item {
            sequence,
            notification: Some(notification),
        }
    };
    let items = vec![
        item(1, "n_a", "alice", "second"),
        item(2, "n_a", "alice", "third"),
        item(3, "n_e", "älice", "ü"),
    ];
    let placed = store.insert(&Batch { lane: 0, epoch, items }).await.expect("no harm");
    assert_eq!(
        placed,
        [
            Placed::Duplicate { seq: 2 },
            Placed::Conflict,
            Placed::Duplicate { seq: 1 }
        ]
    );
}

/// Old programs checked nothing: what is no JSON is told as a text, and hides no neighbour.
#[tokio::test]
async fn a_row_that_holds_no_json_hides_no_other() {
    let (url, mut connection) = todays("utf8mb4_general_ci", "text").await;
    run(
        &mut connection,
        "update notify_log set data = 'say \"hi\"' where id = 'n_a'",
    )
    .await;
    let store = open(&url).await;
    let history = store.history("alice", i64::MAX, 0, 10).await.expect("history");
    let data: Vec<_> = history.iter().map(|row| row.data.get()).collect();
    assert_eq!(data, ["null", r#""say \"hi\"""#, "\"first\""]);
}

#[tokio::test]
async fn three_nodes_that_start_at_once_take_it_over_once() {
    let (url, mut connection) = todays("utf8mb4_general_ci", "text").await;
    let stores = join_all([open(&url), open(&url), open(&url)]).await;
    for store in stores {
        assert_eq!(store.lanes().await.expect("lanes")[0].stored, 1_005);
    }
    assert_eq!(number(&mut connection, "select count(*) from notify_log").await, 1_005);
}

/// Wherever a start was cut, the next one finishes it.
#[tokio::test]
async fn an_upgrade_that_was_cut_is_finished_by_the_next_start() {
    let (url, mut connection) = todays("utf8mb4_general_ci", "text").await;
    // After the first step.
    run(&mut connection, "rename table notify_log to notify_log_before").await;
    drop(open(&url).await);
    assert_eq!(number(&mut connection, "select count(*) from notify_log").await, 1_005);
    // In the middle of a migration: some tables are there, and it is noted as begun.
    run(&mut connection, "drop table notify_probe").await;
    run(&mut connection, "update notify_migrations set success = false").await;
    let store = open(&url).await;
    store.ping().await.expect("every table is there");
    assert_eq!(number(&mut connection, "select count(*) from notify_log").await, 1_005);
}

#[tokio::test]
async fn a_row_that_does_not_fit_stops_the_start_and_nothing_is_lost() {
    let (url, mut connection) = todays("utf8mb4_general_ci", "text").await;
    run(&mut connection, "alter table notify_log modify id varchar(255)").await;
    run(
        &mut connection,
        "update notify_log set id = repeat('🔔', 65) where id = 'n_d'",
    )
    .await;
    let refused = try_open(&config(&url)).await.map(drop);
    let Err(StoreError::Refused(reason)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        reason.contains("nothing was copied") && reason.contains("notify_log_before"),
        "{reason}"
    );
    assert_eq!(number(&mut connection, "select count(*) from notify_log").await, 0);
    run(
        &mut connection,
        "update notify_log_before set id = 'n_d' where receiver = 'alice' and created = 600",
    )
    .await;
    let store = open(&url).await;
    assert_eq!(inbox(&*store, "alice").await.len(), 3);
    adds_up(&mut connection).await;
}

#[tokio::test]
async fn a_table_of_somebody_else_is_left_alone() {
    let url = MariaDb::shared().await.url;
    let mut connection = sql(&url).await;
    run(
        &mut connection,
        "create table notify_log (id int primary key, words text)",
    )
    .await;
    let refused = try_open(&config(&url)).await.map(drop);
    let Err(StoreError::Refused(reason)) = refused else {
        panic!("{refused:?}")
    };
    assert!(reason.contains("is not quick-notify's"), "{reason}");
    assert_eq!(
        number(
            &mut connection,
            "select count(*) from information_schema.tables where table_schema = database()"
        )
        .await,
        1
    );
}
