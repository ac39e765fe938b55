//! The topic over NATS, for those who want one server less: core NATS forwards, and the roll lies in two key-value buckets of JetStream.
//!
//! A node subscribes to a user's subject while it holds a session of that user, as with Redis. NATS confirms neither a publication nor a
//! subscription, so a node tells itself something after it (`Echo`): one connection keeps the order, and what comes back shows that the server
//! has got all before it. What is lost between two servers of a cluster nobody is told of; the tail finds it when a lane is in doubt or a line
//! broke, and else with the session's next reading.
//!
//! Each user who is here costs a subscription with a task and a queue of its own, about 10 KiB: Redis is the one for many users a node.

mod echo;
mod line;
mod roll;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Instant;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Notify, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::echo::Echo;
use self::roll::{Answer, Roll};
use super::ear::Ear;
use super::{Entered, Line, Listener, Seat, Topic, TopicError, wire};
use crate::domain::envelope::Envelope;
use crate::domain::notification::Audience;
use crate::domain::revocation::Revocation;
use crate::lifecycle::wall_clock;
use crate::nats::Nats;
use crate::subjects;
use crate::telemetry::events;

/// How the roll is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Servers that keep it. In memory: with all of them it is lost, and written anew.
    pub replicas: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { replicas: 1 }
    }
}

pub struct OverNats {
    shared: Arc<Shared>,
    /// Publications on their way.
    flights: Semaphore,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    _end: DropGuard,
}

/// What the supervising task and the callers share.
struct Shared {
    config: super::Config,
    nats: Nats,
    ear: Ear,
    echo: Echo,
    line: watch::Sender<Line>,
    /// An answer did not come in time; until the supervisor knows more nobody waits for another.
    doubted: AtomicBool,
    doubt: Notify,
    /// The buckets, while they can be used.
    roll: RwLock<Option<Roll>>,
    end: CancellationToken,
}

impl OverNats {
    /// Starts; waits for the first try to hear, and goes on without when it fails.
    pub async fn start(config: &super::Config, nats: Nats, listener: Arc<dyn Listener>) -> Self {
        let shared = Arc::new(Shared {
            config: config.clone(),
            echo: Echo::new(&nats),
            nats,
            ear: Ear::new(config, listener),
            line: watch::Sender::new(Line { up: false, breaks: 0 }),
            doubted: AtomicBool::new(false),
            doubt: Notify::new(),
            roll: RwLock::new(None),
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

    async fn tell(&self, told: Vec<(String, Vec<u8>)>) -> Result<(), TopicError> {
        let unavailable = |reason: &str| Err(TopicError::Unavailable(reason.into()));
        let shared = &self.shared;
        let most = shared.config.max_envelope.min(shared.nats.client.max_payload());
        if told.iter().any(|(_, bytes)| bytes.len() > most) {
            return unavailable("an envelope is larger than topic.max_envelope or the server's max_payload");
        }
        if !shared.is_up() {
            return unavailable("there is no connection to NATS");
        }
        let count = told.len();
        let flight = async {
            let _place = self.flights.acquire().await;
            for (subject, bytes) in told {
                let published = shared.nats.client.publish(subject, bytes.into()).await;
                published.map_err(|error| error.to_string())?;
            }
            shared.echo.call().await
        };
        match timeout(shared.config.publish_timeout(), flight).await {
            Ok(Ok(())) => {
                events::topic_published(count);
                Ok(())
            }
            Ok(Err(reason)) => unavailable(&reason),
            Err(_) => {
                shared.doubt();
                unavailable("NATS did not answer in time (topic.publish_timeout_ms)")
            }
        }
    }
}

#[async_trait]
impl Topic for OverNats {
    fn name(&self) -> &'static str {
        "nats"
    }

    async fn publish(&self, envelopes: Vec<Envelope>) -> Result<(), TopicError> {
        if envelopes.is_empty() {
            return Ok(());
        }
        let prefix = &self.shared.nats.prefix;
        let told = envelopes.iter().map(|envelope| {
            let subject = match &envelope.to {
                Audience::User(user) => subjects::topic_user(prefix, user),
                Audience::Topic(_) | Audience::Everyone => subjects::topic_all(prefix),
            };
            (subject, wire::envelope(envelope))
        });
        self.tell(told.collect()).await
    }

    async fn revoke(&self, revocation: &Revocation) -> Result<(), TopicError> {
        let subject = subjects::topic_all(&self.shared.nats.prefix);
        self.tell(vec![(subject, wire::revocation(revocation))]).await
    }

    async fn enter(&self, user: &Arc<str>, seat: Arc<dyn Seat>, cap: u32) -> Result<Entered, TopicError> {
        let shared = &self.shared;
        let roll = shared.roll().filter(|_| shared.is_up());
        let came = shared.ear.here.enter(user, seat, cap, roll.is_none(), wall_clock())?;
        let number = came.number;
        // From here on whatever ends this, also its caller's patience, takes the place back.
        let entered = {
            let (shared, user) = (Arc::clone(shared), Arc::clone(user));
            Entered::new(move || shared.ear.here.leave(&user, number, Instant::now()))
        };
        let admitted = async {
            let Some(roll) = roll else {
                events::roll_alone();
                return Ok(());
            };
            match timeout(shared.config.roll_timeout(), roll.enter(&came.node, user, number, cap)).await {
                Ok(Ok(Answer::In(since))) => shared.ear.here.entered(user, number, &came.node, since),
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
            Ok(())
        };
        tokio::try_join!(admitted, heard)?;
        Ok(entered)
    }

    async fn present(&self, users: &[&str]) -> Result<Vec<u32>, TopicError> {
        let away = || TopicError::Unavailable("the roll can't be read".into());
        let roll = self.shared.roll().filter(|_| self.shared.is_up()).ok_or_else(away)?;
        let node = self.shared.ear.here.node();
        roll.count(&node, users).await.map_err(TopicError::Unavailable)
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

impl Shared {
    fn is_up(&self) -> bool {
        self.line.borrow().up && !self.doubted.load(Ordering::Relaxed)
    }

    fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
        self.doubt.notify_one();
    }

    fn roll(&self) -> Option<Roll> {
        self.roll.read().expect("nothing panics under this lock").clone()
    }

    fn set_roll(&self, roll: Option<Roll>) {
        *self.roll.write().expect("nothing panics under this lock") = roll;
    }
}
