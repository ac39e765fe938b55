//! Who is here: mailboxes by user and by topic. Rings them; knows nothing of frames.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};

use super::mailbox::Mailbox;
use crate::auth::Revocations;
use crate::domain::envelope::Envelope;
use crate::domain::notification::Audience;
use crate::domain::revocation::{Revocation, Target};
use crate::session::parcel::Parcel;
use crate::topic::Listener;

/// Enough that two threads seldom want the same one.
const SHARDS: usize = 16;

pub struct Hub {
    users: [Mutex<Rooms>; SHARDS],
    topics: [Mutex<Rooms>; SHARDS],
    /// Connections that have not said who they are, by the address of their mailbox.
    lobby: Mutex<HashMap<usize, Arc<Mailbox>>>,
    revocations: Arc<Revocations>,
    hasher: RandomState,
}

/// Mailboxes by name. Most users have one.
type Rooms = HashMap<Arc<str>, Vec<Arc<Mailbox>>>;

impl Hub {
    pub fn new(revocations: Arc<Revocations>) -> Self {
        Self {
            revocations,
            users: Default::default(),
            topics: Default::default(),
            lobby: Mutex::default(),
            hasher: RandomState::new(),
        }
    }

    /// Keeps a connection that has not said who it is within reach of a drain.
    pub fn enter_lobby(&self, mailbox: &Arc<Mailbox>) {
        self.lobby().insert(Arc::as_ptr(mailbox) as usize, Arc::clone(mailbox));
    }

    pub fn leave_lobby(&self, mailbox: &Arc<Mailbox>) {
        self.lobby().remove(&(Arc::as_ptr(mailbox) as usize));
    }

    /// Rings `mailbox` for `user` until the guard is dropped.
    pub fn enter_user(self: &Arc<Self>, user: &Arc<str>, mailbox: &Arc<Mailbox>) -> Present {
        add(self.shard(&self.users, user), Arc::clone(user), mailbox);
        Present {
            hub: Arc::clone(self),
            user: Arc::clone(user),
            mailbox: Arc::clone(mailbox),
        }
    }

    /// How many sessions of `user` are on this node.
    pub fn sessions(&self, user: &str) -> usize {
        self.shard(&self.users, user).get(user).map_or(0, Vec::len)
    }

    pub fn enter_topic(&self, topic: &str, mailbox: &Arc<Mailbox>) {
        let mut rooms = self.shard(&self.topics, topic);
        let name = rooms.get_key_value(topic).map(|(name, _)| Arc::clone(name));
        add_to(&mut rooms, name.unwrap_or_else(|| topic.into()), mailbox);
    }

    pub fn leave_topic(&self, topic: &str, mailbox: &Arc<Mailbox>) {
        remove(self.shard(&self.topics, topic), topic, mailbox);
    }

    /// Rings a user's sessions for everything up to `seq`, all of which is in the record. Says whether there are any.
    pub fn rouse(&self, user: &str, seq: u64) -> bool {
        let rooms = self.shard(&self.users, user);
        let mailboxes = rooms.get(user);
        for mailbox in mailboxes.into_iter().flatten() {
            mailbox.missed(seq);
        }
        mailboxes.is_some()
    }

    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Takes revocations in, and has the sessions that they may cover look at their tokens.
    pub fn learn(&self, revocations: &[Revocation]) {
        let mut tokens = false;
        for revocation in revocations {
            if !self.revocations.learn(revocation) {
                continue;
            }
            match &revocation.target {
                // Whose it was is not said; once for all of them.
                Target::Token(_) => tokens = true,
                Target::User { user, .. } => {
                    for mailbox in self.shard(&self.users, user).get(&**user).into_iter().flatten() {
                        mailbox.revoked();
                    }
                }
            }
        }
        if tokens {
            for mailbox in self.all() {
                mailbox.revoked();
            }
        }
    }

    /// The mailboxes of all connections.
    pub fn all(&self) -> Vec<Arc<Mailbox>> {
        let mut all: Vec<_> = self.lobby().values().cloned().collect();
        for shard in &self.users {
            all.extend(lock(shard).values().flatten().cloned());
        }
        all
    }

    fn lobby(&self) -> MutexGuard<'_, HashMap<usize, Arc<Mailbox>>> {
        self.lobby.lock().expect("nothing panics under this lock")
    }

    fn shard<'a>(&self, shards: &'a [Mutex<Rooms>; SHARDS], name: &str) -> MutexGuard<'a, Rooms> {
        lock(&shards[self.hasher.hash_one(name) as usize % SHARDS])
    }
}

impl Listener for Hub {
    fn hear(&self, envelope: Envelope) {
        let parcel = Arc::new(Parcel::new(envelope));
        match &parcel.envelope.to {
            Audience::User(user) => ring(self.shard(&self.users, user).get(&**user), &parcel),
            Audience::Topic(topic) => ring(self.shard(&self.topics, topic).get(&**topic), &parcel),
            Audience::Everyone => {
                for shard in &self.users {
                    for mailboxes in lock(shard).values() {
                        ring(Some(mailboxes), &parcel);
                    }
                }
            }
        }
    }

    fn revoked(&self, revocation: &Revocation) {
        self.learn(std::slice::from_ref(revocation));
    }
}

/// A session's place in the hub, given up when dropped.
pub struct Present {
    hub: Arc<Hub>,
    user: Arc<str>,
    mailbox: Arc<Mailbox>,
}

impl Drop for Present {
    fn drop(&mut self) {
        remove(self.hub.shard(&self.hub.users, &self.user), &self.user, &self.mailbox);
    }
}

fn ring(mailboxes: Option<&Vec<Arc<Mailbox>>>, parcel: &Arc<Parcel>) {
    for mailbox in mailboxes.into_iter().flatten() {
        mailbox.push(parcel);
    }
}

fn add(mut rooms: MutexGuard<'_, Rooms>, name: Arc<str>, mailbox: &Arc<Mailbox>) {
    add_to(&mut rooms, name, mailbox);
}

fn add_to(rooms: &mut Rooms, name: Arc<str>, mailbox: &Arc<Mailbox>) {
    let mailboxes = rooms.entry(name).or_default();
    mailboxes.reserve_exact(1);
    mailboxes.push(Arc::clone(mailbox));
}

fn remove(mut rooms: MutexGuard<'_, Rooms>, name: &str, mailbox: &Arc<Mailbox>) {
    if let Some(mailboxes) = rooms.get_mut(name) {
        mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
        if mailboxes.is_empty() {
            rooms.remove(name);
        }
    }
}

fn lock(rooms: &Mutex<Rooms>) -> MutexGuard<'_, Rooms> {
    rooms.lock().expect("nothing panics under this lock")
}
