//! What happened, told to attached plugins: by core NATS to who listens now, or into a stream for who must not miss one.
//!
//! Rooms say what happened, after it is as durable as it will be, and go on: telling never waits. What nobody wants (no plugin asked for it, and
//! neither `attach.events.always` nor `stream.kinds` names it) costs one load of an atomic. The rest goes into one of two bounded queues, so that a
//! JetStream that is away holds up no event that doesn't need it; what finds no place is lost, and counted by kind. A task a queue makes the JSON and
//! publishes. NATS that is away or slow fills the queues, and nothing else.
//!
//! Each happening is told at least once while nothing is lost, and hardly ever twice. The header `Nats-Msg-Id` (`KIND:ID…`) is the same both times.

mod publish;
mod stream;
mod told;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

pub use self::stream::StreamError;
pub use self::told::About;
use self::told::{Told, What};
use super::config;
use super::protocol::Happening;
use crate::domain::envelope::Message;
use crate::domain::id::SessionName;
use crate::domain::notification::Notification;
use crate::domain::time::EpochMs;
use crate::lifecycle::{Lifecycle, wall_clock};
use crate::nats::Nats;
use crate::subjects;
use crate::telemetry::events;

/// Tells what happened. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Option<Arc<Inner>>);

struct Inner {
    /// What is told: `fixed`, and what plugins want.
    wanted: AtomicU32,
    /// By the configuration.
    fixed: u32,
    /// Those that the stream keeps.
    kept: u32,
    data: bool,
    nats: Nats,
    live: Line,
    stream: Line,
}

/// A queue in front of its task.
struct Line {
    queue: mpsc::Sender<Told>,
    /// Octets that wait in it.
    octets: Arc<AtomicUsize>,
    max_octets: usize,
}

/// Makes the stream or changes it, as every start does; says what was changed.
pub async fn migrate(config: &config::Events, nats: &Nats, patience: Duration) -> Result<Vec<String>, StreamError> {
    let context = stream::context(&config.stream, nats, patience);
    let changed = stream::ensure(&context, &config.stream, &nats.prefix).await?;
    let name = subjects::events_stream(&nats.prefix);
    Ok(changed.into_iter().map(|field| format!("{name}: {field}")).collect())
}

impl Events {
    /// Nothing is ever told.
    pub fn none() -> Self {
        Self(None)
    }

    /// Makes the stream, if there is to be one, and starts to tell. At the drain of `lifecycle` what waits is told, within a moment.
    pub async fn start(
        config: &config::Events,
        nats: &Nats,
        node: &str,
        patience: Duration,
        lifecycle: &Lifecycle,
    ) -> Result<Self, StreamError> {
        let bits = |kinds: &std::collections::BTreeSet<Happening>| kinds.iter().fold(0, |bits, kind| bits | kind.bit());
        let kept = bits(&config.stream.kinds);
        let fixed = bits(&config.always) | kept;
        let context = stream::context(&config.stream, nats, patience);
        if kept != 0 {
            stream::ensure(&context, &config.stream, &nats.prefix).await?;
        }
        let (live, waiting) = Line::new(config);
        let publisher = publish::Publisher {
            nats: nats.clone(),
            node: node.into(),
        };
        lifecycle.spawn_vital(
            "events",
            publish::run(publisher.clone(), waiting, lifecycle.drain.clone()),
        );
        let (kept_line, waiting) = Line::new(config);
        let keeper = stream::Keeper {
            publisher,
            context,
            config: config.stream.clone(),
        };
        lifecycle.spawn_vital("events.stream", stream::run(keeper, waiting, lifecycle.drain.clone()));
        Ok(Self(Some(Arc::new(Inner {
            wanted: AtomicU32::new(fixed),
            fixed,
            kept,
            data: config.data,
            nats: nats.clone(),
            live,
            stream: kept_line,
        }))))
    }

    /// Whether anything may ever be told.
    pub fn may_tell(&self) -> bool {
        self.0.is_some()
    }

    /// Sets what attached plugins want: the bits of their happenings.
    pub fn want(&self, happenings: u32) {
        if let Some(inner) = &self.0 {
            inner.wanted.store(inner.fixed | happenings, Ordering::Relaxed);
        }
    }

    /// Whether it is told to anybody.
    #[inline]
    pub fn wants(&self, happening: Happening) -> bool {
        self.wanting(happening).is_some()
    }

