//! The words of the search for what nobody was there to get.

use crate::domain::envelope::Message;
use crate::domain::time::EpochMs;

/// How far a lane was looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    pub lane: u32,
    /// The position of its last row.
    pub position: u64,
    /// The last position that was looked at.
    pub through: u64,
}

/// Which part of a lane to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unended {
    pub lane: u32,
    /// Rows behind this position.
    pub after: u64,
    /// Rows that were created before this are passed over.
    pub from: EpochMs,
    /// Rows that were created after this end the look: they, and what is behind them, come later.
    pub until: EpochMs,
    /// Rows to look at.
    pub limit: u32,
}

/// A part of a lane.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// Those that have no outcome.
    pub rows: Vec<Message>,
    /// The last position that was looked at.
    pub through: u64,
    /// When the row was created that was too young.
    pub next: Option<EpochMs>,
    /// Whether there may be more.
    pub more: bool,
}

impl Looked {
    pub(super) fn from_row((lane, position, through): (i64, i64, i64)) -> Self {
        Self {
            lane: lane as u32,
            position: position as u64,
            through: through as u64,
        }
    }
}

impl Stretch {
    /// From rows in the order of their positions; `read` says the position, whether it is open, and the rest.
    pub(super) fn of<'a, R: 'a, E>(
        query: &Unended,
        rows: impl ExactSizeIterator<Item = &'a R>,
        read: impl Fn(&'a R) -> Result<(u64, bool, Message), E>,
    ) -> Result<Self, E> {
        let mut stretch = Self {
            rows: Vec::new(),
            through: query.after,
            next: None,
            more: rows.len() >= query.limit as usize,
        };
        for row in rows {
            let (position, open, message) = read(row)?;
            if message.created > query.until {
                stretch.next = Some(message.created);
                stretch.more = false;
                break;
            }
            stretch.through = position;
            if open && message.created >= query.from {
                stretch.rows.push(message);
            }
        }
        Ok(stretch)
    }
}
