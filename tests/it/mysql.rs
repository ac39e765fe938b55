//! The record in MariaDB, beyond the contract: many lanes at once, servers and nodes that fail, and the table of today's users.

mod lanes;
mod server;
mod take_over;

use std::sync::Arc;

use quick_notify::store::{self, Adapter, Batch, Item, Store, StoreError};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, MySqlConnection};

use crate::contract::notification;
use crate::harness::servers::MariaDb;

fn config(url: &str) -> store::Config {
    let mut config = store::Config {
        adapter: Adapter::Mysql,
        ..Default::default()
    };
    config.mysql.url = url.to_owned();
    config
}

async fn try_open(config: &store::Config) -> Result<Arc<dyn Store>, StoreError> {
    store::build(config, "no/directory/is/needed".as_ref()).await
}

async fn open(url: &str) -> Arc<dyn Store> {
    try_open(&config(url)).await.expect("the record opens")
}

/// A record of its own in the shared server, and its URL.
async fn fresh() -> (Arc<dyn Store>, String) {
    let url = MariaDb::shared().await.url;
    (open(&url).await, url)
}

/// A batch from (sequence, user, id).
fn batch(lane: u32, epoch: u64, items: &[(u64, &str, &str)]) -> Batch {
    let item = |(sequence, user, id): &(u64, &str, &str)| Item {
        sequence: *sequence,
        notification: Some(notification(user, id, "x")),
    };
    Batch {
        lane,
        epoch,
        items: items.iter().map(item).collect(),
    }
}

/// A look at the tables beside the record's own.
async fn sql(url: &str) -> MySqlConnection {
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().expect("a URL");
    options
        .disable_statement_logging()
        .connect()
        .await
        .expect("MariaDB answers")
}

async fn run(connection: &mut MySqlConnection, text: &str) {
    let done = connection.execute(AssertSqlSafe(text.to_owned())).await;
    done.unwrap_or_else(|error| panic!("{text}: {error}"));
}

async fn number(connection: &mut MySqlConnection, text: &str) -> i64 {
    let text = AssertSqlSafe(format!("select cast(({text}) as signed)"));
    sqlx::query_scalar(text).fetch_one(connection).await.expect("a number")
}

/// stored = ended + open, of one moment, with what is open counted; and every row that is kept is counted.
async fn adds_up(connection: &mut MySqlConnection) {
    let (stored, ended, open): (i64, i64, i64) = sqlx::query_as(
        "select cast((select coalesce(sum(stored), 0) from notify_lane) as signed), \
         cast((select coalesce(sum(confirmed + deleted + expired + superseded + cancelled + dead), 0) from notify_tally) as signed), \
         (select count(*) from notify_log where outcome = 0)",
    )
    .fetch_one(connection)
    .await
    .expect("the tallies");
    assert_eq!(stored, ended + open, "stored = ended {ended} + open {open}");
}
