//! How far a session has come in its user's inbox, and what to read next: the rule that makes "without a gap or a swap" true.
//!
//! A session starts by reading the record, page by page. From then on a bell for the next `seq` is delivered as it is, one beyond it means that
//! the record must be read, and one at or below the cursor is old. While a page is being read nothing is buffered but the highest `seq` rung.

/// Where a session is in the inbox. Pure; `seq` starts at 1.
#[derive(Debug)]
pub struct Inbox {
    /// All up to here has been delivered, or was not to be.
    cursor: u64,
    /// Above this, all that is kept is told; up to it only what is unconfirmed. `None` until the first page says what was last.
    all_after: Option<u64>,
    /// What was there when the session subscribed: rows up to here are replayed.
    joined_at: Option<u64>,
    /// The highest `seq` that a bell named.
    rung: u64,
    reading: bool,
    /// A page ended early: there is more, rung or not.
    more: bool,
    /// The client's `last-seq`, until the first page has judged it.
    resume: Option<u64>,
}

/// A page to read from the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Rows with a `seq` above this.
    pub after: u64,
    /// Above this `seq`, all that is kept; up to it only what is unconfirmed. `None`: only what is unconfirmed.
    pub all_after: Option<u64>,
    pub limit: usize,
}

/// What to do about a bell.
#[derive(Debug, PartialEq, Eq)]
pub enum Bell {
    /// It is the next one.
    Deliver,
    /// It was delivered before.
    Old,
    /// It is noted; the record has it.
    Later,
}

/// A page that came, and what it means.
#[derive(Debug, PartialEq, Eq)]
pub struct Judged {
    /// Rows up to here are replayed, later ones are live.
    pub joined_at: u64,
    /// The client said nothing of where it was, and this is where it begins.
    pub begins: bool,
    /// The client can't resume where it asked to.
    pub gap: Option<Gap>,
    /// The page was read for a `last-seq` that doesn't exist here: its rows are read again, from the beginning.
    pub discard: bool,
}

/// A resume that can't be had: what was asked for, and the first `seq` that can.
#[derive(Debug, PartialEq, Eq)]
pub struct Gap {
    pub requested: u64,
    pub from: u64,
}

impl Inbox {
    /// A fresh start; `last_seq` is what the client says that it has.
    pub fn new(last_seq: Option<u64>) -> Self {
        Self {
            cursor: 0,
            all_after: last_seq,
            joined_at: None,
            rung: 0,
            reading: false,
            more: true,
            resume: last_seq,
        }
    }

    /// The last `seq` that was dealt with.
    pub fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Whether a client that has `seq` may resume behind it. Below that place only what is unconfirmed is told, and it is told whatever the client
    /// resumes behind; a client that went back there would be told again what it has.
    pub fn is_resumed_behind(&self, seq: u64) -> bool {
        self.all_after.is_some_and(|all_after| seq > all_after)
    }

    /// A bell for `seq`; `room` says whether the window takes another delivery.
    pub fn ring(&mut self, seq: u64, room: bool) -> Bell {
        if seq <= self.cursor {
            return Bell::Old;
        }
        if room && seq == self.cursor + 1 && !self.is_behind() {
            self.cursor = seq;
            return Bell::Deliver;
        }
        self.rung = self.rung.max(seq);
        Bell::Later
    }

    /// The page to read now, if there is something to read and room for it. The caller must answer with [`Inbox::page`] or [`Inbox::failed`].
    pub fn next_read(&mut self, room: usize) -> Option<Read> {
        if self.reading || room == 0 || !self.is_behind() {
            return None;
        }
        self.reading = true;
        Some(Read {
            after: self.cursor,
            all_after: self.all_after,
            limit: room,
        })
    }

    /// A page came. `last` is the `seq` of its last row. Answers what the rows are.
    pub fn page(&mut self, last: Option<u64>, complete: bool, last_seq: u64, removed_through: u64) -> Judged {
        self.reading = false;
        let requested = self.resume.take();
        // Beyond the last: a client from another life of the record; what it has seen says nothing about this one.
        let gap = requested
            .filter(|seq| *seq > last_seq || *seq < removed_through)
            .map(|requested| Gap {
                requested,
                from: removed_through + 1,
            });
        let begins = self.all_after.is_none();
        let discard = requested.is_some_and(|seq| seq > last_seq);
        let joined_at = *self.joined_at.get_or_insert(last_seq);
        if discard {
            self.all_after = Some(0);
            self.more = last_seq > 0;
        } else {
            self.all_after.get_or_insert(last_seq);
            self.cursor = self
                .cursor
                .max(if complete { last_seq } else { last.unwrap_or(last_seq) });
            self.more = !complete;
        }
        Judged {
            joined_at,
            begins,
            gap,
            discard,
        }
    }

    /// The record could not be read; it is to be tried again.
    pub fn failed(&mut self) {
        // What made it be read is still there.
        self.reading = false;
    }

    /// Whether the record has to be read, or is being read.
    fn is_behind(&self) -> bool {
        self.more || self.rung > self.cursor
    }
}
