//! What the record says at the end, whichever engine keeps it, and how far the queue had come.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::harness::Server;

/// A row of the record.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Row {
    pub id: String,
    pub receiver: String,
    pub seq: i64,
    /// 0: open; 1: confirmed.
    pub outcome: i64,
}

/// The tallies of a lane, or of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Tally {
    /// The last sequence of the queue that was dealt with; of all lanes: the highest.
    pub settled: i64,
    pub stored: i64,
    pub duplicates: i64,
    pub transient: i64,
    pub refused: i64,
    pub ended: i64,
}

impl Tally {
    /// How many of the queue's entries became something.
    pub fn handled(&self) -> i64 {
        self.stored + self.duplicates + self.transient + self.refused
    }
}

/// How far the queue had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueEnd {
    /// Its one lane has dealt with everything up to `settled`.
    OneLane,
    Asked {
        last_sequence: i64,
        pending: i64,
    },
    NotAsked,
}

/// The record of servers that have stopped, or rest.
pub struct Record {
    /// In the order of commits, lane by lane.
    pub rows: Vec<Row>,
    /// Of all lanes.
    pub tally: Tally,
    pub queue: QueueEnd,
}

const ROWS: &str = "select id, receiver, cast(seq as bigint) as seq, cast(outcome as bigint) as outcome \
                    from notify_log order by lane, position";

const LANES: &str = "select cast(settled as bigint) as settled, cast(stored as bigint) as stored, \
                     cast(duplicates as bigint) as duplicates, cast(transient as bigint) as transient, \
                     cast(refused as bigint) as refused, \
                     cast(confirmed + deleted + expired + superseded + cancelled + dead as bigint) as ended from lane";

/// The same in PostgreSQL, where what is open has a table of its own, and so have the tallies of what ended.
const ROWS_AT_A_SERVER: &str = "select id, receiver, seq, \
                                case when exists (select from notify_open o where o.receiver = n.receiver and o.seq = n.seq) \
                                then 0 else outcome::bigint end as outcome from notify_log n order by lane, position";

const LANES_AT_A_SERVER: &str = "select settled, stored, duplicates, transient, refused, (select \
                                 coalesce(sum(confirmed + deleted + expired + superseded + cancelled + dead), 0)::bigint \
                                 from notify_tally t where t.lane = l.lane) as ended from notify_lane l";

impl Record {
    /// Of this server, on whichever adapters it runs.
    pub async fn of(server: &Server) -> Self {
        match server.record() {
            Some(url) => Self::at(url, QueueEnd::NotAsked).await,
            None => Self::read(server.data()).await,
        }
    }

    /// In a database server.
    pub async fn at(url: &str, queue: QueueEnd) -> Self {
        let mut record = PgConnection::connect(url).await.expect("the record's server answers");
        let rows = sqlx::query_as(ROWS_AT_A_SERVER)
            .fetch_all(&mut record)
            .await
            .expect("the record can be read");
        let lanes = sqlx::query_as(LANES_AT_A_SERVER)
            .fetch_all(&mut record)
            .await
            .expect("there are lanes");
        record.close().await.expect("the record closes");
        Self {
            rows,
            tally: sum(lanes),
            queue,
        }
    }

    /// In the files of a server that has stopped.
    pub async fn read(data: &Path) -> Self {
        let mut record = open(data, "record.db").await;
        let rows = sqlx::query_as(ROWS)
            .fetch_all(&mut record)
            .await
            .expect("the record can be read");
        let lanes = sqlx::query_as(LANES)
            .fetch_all(&mut record)
            .await
            .expect("there are lanes");
        record.close().await.expect("the record closes");
        Self {
            rows,
            tally: sum(lanes),
            queue: QueueEnd::OneLane,
        }
    }
}

fn sum(lanes: Vec<Tally>) -> Tally {
    lanes.into_iter().fold(Tally::default(), |sum, lane| Tally {
        settled: sum.settled.max(lane.settled),
        stored: sum.stored + lane.stored,
        duplicates: sum.duplicates + lane.duplicates,
        transient: sum.transient + lane.transient,
        refused: sum.refused + lane.refused,
        ended: sum.ended + lane.ended,
    })
}

/// Opens a database of a server that has stopped, for looking and for planting faults.
pub async fn open(data: &Path, file: &str) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(data.join(file))
        .connect()
        .await
        .expect("the database opens")
}

/// Removes a row as no server would, to see that it is missed.
pub async fn remove(server: &Server, id: &str) {
    let gone = match server.record() {
        Some(url) => {
            let mut record = PgConnection::connect(url).await.expect("the record's server answers");
            let delete = sqlx::query("delete from notify_log where id = $1").bind(id);
            delete.execute(&mut record).await.expect("the row goes").rows_affected()
        }
        None => {
            let mut record = open(server.data(), "record.db").await;
            let delete = sqlx::query("delete from notify_log where id = ?").bind(id);
            delete.execute(&mut record).await.expect("the row goes").rows_affected()
        }
    };
    assert_eq!(gone, 1);
}
