//! Who is on this node: its places on the cluster's roll, and whose channels it hears. Pure bookkeeping under one lock, which is taken when a
//! session comes or goes, never for a message; an adapter's supervising task does what this says is to be done.
//!
//! # Why a node changes its name
//! A node's sessions count while its lease lives. Whatever may have gone wrong on the roll (the line broke, the lease ended, the server lost
//! its data), the node takes a new name and puts all its places on again under it: nothing that was written under the old name counts any
//! more, so nobody has to remember what was not undone.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

use super::{Seat, TopicError};
use crate::domain::time::EpochMs;

pub struct Here {
    inner: Mutex<Inner>,
    /// Rings when there is something to do.
    pub work: Notify,
}

struct Inner {
    /// This node's name on the roll. One that lost its lease is never used again.
    node: Arc<str>,
    /// Names that it had before, the last ones: wherever they may still stand, they are to be taken away.
    former: VecDeque<Arc<str>>,
    users: HashMap<Arc<str>, User>,
    /// Numbers of places; never reused.
    next: u64,
    /// Users whose channel is to be subscribed to.
    wanted: Vec<Arc<str>>,
    /// Users whose last place went, oldest first: heard for a while still.
    lingering: VecDeque<(Instant, Arc<str>)>,
    /// Places to take off the roll.
    left: Vec<Left>,
    /// Places to put on the roll, oldest first.
    off: BTreeSet<(EpochMs, u64, Arc<str>)>,
    /// Users whose places are to be confirmed to the roll in this round.
    round: Vec<Arc<str>>,
}

struct User {
    places: Vec<Place>,
    heard: Heard,
    /// When the last place went.
    idle: Option<Instant>,
}

enum Heard {
    Yes,
    /// Asked for, and who waits for it.
    Asked(Vec<oneshot::Sender<()>>),
    /// Asked for so long that somebody went on without it.
    Late,
}

struct Place {
    number: u64,
    entered: EpochMs,
    cap: u32,
    state: State,
    seat: Arc<dyn Seat>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The roll is being asked for the first time.
    Entering,
    On,
    Off,
}

/// A new place, and when its user's channel is heard; `None` when it is already.
pub struct Came {
    pub number: u64,
    pub node: Arc<str>,
    pub heard: Option<oneshot::Receiver<()>>,
}

#[derive(Debug, Clone)]
pub struct Left {
    pub user: Arc<str>,
    pub number: u64,
}

/// A place that is to be on the roll.
#[derive(Debug, Clone)]
pub struct Put {
    pub user: Arc<str>,
    pub number: u64,
    pub entered: EpochMs,
    pub cap: u32,
}

/// More changes of name in the time of one lease are unlikely.
const FORMER: usize = 8;

