//! The sessions of a mount by their ids, which the clients choose.
//!
//! Whoever knows an id can read and write its session, so the id is a secret of the page that made it up, and a page of another origin is told
//! that there is no such session. A session that has ended is kept for a while, to tell its client so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::session::Session;

pub struct Sessions {
    /// How long one that has ended is kept, and how many of them.
    keep: Duration,
    keep_most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_id: HashMap<Arc<str>, Entry>,
    /// Those that have ended, the oldest first.
    ended: VecDeque<(Instant, Arc<str>)>,
}

struct Entry {
    session: Arc<Session>,
    origin: Option<Box<str>>,
}

/// What an id stands for.
pub enum Found {
    Here(Arc<Session>),
    /// It is another origin's.
    Foreign,
    Unknown,
}

impl Sessions {
    pub fn new(keep: Duration, keep_most: usize) -> Self {
        Self {
            keep,
            keep_most,
            inner: Mutex::default(),
        }
    }

    /// The session of this id, for a page of this origin. A page's own origin is not named in all of its requests: an unnamed one fits any.
    pub fn find(&self, id: &str, origin: Option<&str>) -> Found {
        self.with(|inner| match inner.by_id.get(id) {
            None => Found::Unknown,
            Some(entry) => match (&entry.origin, origin) {
                (Some(own), Some(other)) if **own != *other => Found::Foreign,
                _ => Found::Here(Arc::clone(&entry.session)),
            },
        })
    }

    /// Puts a session in; false when there is one of this id by now.
    pub fn insert(&self, id: &Arc<str>, origin: Option<&str>, session: &Arc<Session>) -> bool {
        self.with(|inner| {
            if inner.by_id.contains_key(id) {
                return false;
            }
            let entry = Entry {
                session: Arc::clone(session),
                origin: origin.map(Box::from),
            };
            inner.by_id.insert(Arc::clone(id), entry);
            true
        })
    }

    /// The session of this id has ended.
    pub fn ended(&self, id: Arc<str>) {
        self.with(|inner| inner.ended.push_back((Instant::now(), id)));
    }

    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().expect("nothing panics under this lock");
        // An id is taken up again only after it was forgotten, so what stands here is the session that ended.
        while let Some((at, id)) = inner.ended.front()
            && (at.elapsed() >= self.keep || inner.ended.len() > self.keep_most)
        {
            let id = Arc::clone(id);
            inner.by_id.remove(&id);
            inner.ended.pop_front();
        }
        act(&mut inner)
    }
}
