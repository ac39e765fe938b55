//! Several statements in one round trip, written out: numbers as digits, and everything else in hexadecimal, so that nothing in a value can
//! be taken for SQL.
//!
//! # Why
//! A prepared statement is one round trip for each statement, and one more for each length of a list; and its close is a packet that
//! nobody answers, behind which the next one waits 40 ms for the kernel. A batch takes two round trips this way.

use std::fmt::Write;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection};

/// Values of one list, and rows of one statement: with the longest names a quarter of the least `max_allowed_packet` that is accepted.
pub(super) const ROWS: usize = 1_000;

/// Takes text from the source code alone; values go in by their type.
#[derive(Default)]
pub(super) struct Script(String);

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self(text.to_owned())
    }

    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    pub(super) fn number(&mut self, number: impl Into<i64>) -> &mut Self {
        write!(self.0, "{}", number.into()).expect("a text grows");
        self
    }

    /// For a column of bytes.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0.reserve(bytes.len() * 2 + 3);
        self.0.push_str("x'");
        for byte in bytes {
            self.0.push(DIGITS[usize::from(byte >> 4)].into());
            self.0.push(DIGITS[usize::from(byte & 15)].into());
        }
        self.0.push('\'');
        self
    }

    /// For a column of text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.push("_utf8mb4 ").bytes(text.as_bytes())
    }

    /// Writes each of `items`, with commas between them.
    pub(super) fn list<T>(&mut self, items: impl IntoIterator<Item = T>, write: impl Fn(&mut Self, T)) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            write(self, item);
        }
        self
    }

    /// Ids or receivers, with commas between them.
    pub(super) fn names(&mut self, names: &[&str]) -> &mut Self {
        self.list(names, |script, name| {
            script.bytes(name.as_bytes());
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows of all its statements, in their order.
    pub(super) async fn fetch(self, connection: &mut MySqlConnection) -> Result<Vec<MySqlRow>, sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(self.0)).fetch_all(connection).await
    }

    /// What follows a statement that fails is not run. An empty one costs nothing.
    pub(super) async fn run(self, connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
        if self.is_empty() {
            return Ok(());
        }
        sqlx::raw_sql(AssertSqlSafe(self.0)).execute(connection).await.map(drop)
    }
}

/// Ends the transaction of a script that failed. Where that fails too, its error is the one that counts: the connection is of no more use.
pub(super) async fn or_rollback<T>(
    connection: &mut MySqlConnection,
    result: Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    if result.is_err() {
        Script::new("rollback").run(connection).await?;
    }
    result
}

/// Sorted and each once: who locks in the order of the index meets no one who locks the other way round.
pub(super) fn in_order<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