impl Here {
    pub fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                node: name(),
                former: VecDeque::new(),
                users: HashMap::new(),
                next: 0,
                wanted: Vec::new(),
                lingering: VecDeque::new(),
                left: Vec::new(),
                off: BTreeSet::new(),
                round: Vec::new(),
            }),
            work: Notify::new(),
        }
    }

    /// Takes a place on this node. `alone` counts this node's places only, and leaves it to the return of the roll to put this one on it.
    pub fn enter(
        &self,
        user: &Arc<str>,
        seat: Arc<dyn Seat>,
        cap: u32,
        alone: bool,
        now: EpochMs,
    ) -> Result<Came, TopicError> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        // Those that the roll has count for certain; asking it would be a waste.
        let counted = inner.users.get(user).map_or(0, |known| {
            let certain = known.places.iter().filter(|place| alone || place.state == State::On);
            certain.count() as u32
        });
        if counted >= cap {
            return Err(TopicError::Full(counted));
        }
        inner.next += 1;
        let number = inner.next;
        let user = match inner.users.get_key_value(user) {
            Some((user, _)) => Arc::clone(user),
            None => {
                inner.wanted.push(Arc::clone(user));
                let asked = Heard::Asked(Vec::new());
                let new = User {
                    places: Vec::with_capacity(1),
                    heard: asked,
                    idle: None,
                };
                inner.users.insert(Arc::clone(user), new);
                Arc::clone(user)
            }
        };
        let known = inner.users.get_mut(&user).expect("just seen");
        let state = if alone { State::Off } else { State::Entering };
        known.places.push(Place {
            number,
            entered: now,
            cap,
            state,
            seat,
        });
        let heard = match &mut known.heard {
            Heard::Asked(waiting) if !alone => {
                let (told, heard) = oneshot::channel();
                waiting.push(told);
                Some(heard)
            }
            _ => None,
        };
        if alone {
            inner.off.insert((now, number, user));
        }
        self.work.notify_one();
        Ok(Came {
            number,
            node: Arc::clone(&inner.node),
            heard,
        })
    }

    /// The roll under `node`'s name has the place, since `entered`. Should the node have another name by now, it is put on again.
    pub fn entered(&self, user: &Arc<str>, number: u64, node: &str, entered: EpochMs) {
        let mut inner = self.lock();
        let same = *inner.node == *node;
        let Some(place) = inner.place(user, number) else {
            return;
        };
        place.entered = entered;
        place.state = if same { State::On } else { State::Off };
        if !same {
            inner.off.insert((entered, number, Arc::clone(user)));
            self.work.notify_one();
        }
    }

    /// The roll did not answer: counts on this node alone. Whether the place may stay.
    pub fn alone(&self, user: &Arc<str>, number: u64) -> Result<(), TopicError> {
        let mut inner = self.lock();
        let Some(place) = inner.place(user, number) else {
            return Ok(());
        };
        place.state = State::Off;
        let (entered, cap) = (place.entered, place.cap);
        let before = inner.users[user]
            .places
            .iter()
            .filter(|place| place.number < number)
            .count() as u32;
        if before >= cap {
            return Err(TopicError::Full(before));
        }
        inner.off.insert((entered, number, Arc::clone(user)));
        self.work.notify_one();
        Ok(())
    }

    /// Somebody went on without the confirmation that the user's channel is heard. Whether it was missing.
    pub fn late(&self, user: &Arc<str>) {
        let mut inner = self.lock();
        if let Some(known) = inner.users.get_mut(user)
            && let Heard::Asked(_) = known.heard
        {
            known.heard = Heard::Late;
        }
    }

    pub fn leave(&self, user: &Arc<str>, number: u64, now: Instant) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Some(known) = inner.users.get_mut(user) else {
            return;
        };
        let Some(index) = known.places.iter().position(|place| place.number == number) else {
            return;
        };
        let place = known.places.remove(index);
        known.places.shrink_to_fit();
        if known.places.is_empty() {
            known.idle = Some(now);
            inner.lingering.push_back((now, Arc::clone(user)));
        }
        // Also while it is entering: that may be on its way. What is off was never there under this name.
        if !inner.off.remove(&(place.entered, number, Arc::clone(user))) {
            inner.left.push(Left {
                user: Arc::clone(user),
                number,
            });
        }
        self.work.notify_one();
    }

    /// A place is over its user's cap.
    pub fn give_up(&self, user: &str, number: u64) -> bool {
        let seat = {
            let inner = self.lock();
            let places = inner.users.get(user).map(|known| known.places.iter());
            let found = places.into_iter().flatten().find(|place| place.number == number);
            found.map(|place| Arc::clone(&place.seat))
        };
        // Outside the lock: a seat may leave at once.
        seat.inspect(|seat| seat.give_up()).is_some()
    }

    pub fn node(&self) -> Arc<str> {
        Arc::clone(&self.lock().node)
    }

    pub fn former(&self) -> Vec<Arc<str>> {
        self.lock().former.iter().cloned().collect()
    }

    /// Takes a new name; every place is to be put on the roll under it.
    pub fn rename(&self) -> Arc<str> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let former = std::mem::replace(&mut inner.node, name());
        inner.former.push_front(former);
        inner.former.truncate(FORMER);
        inner.left = Vec::new();
        inner.round = Vec::new();
        for (user, known) in &mut inner.users {
            for place in known.places.iter_mut().filter(|place| place.state == State::On) {
                place.state = State::Off;
                inner.off.insert((place.entered, place.number, Arc::clone(user)));
            }
        }
        Arc::clone(&inner.node)
    }

    /// Nothing is heard any more: every user's channel is to be subscribed to again, but for those who only linger.
    pub fn deaf(&self) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.lingering = VecDeque::new();
        inner.users.retain(|_, known| !known.places.is_empty());
        inner.users.shrink_to_fit();
        for known in inner.users.values_mut() {
            if let Heard::Yes = known.heard {
                known.heard = Heard::Asked(Vec::new());
            }
        }
        inner.wanted = inner.users.keys().cloned().collect();
    }

    /// Users to subscribe to, `most` at once.
    pub fn wanted(&self, most: usize) -> Vec<Arc<str>> {
        let mut inner = self.lock();
        let rest = inner.wanted.len().saturating_sub(most);
        inner.wanted.split_off(rest)
    }

    /// These are heard now. Whether somebody had gone on without.
    pub fn heard(&self, users: &[Arc<str>]) -> bool {
        let mut inner = self.lock();
        let mut late = false;
        for user in users {
            if let Some(known) = inner.users.get_mut(user) {
                match std::mem::replace(&mut known.heard, Heard::Yes) {
                    Heard::Asked(waiting) => {
                        for told in waiting {
                            let _ = told.send(());
                        }
                    }
                    Heard::Late => late = true,
                    Heard::Yes => {}
                }
            }
        }
        late
    }

    /// Users who are gone for `linger`, or are the oldest of more than `bound` who are gone: they are to be heard no more. `most` at once.
    pub fn gone(&self, now: Instant, linger: Duration, bound: usize, most: usize) -> Vec<Arc<str>> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut gone = Vec::new();
        while let Some((since, user)) = inner.lingering.front()
            && gone.len() < most
            && (now.duration_since(*since) >= linger || inner.lingering.len() > bound)
        {
            // One who came back, and perhaps went again, stands further behind.
            let known = inner.users.get(user);
            if known.is_some_and(|known| known.places.is_empty() && known.idle == Some(*since)) {
                inner.users.remove(user);
                gone.push(Arc::clone(user));
            }
            inner.lingering.pop_front();
        }
        gone
    }

    /// Places to take off the roll, `most` at once.
    pub fn left(&self, most: usize) -> Vec<Left> {
        let mut inner = self.lock();
        let rest = inner.left.len().saturating_sub(most);
        inner.left.split_off(rest)
    }

    /// Places to put on the roll, the oldest `most`. They count as on it from here; whoever fails to put them there renames the node.
    pub fn off(&self, most: usize) -> Vec<Put> {
        let mut inner = self.lock();
        let mut puts = Vec::new();
        while puts.len() < most
            && let Some((entered, number, user)) = inner.off.pop_first()
        {
            if let Some(place) = inner.place(&user, number) {
                place.state = State::On;
                let cap = place.cap;
                puts.push(Put {
                    user,
                    number,
                    entered,
                    cap,
                });
            }
        }
        puts
    }

    /// Places that are on the roll, to be confirmed to it: all of them, in rounds, `share` of a round at once.
    pub fn confirm(&self, share: f64) -> Vec<Put> {
        let mut inner = self.lock();
        let inner = &mut *inner;
        if inner.round.is_empty() {
            inner.round = inner.users.keys().cloned().collect();
        }
        let some = (inner.users.len() as f64 * share).ceil() as usize;
        let rest = inner.round.len().saturating_sub(some);
        let mut puts = Vec::new();
        for user in inner.round.drain(rest..) {
            let places = inner.users.get(&user).map(|known| known.places.iter());
            for place in places.into_iter().flatten().filter(|place| place.state == State::On) {
                puts.push(Put {
                    user: Arc::clone(&user),
                    number: place.number,
                    entered: place.entered,
                    cap: place.cap,
                });
            }
        }
        puts
    }

    /// Of these, the ones that have left meanwhile.
    pub fn missing(&self, puts: &[Put]) -> Vec<Left> {
        let mut inner = self.lock();
        puts.iter()
            .filter(|put| inner.place(&put.user, put.number).is_none())
            .map(|put| Left {
                user: Arc::clone(&put.user),
                number: put.number,
            })
            .collect()
    }

    /// Every place that may be on the roll.
    pub fn all(&self) -> Vec<Left> {
        let inner = self.lock();
        let places = inner.users.iter().flat_map(|(user, known)| {
            known.places.iter().map(|place| Left {
                user: Arc::clone(user),
                number: place.number,
            })
        });
        places.chain(inner.left.iter().cloned()).collect()
    }

    /// How many users' channels are heard, or asked for.
    pub fn users(&self) -> usize {
        self.lock().users.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("nothing panics under this lock")
    }
}

impl Inner {
    fn place(&mut self, user: &Arc<str>, number: u64) -> Option<&mut Place> {
        let places = &mut self.users.get_mut(user)?.places;
        places.iter_mut().find(|place| place.number == number)
    }
}

/// A place as the roll names it.
pub fn place(node: &str, number: u64) -> String {
    format!("{node}:{number}")
}

/// The node and the number of a place.
pub fn of_place(place: &str) -> Option<(&str, u64)> {
    let (node, number) = place.split_once(':')?;
    Some((node, number.parse().ok()?))
}

/// 64 random bits: enough for a name that nobody else has.
fn name() -> Arc<str> {
    format!("{:016x}", Uuid::new_v4().as_u64_pair().0).into()
}
