//! The record that a story is told with: the inbox of one user, kept in memory.

use std::sync::Arc;

use quick_notify::domain::envelope::{Content, Envelope, Message};
use quick_notify::domain::kind;
use quick_notify::domain::notification::Audience;
use quick_notify::session::inbox::Read;
use quick_notify::session::parcel::Parcel;
use quick_notify::session::{Confirm, PageRead};
use serde_json::value::to_raw_value;

use super::story::START;

/// The inbox of the session's user.
#[derive(Default)]
pub struct Record {
    pub rows: Vec<Row>,
    pub last_seq: u64,
    pub removed_through: u64,
}

#[derive(Clone)]
pub struct Row {
    pub seq: u64,
    pub id: String,
    pub open: bool,
    pub deleted: bool,
}

impl Record {
    pub fn store(&mut self, id: &str) -> u64 {
        self.last_seq += 1;
        self.rows.push(Row {
            seq: self.last_seq,
            id: id.to_owned(),
            open: true,
            deleted: false,
        });
        self.last_seq
    }

    pub fn row(&mut self, id: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    pub fn is_open(&self, id: &str) -> bool {
        self.rows.iter().any(|row| row.id == id && row.open)
    }

    /// Retention removes what is at or below `seq`.
    pub fn retain_after(&mut self, seq: u64) {
        self.rows.retain(|row| row.seq > seq);
        self.removed_through = seq;
    }

    /// Writes outcomes, or only looks; answers with the place of the first id.
    pub fn confirm(&mut self, confirm: &Confirm) -> Option<u64> {
        let first = confirm.ids.first().and_then(|id| self.row(id)).map(|row| row.seq);
        let ids = confirm.ids.iter().filter(|_| !confirm.look_only);
        for id in ids {
            self.row(id).into_iter().for_each(|row| row.open = false);
        }
        first
    }

    pub fn page(&self, read: Read) -> PageRead {
        let told = |row: &&Row| {
            let all = read.all_after.is_some_and(|after| row.seq > after);
            row.seq > read.after && !row.deleted && (row.open || all)
        };
        let rows: Vec<_> = self.rows.iter().filter(told).collect();
        PageRead {
            complete: rows.len() <= read.limit,
            rows: rows
                .into_iter()
                .take(read.limit)
                .map(|row| message(&row.id, Some(row.seq)))
                .collect(),
            last_seq: self.last_seq,
            removed_through: self.removed_through,
        }
    }
}

pub fn parcel(to: Audience, content: Content) -> Arc<Parcel> {
    Arc::new(Parcel::new(Envelope { to, content }))
}

pub fn message(id: &str, seq: Option<u64>) -> Message {
    Message {
        id: id.to_owned(),
        kind: kind::STRING_MSG.into(),
        receiver: "alice".into(),
        data: to_raw_value(&format!("data of {id}")).expect("a string"),
        viewed: false,
        created: START,
        seq,
    }
}
