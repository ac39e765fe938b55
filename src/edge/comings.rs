//! Who came and who went, for who wants to be told: a user is online with the first session anywhere, and offline a while after the last one.
//!
//! The roll knows who is here, and is asked in batches by one task, so that no session waits for it. Who comes back to this node within the time neither
//! went nor came. What the roll can't see is said in the README: a user who comes back on another node may be told online again, one whose sessions
//! end on two nodes at once offline twice, and a node that dies takes along what it had not told.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Hub;
use crate::attach::Events;
use crate::attach::protocol::Happening;
use crate::lifecycle::Lifecycle;
use crate::telemetry::events;
use crate::topic::Topic;

/// Users whom the roll is asked for at once.
const AT_ONCE: usize = 200;
/// When to ask again while the roll is away.
const AGAIN: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone)]
pub struct Comings(Arc<Inner>);

struct Inner {
    told: Events,
    hub: Arc<Hub>,
    /// How long without a session is offline.
    after: Duration,
    /// Users that wait to be told of.
    most: usize,
    waiting: Mutex<Waiting>,
    work: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Open sessions of this node, by user. The hub's may be refused yet.
    open: HashMap<Arc<str>, u32>,
    came: VecDeque<Arc<str>>,
    /// In order of the time at which they are offline.
    went: VecDeque<(Instant, Arc<str>)>,
    /// Those of `went` who did not come back.
    away: HashMap<Arc<str>, Instant>,
}

impl Comings {
    pub fn new(told: Events, hub: Arc<Hub>, after: Duration, most: usize) -> Self {
        Self(Arc::new(Inner {
            told,
            hub,
            after,
            most,
            waiting: Mutex::default(),
            work: Notify::new(),
        }))
    }

    /// A session of `user` is open: in the hub and on the roll.
    pub fn came(&self, user: &Arc<str>) {
        if !self.0.told.may_tell() {
            return;
        }
        let mut waiting = self.lock();
        let open = waiting.open.entry(Arc::clone(user)).or_default();
        *open += 1;
        let is_first = *open == 1;
        if !is_first || waiting.away.remove(user).is_some() || !self.is_wanted() {
            return;
        }
        if waiting.came.len() >= self.0.most {
            return events::event_lost(Happening::UserOnline.name(), "backlog");
        }
        waiting.came.push_back(Arc::clone(user));
        self.0.work.notify_one();
    }

    /// A session of `user` is gone from both.
    pub fn went(&self, user: &Arc<str>) {
        if !self.0.told.may_tell() {
            return;
        }
        let mut waiting = self.lock();
        if let Some(open) = waiting.open.get_mut(user) {
            *open -= 1;
            if *open > 0 {
                return;
            }
            waiting.open.remove(user);
        }
        if !self.is_wanted() {
            return;
        }
        if waiting.went.len() >= self.0.most {
            return events::event_lost(Happening::UserOffline.name(), "backlog");
        }
        let due = Instant::now() + self.0.after;
        waiting.away.insert(Arc::clone(user), due);
        waiting.went.push_back((due, Arc::clone(user)));
        self.0.work.notify_one();
    }

    /// Tells of them, until the drain: who had to go then comes back elsewhere.
    pub async fn run(self, topic: Arc<dyn Topic>, lifecycle: Lifecycle) {
        lifecycle.drain.run_until_cancelled(self.tell(&*topic)).await;
    }

    async fn tell(&self, topic: &dyn Topic) {
        loop {
            let (came, went) = self.due().await;
            let users: Vec<&str> = came.iter().chain(&went).map(|user| &**user).collect();
            let present = loop {
                match topic.present(&users).await {
                    Ok(present) => break present,
                    Err(_) => tokio::time::sleep(AGAIN).await,
                }
            };
            for (user, sessions) in came.iter().zip(&present) {
                // Those that are not of this node are another one's, and that one was first.
                if *sessions as usize <= self.0.hub.sessions(user).max(1) {
                    self.0.told.user_online(user);
                }
            }
            for (user, sessions) in went.iter().zip(&present[came.len()..]) {
                if *sessions == 0 {
                    self.0.told.user_offline(user);
                }
            }
        }
    }

    /// Waits for users to tell of: who came, and who is away for long enough.
    async fn due(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        loop {
            let next = {
                let mut waiting = self.lock();
                let (came, went) = waiting.take(Instant::now());
                if !came.is_empty() || !went.is_empty() {
                    return (came, went);
                }
                waiting.went.front().map(|(due, _)| *due)
            };
            let due = async {
                match next {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.work.notified() => {}
                () = due => {}
            }
        }
    }

    fn is_wanted(&self) -> bool {
        self.0.told.wants(Happening::UserOnline) || self.0.told.wants(Happening::UserOffline)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self, now: Instant) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let some = self.came.len().min(AT_ONCE);
        let came = self.came.drain(..some).collect();
        let mut went = Vec::new();
        while went.len() < AT_ONCE
            && let Some((due, _)) = self.went.front()
            && *due <= now
            && let Some((due, user)) = self.went.pop_front()
        {
            // One who came back, and perhaps went again, stands further behind.
            if self.away.get(&user) == Some(&due) {
                self.away.remove(&user);
                went.push(user);
            }
        }
        (came, went)
    }
}
