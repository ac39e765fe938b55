//! The table of today's users becomes the record, in the same database, without losing a row.

use std::collections::{BTreeMap, BTreeSet};

use quick_notify::domain::outcome::Outcome;
use quick_notify::lifecycle::wall_clock;
use quick_notify::store::{Placed, Store, StoreError};
use sqlx::migrate::Migrate;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

use super::{config, open};
use crate::contract::store::{batch, page};
use crate::harness::servers::Postgres;
use crate::harness::within;

const MINUTE: i64 = 60_000;

/// As today's program makes it; `data` is text or json.
fn todays_table(data: &str) -> String {
    format!(
        "create table notify_log (id varchar(64) primary key, type varchar(64) not null, receiver varchar(64) not null, data {data}, \
         viewed boolean default false, created bigint, last_modified bigint, version bigint default 0); \
         create index idx_receiver_viewed_created on notify_log (receiver, viewed, created)"
    )
}

const USERS: [&str; 5] = ["alice", "Alice", "bob ", "zoë", "🔔"];

async fn database() -> (PgConnection, String) {
    let url = Postgres::shared().await.url;
    let options: PgConnectOptions = url.parse().expect("a URL");
    (options.connect().await.expect("PostgreSQL answers"), url)
}

/// 1,000 rows: many of the same millisecond, odd ids, holes in every column that may have them. Answers ids by receiver, in the order due.
async fn fill(connection: &mut PgConnection, data_type: &str, odd_data: &str) -> BTreeMap<&'static str, Vec<String>> {
    let mut rows = Vec::new();
    for n in 0..1_000_i64 {
        let id = match n % 10 {
            0 => format!("Ntf_{n}"),
            1 => format!("ntf_{n} "),
            2 => format!("ñ🔔_{n}"),
            3 => format!("'; drop table notify_log; -- {n}"),
            _ => format!("ntf_{:04}", 9_999 - n),
        };
        let user = USERS[(n % 5) as usize];
        // Twenty of each moment, and not in the order of the table.
        rows.push((id, user, (n * 7 % 50) * 1_000));
    }
    let insert = format!(
        "insert into notify_log (id, type, receiver, data, viewed, created, last_modified, version) \
         values ($1, 'STRING_MSG', $2, $3::{data_type}, $4, $5, $6, $7)"
    );
    for (n, (id, user, created)) in rows.iter().enumerate() {
        let data = match n % 4 {
            0 => odd_data.to_owned(),
            1 => r#"{"a": [1, 2.50, "é"]}"#.to_owned(),
            _ => "\"Hello\"".to_owned(),
        };
        sqlx::query(sqlx::AssertSqlSafe(&*insert))
            .bind(id)
            .bind(user)
            .bind((n % 97 != 0).then_some(data))
            .bind((n % 3 != 0).then_some(n % 2 == 0))
            .bind(created)
            .bind((n % 5 != 0).then_some(created + 1))
            .bind((n % 7 != 0).then_some(3_i64))
            .execute(&mut *connection)
            .await
            .expect("a row");
    }
    rows.sort_by(|a, b| (a.2, a.0.as_bytes()).cmp(&(b.2, b.0.as_bytes())));
    let mut due: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (id, user, _) in rows {
        due.entry(user).or_default().push(id);
    }
    due
}