    /// Whether what is told now is published now.
    pub fn is_connected(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.nats.pulse.borrow().connected)
    }

    /// Events that wait to be published.
    pub fn waiting(&self) -> usize {
        let lines = self.0.iter().flat_map(|inner| [&inner.live, &inner.stream]);
        lines
            .map(|line| line.queue.max_capacity() - line.queue.capacity())
            .sum()
    }

    /// The queue took it.
    pub fn accepted(&self, notification: &Notification) {
        self.of_notification(Happening::Accepted, notification, None);
    }

    /// It entered the record for the first time.
    pub fn stored(&self, notification: &Notification, seq: u64) {
        self.of_notification(Happening::Stored, notification, Some(seq));
    }

    /// A session got it for the first time.
    pub fn delivered(&self, message: &Message, session: SessionName) {
        let Some(inner) = self.wanting(Happening::Delivered) else {
            return;
        };
        let about = About {
            session: Some(session),
            ..inner.message(message, false)
        };
        inner.tell(Happening::Delivered, What::Notification(about));
    }

    /// Its user confirmed it first.
    pub fn acked(&self, user: &str, id: &str, seq: u64, created: EpochMs) {
        let Some(inner) = self.wanting(Happening::Acked) else {
            return;
        };
        let about = About {
            id: id.to_owned(),
            receiver: user.to_owned(),
            seq: Some(seq),
            created: Some(created),
            ..About::default()
        };
        inner.tell(Happening::Acked, What::Notification(about));
    }

    /// Its user marked these as read.
    pub fn read(&self, user: &str, ids: &[String]) {
        self.of_ids(Happening::Read, user, ids);
    }

    /// Its user deleted these.
    pub fn deleted(&self, user: &str, ids: &[String]) {
        self.of_ids(Happening::Deleted, user, ids);
    }

    /// Its time was over before anybody confirmed it.
    pub fn expired(&self, receiver: &str, id: &str, seq: u64, created: EpochMs) {
        let Some(inner) = self.wanting(Happening::Expired) else {
            return;
        };
        let about = About {
            id: id.to_owned(),
            receiver: receiver.to_owned(),
            seq: Some(seq),
            created: Some(created),
            ..About::default()
        };
        inner.tell(Happening::Expired, What::Notification(about));
    }

    /// It became a dead letter; `notification` is `None` where it can't be read. `sequence` is the queue's.
    pub fn dead(&self, notification: Option<&Notification>, sequence: u64, reason: &'static str) {
        let Some(inner) = self.wanting(Happening::Dead) else {
            return;
        };
        let about = notification.map(|notification| inner.notification(notification, None));
        let about = About {
            reason: Some(reason),
            sequence: Some(sequence),
            ..about.unwrap_or_default()
        };
        inner.tell(Happening::Dead, What::Notification(about));
    }

    /// A session of `user` was authenticated.
    pub fn session_opened(&self, user: &Arc<str>, session: SessionName, dialect: &'static str) {
        let Some(inner) = self.wanting(Happening::SessionOpened) else {
            return;
        };
        let what = What::Session {
            user: Arc::clone(user),
            session,
            dialect,
            reason: None,
        };
        inner.tell(Happening::SessionOpened, what);
    }

    /// It ended, for a reason of the closed set in `session::disconnect`.
    pub fn session_closed(&self, user: &Arc<str>, session: SessionName, dialect: &'static str, reason: &'static str) {
        let Some(inner) = self.wanting(Happening::SessionClosed) else {
            return;
        };
        let what = What::Session {
            user: Arc::clone(user),
            session,
            dialect,
            reason: Some(reason),
        };
        inner.tell(Happening::SessionClosed, what);
    }

    /// The first session of `user` is there.
    pub fn user_online(&self, user: &Arc<str>) {
        self.of_user(Happening::UserOnline, user);
    }

    /// The last one went, some time ago.
    pub fn user_offline(&self, user: &Arc<str>) {
        self.of_user(Happening::UserOffline, user);
    }

    /// These are open and their receivers have no session. Waits for room, and until all of them are handed over: published, or where the stream keeps
    /// them, in the stream. `false` when that can't be said of some. What NATS will never take, since it is too large, counts as handed over.
    pub async fn unreached(&self, messages: &[Message]) -> bool {
        let Some(inner) = self.wanting(Happening::Unreached) else {
            return false;
        };
        let mut all = Vec::with_capacity(messages.len());
        for message in messages {
            let (handed, is_handed) = oneshot::channel();
            let what = What::Notification(inner.message(message, true));
            let told = Told {
                handed: Some(handed),
                ..Told::new(Happening::Unreached, wall_clock(), what)
            };
            if !inner.line(Happening::Unreached).hand(told).await {
                return false;
            }
            all.push(is_handed);
        }
        for is_handed in all {
            if is_handed.await.is_err() {
                return false;
            }
        }
        true
    }

    fn wanting(&self, happening: Happening) -> Option<&Inner> {
        let inner = self.0.as_deref()?;
        (inner.wanted.load(Ordering::Relaxed) & happening.bit() != 0).then_some(inner)
    }

    fn of_notification(&self, happening: Happening, notification: &Notification, seq: Option<u64>) {
        let Some(inner) = self.wanting(happening) else { return };
        inner.tell(happening, What::Notification(inner.notification(notification, seq)));
    }

    fn of_ids(&self, happening: Happening, user: &str, ids: &[String]) {
        let Some(inner) = self.wanting(happening) else { return };
        for id in ids {
            let about = About {
                id: id.clone(),
                receiver: user.to_owned(),
                ..About::default()
            };
            inner.tell(happening, What::Notification(about));
        }
    }

    fn of_user(&self, happening: Happening, user: &Arc<str>) {
        let Some(inner) = self.wanting(happening) else { return };
        inner.tell(happening, What::User(Arc::clone(user)));
    }
}

