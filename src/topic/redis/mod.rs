//! The topic over Redis: publishes on channels, hears those of the users who are here, and keeps the roll under this node's lease.
//!
//! What goes to one user is published on that user's channel, which a node subscribes to while it holds a session of that user: one PUBLISH
//! a message, however many nodes there are, and nobody else is bothered. Everything else goes to the one channel of all. This node hears
//! itself through Redis, too, so that there is one order. One task (`line`) supervises the connections; see there for what happens when
//! they break.

mod line;
mod roll;

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::roll::{Answer, Nodes, Roll};
use super::ear::Ear;
use super::wire;
use super::{Config, Entered, Line, Listener, Seat, Topic, TopicError};
use crate::domain::envelope::Envelope;
use crate::domain::notification::Audience;
use crate::domain::revocation::Revocation;
use crate::lifecycle::wall_clock;
use crate::redis::{self, Link};
use crate::subjects;
use crate::telemetry::events;

pub struct Redis {
    shared: Arc<Shared>,
    /// Publications on their way.
    flights: Semaphore,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    _end: DropGuard,
}

/// What the supervising task and the callers share.
struct Shared {
    config: Config,
    redis: redis::Redis,
    ear: Ear,
    line: watch::Sender<Line>,
    /// The connections, while they are good.
    link: RwLock<Option<Up>>,
    /// Rings when an answer did not come in time: the supervisor asks whether Redis lives.
    doubt: Notify,
    end: CancellationToken,
}

/// A line that is up.
#[derive(Clone)]
struct Up {
    link: Link,
    nodes: Arc<Nodes>,
    /// An answer did not come in time; until the supervisor knows more nobody waits for another.
    doubted: bool,
}

impl Redis {
    /// Starts; waits for the first try to connect, and goes on without when it fails.
    pub async fn start(config: &Config, redis: redis::Redis, listener: Arc<dyn Listener>) -> Self {
        let shared = Arc::new(Shared {
            config: config.clone(),
            redis,
            ear: Ear::new(config, listener),
            line: watch::Sender::new(Line { up: false, breaks: 0 }),
            link: RwLock::new(None),
            doubt: Notify::new(),
            end: CancellationToken::new(),
        });
        let (tried, first) = oneshot::channel();
        let supervisor = tokio::spawn(line::supervise(Arc::clone(&shared), tried));
        let _ = first.await;
        Self {
            flights: Semaphore::new(config.max_in_flight),
            supervisor: Mutex::new(Some(supervisor)),
            _end: shared.end.clone().drop_guard(),
            shared,
        }
    }

    /// Publishes in one pipeline, within the time that a publication may take.
    async fn tell(&self, told: Vec<(Channel, Vec<u8>)>) -> Result<(), TopicError> {
        let unavailable = |reason: &str| Err(TopicError::Unavailable(reason.into()));
        let most = self.shared.config.max_envelope;
        if told.iter().any(|(_, bytes)| bytes.len() > most) {
            return unavailable("an envelope is larger than topic.max_envelope");
        }
        let Some(up) = self.shared.up() else {
            return unavailable("there is no connection to Redis");
        };
        let mut pipeline = ::redis::pipe();
        for (channel, bytes) in &told {
            let publish = pipeline.cmd("PUBLISH");
            match channel {
                Channel::All => publish.arg(subjects::NOTIFY_CHANNEL),
                Channel::User(user) => publish.arg(subjects::user_channel(user)),
            };
            publish.arg(&**bytes).ignore();
        }
        let mut mouth = up.link.mouth;
        let flight = async {
            let _place = self.flights.acquire().await;
            pipeline.exec_async(&mut mouth).await
        };
        match timeout(self.shared.config.publish_timeout(), flight).await {
            Ok(Ok(())) => {
                events::topic_published(told.len());
                Ok(())
            }
            Ok(Err(error)) => {
                if error.is_io_error() || error.is_unrecoverable_error() {
                    self.shared.doubt();
                }
                unavailable(&error.to_string())
            }
            Err(_) => {
                self.shared.doubt();
                unavailable("Redis did not answer in time (topic.publish_timeout_ms)")
            }
        }
    }
}