#[tokio::test]
async fn todays_table_with_data_as_json_is_upgraded_in_place() {
    let (mut connection, url) = database().await;
    connection
        .execute(sqlx::AssertSqlSafe(todays_table("json")))
        .await
        .expect("a table");
    let due = fill(&mut connection, "json", r#""\u0000""#).await;
    let store = is_upgraded(&url, &due).await;
    assert_eq!(data_of_a_fourth(&store).await, r#""\u0000""#);
}

#[tokio::test]
async fn todays_table_with_data_as_text_is_upgraded_in_place() {
    let (mut connection, url) = database().await;
    connection
        .execute(sqlx::AssertSqlSafe(todays_table("text")))
        .await
        .expect("a table");
    let due = fill(&mut connection, "text", r#"no "JSON""#).await;
    let store = is_upgraded(&url, &due).await;
    assert_eq!(data_of_a_fourth(&store).await, r#""no \"JSON\"""#, "told as a string");
}

/// The fourth row and each fourth behind it had the odd data.
async fn data_of_a_fourth(store: &impl Store) -> String {
    let rows = store.history("alice", i64::MAX, 0, 1_000).await.expect("history");
    let row = rows.into_iter().find(|row| row.id == "Ntf_20").expect("row 20");
    row.data.get().to_owned()
}

async fn is_upgraded(url: &str, due: &BTreeMap<&str, Vec<String>>) -> impl Store {
    let config = config(url);
    // Two nodes at once: one of them does it.
    let (one, two) = tokio::join!(open(&config), open(&config));
    let store = one.expect("it starts");
    two.expect("it starts");
    for (user, ids) in due {
        let mut history = store.history(user, i64::MAX, 0, 1_000).await.expect("history");
        history.reverse();
        let listed: Vec<_> = history.iter().map(|row| row.id.clone()).collect();
        assert_eq!(&listed, ids, "{user}: every row, by created and id");
        let seqs: Vec<_> = history.iter().filter_map(|row| row.seq).collect();
        assert_eq!(seqs, (1..=ids.len() as u64).collect::<Vec<_>>());
        let waiting = page(&store, user, 0, None, 1_000).await;
        assert_eq!(
            (waiting.rows.len(), waiting.last_seq),
            (0, ids.len() as u64),
            "nothing is told again"
        );
    }
    let unread: u64 = futures_util::future::join_all(due.keys().map(|user| store.unread(user)))
        .await
        .into_iter()
        .map(|unread| unread.expect("a number").unread)
        .sum();
    // Every third row didn't say, which is false; of the others every second was viewed.
    let viewed = (0..1_000).filter(|n| n % 3 != 0 && n % 2 == 0).count() as u64;
    assert_eq!(unread, 1_000 - viewed);
    let lane = store.lanes().await.expect("lanes").remove(0);
    assert_eq!((lane.lane, lane.stored, lane.open, lane.position), (0, 1_000, 0, 1_000));
    assert!(lane.ended.contains(&(Outcome::Confirmed, 1_000)));
    let rung = store.rung(0, 998, 1_000, 10).await.expect("positions");
    assert_eq!(rung.len(), 2);

    // New ones go on behind the old ones, on whichever lane; an old id is taken.
    let epoch = store.claim(0).await.expect("the lane");
    let old = due["alice"][0].as_str();
    let placed = store
        .insert(&batch(epoch, &[(1, "alice", "new", "x"), (2, "alice", old, "Hello")]))
        .await
        .expect("stored");
    assert_eq!(placed, [Placed::Stored { seq: 201 }, Placed::Conflict]);
    assert_eq!(page(&store, "alice", 0, None, 10).await.rows[0].id, "new");
    assert_eq!(
        store.delete("alice", &[old.to_owned()], 5_000).await.expect("deleted"),
        [old]
    );
    store
}

/// The first sweep would otherwise remove what was older than the retention already; their users still have it.
#[tokio::test]
async fn what_was_taken_over_is_as_old_as_its_take_over_to_retention() {
    let (mut connection, url) = database().await;
    connection
        .execute(sqlx::AssertSqlSafe(todays_table("text")))
        .await
        .expect("a table");
    let due = fill(&mut connection, "text", "1").await;
    let store = open(&config(&url)).await.expect("it starts");
    let now = wall_clock();
    let epoch = store.claim(0).await.expect("the lane");
    store
        .insert(&batch(epoch, &[(1, "alice", "new", "x")]))
        .await
        .expect("stored");
    // Long behind every `created`, the new row's too. Fewer are looked at than were taken over.
    let swept = store.sweep(now - MINUTE, 10).await.expect("swept");
    assert_eq!((swept.removed, swept.expired.len()), (1, 1), "the new row alone");
    for (user, ids) in &due {
        let history = store.history(user, i64::MAX, 0, 1_000).await.expect("history");
        assert_eq!(history.len(), ids.len(), "{user} keeps all");
    }
    let swept = store.sweep(now + MINUTE, 2_000).await.expect("swept");
    assert_eq!((swept.removed, swept.expired.len()), (1_000, 0), "their time is over");
}

/// Such as an old program that still runs: the start doesn't wait for it for ever, in silence.
#[tokio::test]
async fn a_lock_on_todays_table_ends_the_start_with_a_reason() {
    let (mut connection, url) = database().await;
    connection
        .execute(sqlx::AssertSqlSafe(todays_table("text")))
        .await
        .expect("a table");
    let mut old_program = connection.begin().await.expect("a transaction");
    old_program
        .execute("insert into notify_log values ('n1', 'STRING_MSG', 'alice', '1')")
        .await
        .expect("a row");
    let mut impatient = config(&url);
    impatient.postgres.upgrade_timeout_ms = 300;
    let error = within("the start", open(&impatient))
        .await
        .err()
        .expect("it doesn't start");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let reason = "another program holds a lock on notify_log: stop the old program, then start again";
    assert!(error.to_string().ends_with(reason), "{error}");
    old_program.commit().await.expect("the row is there");
    let store = open(&impatient).await.expect("now it starts");
    assert_eq!(store.history("alice", i64::MAX, 0, 10).await.expect("history").len(), 1);
}

/// One upgrades for as long as it needs; the others wait, with an end.
#[tokio::test]
async fn a_node_waits_for_another_ones_upgrade() {
    let (mut other_node, url) = database().await;
    other_node.lock().await.expect("the upgrade's lock");
    let mut impatient = config(&url);
    impatient.postgres.upgrade_timeout_ms = 300;
    let error = within("the start", open(&impatient))
        .await
        .err()
        .expect("it doesn't start");
    assert!(
        error.to_string().contains("store.postgres.upgrade_timeout_ms"),
        "{error}"
    );

    let options: PgConnectOptions = url.parse().expect("a URL");
    let mut look = options.connect().await.expect("PostgreSQL answers");
    let config = config(&url);
    let start = open(&config);
    let end = async {
        let mut waits = BTreeSet::new();
        within("its second wait", async {
            while waits.len() < 2 {
                let began: Option<String> = sqlx::query_scalar(
                    "select max(query_start)::text from pg_stat_activity where datname = current_database() and wait_event = 'advisory'",
                )
                .fetch_one(&mut look)
                .await
                .expect("an answer");
                waits.extend(began);
            }
        })
        .await;
        other_node.unlock().await.expect("it is done");
    };
    let (store, ()) = tokio::join!(start, end);
    store.expect("it starts");
}

/// A table that can't be taken along stays as it was, and the start says why.
#[tokio::test]
async fn an_upgrade_that_fails_changes_nothing() {
    let (mut connection, url) = database().await;
    let table = todays_table("text").replace("primary key", "");
    connection.execute(sqlx::AssertSqlSafe(table)).await.expect("a table");
    connection
        .execute("insert into notify_log values ('n1', 'STRING_MSG', 'alice', '1'), ('n1', 'STRING_MSG', 'alice', '2')")
        .await
        .expect("the same id twice");
    let error = open(&config(&url)).await.err().expect("it doesn't start");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    assert!(error.to_string().contains("could not create unique index"), "{error}");
    let (rows, columns): (i64, i64) = sqlx::query_as(
        "select (select count(*) from notify_log), (select count(*) from information_schema.columns where table_name = 'notify_log')",
    )
    .fetch_one(&mut connection)
    .await
    .expect("the table as it was");
    assert_eq!((rows, columns), (2, 8));
    connection
        .execute("delete from notify_log where data = '2'")
        .await
        .expect("deleted");
    let store = open(&config(&url)).await.expect("now it starts");
    assert_eq!(store.history("alice", 1, 0, 10).await.expect("history").len(), 1);
}
