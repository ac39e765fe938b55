//! Statements whose length depends on what is asked. The server prepares each text once a connection and keeps it, so lists are padded to few
//! lengths, and what would be of a length of its own is not kept.

use sqlx::{MySql, QueryBuilder};

/// Values of one `in (...)`.
pub(super) const LIST: usize = 2_048;

/// Rows of one `insert`; a row has ten variables at most, and the server takes 65,535.
pub(super) const ROWS: usize = 1_000;

/// Inserts of up to so many rows, and of [`ROWS`], are kept prepared.
const FEW: usize = 32;

pub(super) fn is_kept(rows: usize) -> bool {
    rows <= FEW || rows == ROWS
}

/// Writes `?, ?, …)` for the open `in (`, in bytes. The last one is repeated up to the next power of two.
pub(super) fn bind_all(query: &mut QueryBuilder<MySql>, values: &[&str]) {
    let mut list = query.separated(", ");
    let last = values.last().copied().unwrap_or_default();
    let padded = values.len().next_power_of_two();
    for value in values.iter().copied().chain(std::iter::repeat(last)).take(padded) {
        list.push_bind(value.as_bytes().to_vec());
    }
    query.push(")");
}

/// Sorted and each once: who locks in the order of the index meets no one who locks the other way round.
pub(super) fn in_order<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.dedup();
    values
}