enum Channel {
    All,
    User(String),
}

#[async_trait]
impl Topic for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    async fn publish(&self, envelopes: Vec<Envelope>) -> Result<(), TopicError> {
        if envelopes.is_empty() {
            return Ok(());
        }
        let told = envelopes.into_iter().map(|envelope| {
            let bytes = wire::envelope(&envelope);
            match envelope.to {
                Audience::User(user) => (Channel::User(user), bytes),
                Audience::Topic(_) | Audience::Everyone => (Channel::All, bytes),
            }
        });
        self.tell(told.collect()).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), TopicError> {
        self.tell(vec![(Channel::All, wire::revocation(revocation))]).await
    }

    async fn enter(&self, user: &Arc<str>, seat: Arc<dyn Seat>, cap: u32) -> Result<Entered, TopicError> {
        let shared = &self.shared;
        let up = shared.up();
        let came = shared.ear.here.enter(user, seat, cap, up.is_none(), wall_clock())?;
        let number = came.number;
        // From here on whatever ends this, also its caller's patience, takes the place back.
        let entered = {
            let (shared, user) = (Arc::clone(shared), Arc::clone(user));
            Entered::new(move || shared.ear.here.leave(&user, number, Instant::now()))
        };
        let Some(up) = up else {
            events::roll_alone();
            return Ok(entered);
        };
        let admitted = async {
            let config = &shared.config;
            let roll = Roll::of(&up, config, &came.node);
            match timeout(config.roll_timeout(), roll.enter(user, number, cap)).await {
                Ok(Ok(Answer::In(since, _))) => shared.ear.here.entered(user, number, &came.node, since),
                Ok(Ok(Answer::Full(count))) => return Err(TopicError::Full(count)),
                Ok(Err(_)) | Err(_) => {
                    shared.doubt();
                    events::roll_alone();
                    shared.ear.here.alone(user, number)?;
                }
            }
            Ok(())
        };
        let heard = async {
            if let Some(heard) = came.heard
                && timeout(shared.config.subscribe_timeout(), heard).await.is_err()
            {
                shared.ear.here.late(user);
            }
            Ok::<_, TopicError>(())
        };
        tokio::try_join!(admitted, heard)?;
        Ok(entered)
    }

    async fn present(&self, users: &[&str]) -> Result<Vec<u32>, TopicError> {
        let unavailable = |reason: String| TopicError::Unavailable(reason);
        let up = self.shared.up();
        let up = up.ok_or_else(|| unavailable("there is no connection to Redis".into()))?;
        let node = self.shared.ear.here.node();
        Roll::of(&up, &self.shared.config, &node)
            .count(users)
            .await
            .map_err(|error| unavailable(error.to_string()))
    }

    fn line(&self) -> watch::Receiver<Line> {
        self.shared.line.subscribe()
    }

    async fn close(&self) {
        self.shared.end.cancel();
        if let Some(supervisor) = self.supervisor.lock().await.take() {
            let _ = supervisor.await;
        }
    }
}

impl<'a> Roll<'a> {
    fn of(up: &'a Up, config: &Config, node: &'a str) -> Self {
        Self {
            keys: &up.link.keys,
            nodes: &up.nodes,
            node,
            lease: config.lease(),
            ttl: Duration::from_secs(config.roll_ttl_seconds),
        }
    }
}

impl Shared {
    /// The connections, if they are good as far as anybody knows.
    fn up(&self) -> Option<Up> {
        let up = self.link.read().expect("nothing panics under this lock");
        up.as_ref().filter(|up| !up.doubted).cloned()
    }

    fn set(&self, up: Option<Up>) {
        *self.link.write().expect("nothing panics under this lock") = up;
    }

    fn update(&self, change: impl FnOnce(&mut Up)) {
        let mut up = self.link.write().expect("nothing panics under this lock");
        if let Some(up) = up.as_mut() {
            change(up);
        }
    }

    /// An answer did not come in time.
    fn doubt(&self) {
        self.update(|up| up.doubted = true);
        self.doubt.notify_one();
    }
}