impl Inner {
    fn tell(&self, happening: Happening, what: What) {
        self.line(happening).tell(Told::new(happening, wall_clock(), what));
    }

    fn line(&self, happening: Happening) -> &Line {
        match self.kept & happening.bit() {
            0 => &self.live,
            _ => &self.stream,
        }
    }

    fn notification(&self, notification: &Notification, seq: Option<u64>) -> About {
        About {
            id: notification.id.clone(),
            kind: Some(notification.kind.clone()),
            receiver: notification.to.receiver().to_owned(),
            seq,
            created: Some(notification.created),
            data: self.data.then(|| notification.data.clone()),
            ..About::default()
        }
    }

    fn message(&self, message: &Message, always_data: bool) -> About {
        let data = |data: &RawValue| (self.data || always_data).then(|| data.to_owned());
        About {
            id: message.id.clone(),
            kind: Some(message.kind.clone()),
            receiver: message.receiver.clone(),
            seq: message.seq,
            created: Some(message.created),
            data: data(&message.data),
            ..About::default()
        }
    }
}

impl Line {
    fn new(config: &config::Events) -> (Self, Waiting) {
        let (queue, waiting) = mpsc::channel(config.queue);
        let octets = Arc::<AtomicUsize>::default();
        let line = Self {
            queue,
            octets: Arc::clone(&octets),
            max_octets: config.queue_octets,
        };
        (line, Waiting { queue: waiting, octets })
    }

    fn tell(&self, told: Told) {
        let happening = told.happening;
        let octets = told.octets();
        if self.octets.load(Ordering::Relaxed).saturating_add(octets) > self.max_octets {
            return events::event_lost(happening.name(), "queue-full");
        }
        // Before the task may take it away again.
        self.octets.fetch_add(octets, Ordering::Relaxed);
        if let Err(error) = self.queue.try_send(told) {
            self.octets.fetch_sub(octets, Ordering::Relaxed);
            let reason = match error {
                mpsc::error::TrySendError::Full(_) => "queue-full",
                mpsc::error::TrySendError::Closed(_) => "drain",
            };
            events::event_lost(happening.name(), reason);
        }
    }

    /// The same for one who can wait for room. Says whether it has a place.
    async fn hand(&self, told: Told) -> bool {
        let octets = told.octets();
        self.octets.fetch_add(octets, Ordering::Relaxed);
        let sent = self.queue.send(told).await.is_ok();
        if !sent {
            self.octets.fetch_sub(octets, Ordering::Relaxed);
        }
        sent
    }
}

/// The other end of a [`Line`].
struct Waiting {
    queue: mpsc::Receiver<Told>,
    octets: Arc<AtomicUsize>,
}

impl Waiting {
    /// Appends up to `most`, once there are some; says how many. None when the line is closed and empty.
    async fn take(&mut self, batch: &mut Vec<Told>, most: usize) -> usize {
        let taken = self.queue.recv_many(batch, most).await;
        let octets = batch[batch.len() - taken..].iter().map(Told::octets).sum();
        self.octets.fetch_sub(octets, Ordering::Relaxed);
        taken
    }

    /// Gives up what is left.
    fn abandon(&mut self) {
        self.queue.close();
        while let Ok(told) = self.queue.try_recv() {
            events::event_lost(told.happening.name(), "drain");
        }
    }
}
