//! The one task that holds the subscriptions and keeps the roll. Whatever breaks (the connection, an echo that doesn't come), the line goes down
//! and all is subscribed to anew; when a subscription was too slow and lost something, that is a break, too.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::Shared;
use super::roll::Roll;
use crate::lifecycle::Backoff;
use crate::subjects;
use crate::telemetry::events;
use crate::topic::Line;
use crate::topic::here::Put;
use crate::topic::wire::{self, Over};

/// Users who are subscribed to, and places that are put on the roll, without waiting in between.
const BATCH: usize = 100;
/// How often the line is asked whether it lives, and how long that may take.
const ASK_EVERY: Duration = Duration::from_millis(500);
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Lives until the topic is closed or dropped. `tried` is told when the first try is over.
pub async fn supervise(shared: Arc<Shared>, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    let backoff = || Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    let mut delays = backoff();
    let mut told = false;
    loop {
        let made = shared.end.run_until_cancelled(Heard::make(&shared)).await;
        let lost = match made {
            None => return,
            Some(Ok(mut heard)) => {
                drop(tried.take());
                delays = backoff();
                told = false;
                match heard.serve().await {
                    Ok(()) => return heard.leave().await,
                    Err(reason) => reason,
                }
            }
            Some(Err(reason)) => reason,
        };
        shared.set_roll(None);
        shared.line.send_if_modified(|line| std::mem::take(&mut line.up));
        shared.echo.lost();
        shared.ear.here.deaf();
        drop(tried.take());
        if !std::mem::replace(&mut told, true) {
            events::topic_down(&lost);
        }
        let wait = tokio::time::sleep(delays.delay());
        if shared.end.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}

/// A line that is up.
struct Heard<'a> {
    shared: &'a Arc<Shared>,
    _common: [AbortOnDropHandle<()>; 2],
    users: HashMap<Arc<str>, AbortOnDropHandle<()>>,
    lease: Option<Lease>,
    /// Whether it was said that the roll is away.
    told: bool,
}

struct Lease {
    node: Arc<str>,
    revision: u64,
}

impl<'a> Heard<'a> {
    async fn make(shared: &'a Arc<Shared>) -> Result<Self, String> {
        if !shared.nats.pulse.borrow().connected {
            return Err("there is no connection to NATS".into());
        }
        let (echo, all) = timeout(ANSWER_WITHIN, async {
            let all = shared.nats.client.subscribe(subjects::topic_all(&shared.nats.prefix));
            Ok::<_, String>((
                shared.echo.subscribe().await?,
                all.await.map_err(|error| error.to_string())?,
            ))
        })
        .await
        .map_err(|_| "NATS takes no subscription".to_owned())??;
        let echoes = Arc::clone(shared);
        let mut heard = Self {
            shared,
            _common: [
                listen(echo, move |bytes| echoes.echo.heard(bytes)),
                listen(all, hearing(shared)),
            ],
            users: HashMap::new(),
            lease: None,
            told: false,
        };
        while heard.subscribe().await? {}
        heard.ask().await?;
        heard.renew().await;
        shared.line.send_modify(|line| {
            *line = Line {
                up: true,
                breaks: line.breaks + 1,
            };
        });
        events::topic_up();
        Ok(heard)
    }

    async fn serve(&mut self) -> Result<(), String> {
        let mut pulse = self.shared.nats.pulse.clone();
        let before = *pulse.borrow_and_update();
        let mut slow = before.slow;
        let mut ask = ticks(ASK_EVERY);
        let mut renew = ticks(Duration::from_millis(self.shared.config.renew_ms));
        loop {
            tokio::select! {
                () = self.shared.end.cancelled() => return Ok(()),
                changed = pulse.changed() => {
                    let now = *pulse.borrow_and_update();
                    if changed.is_err() || !now.connected || now.lost != before.lost {
                        return Err("the connection to NATS broke".into());
                    }
                    if std::mem::replace(&mut slow, now.slow) != now.slow {
                        self.shared.line.send_modify(|line| line.breaks += 1);
                    }
                }
                () = self.shared.doubt.notified() => self.ask().await?,
                _ = ask.tick() => self.ask().await?,
                _ = renew.tick() => {
                    self.renew().await;
                    self.confirm().await;
                }
                () = self.shared.ear.here.work.notified() => {}
            }
            let subscribed = self.subscribe().await?;
            let placed = self.place().await;
            let config = &self.shared.config;
            let linger = Duration::from_millis(config.linger_ms);
            let here = &self.shared.ear.here;
            // Dropping a subscription ends it.
            for user in here.gone(Instant::now(), linger, config.max_lingering, usize::MAX) {
                self.users.remove(&user);
            }
            events::topic_channels(here.users());
            if subscribed || placed {
                here.work.notify_one();
            }
        }
    }

    /// Subscribes to a batch of users. Whether there was one.
    async fn subscribe(&mut self) -> Result<bool, String> {
        let wanted = self.shared.ear.here.wanted(BATCH);
        if wanted.is_empty() {
            return Ok(false);
        }
        let prefix = &self.shared.nats.prefix;
        for user in &wanted {
            let subscribing = self.shared.nats.client.subscribe(subjects::topic_user(prefix, user));
            let subscribed = timeout(ANSWER_WITHIN, subscribing)
                .await
                .map_err(|_| "NATS takes no subscription".to_owned())?;
            let subscriber = subscribed.map_err(|error| error.to_string())?;
            self.users
                .insert(Arc::clone(user), listen(subscriber, hearing(self.shared)));
        }
        self.ask().await?;
        if self.shared.ear.here.heard(&wanted) {
            self.shared.line.send_modify(|line| line.breaks += 1);
        }
        Ok(true)
    }

    /// Asks whether the line lives; afterwards the server has got all that was said before.
    async fn ask(&self) -> Result<(), String> {
        timeout(ANSWER_WITHIN, self.shared.echo.call())
            .await
            .map_err(|_| "NATS does not answer".to_owned())??;
        self.shared.doubted.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Renews the lease, or begins one. The roll may be away while the line is up: JetStream answers later than NATS.
    async fn renew(&mut self) {
        let renewing = timeout(ANSWER_WITHIN, self.try_renew());
        let renewed = renewing.await.unwrap_or_else(|_| Err("it does not answer".into()));
        if let Err(reason) = renewed {
            self.lost(&reason);
        }
    }

    async fn try_renew(&mut self) -> Result<(), String> {
        if let (Some(lease), Some(roll)) = (&mut self.lease, self.shared.roll()) {
            if let Some(revision) = roll.renew(&lease.node, lease.revision).await? {
                lease.revision = revision;
                return Ok(());
            }
            events::roll_lapsed();
        }
        self.shared.set_roll(None);
        let roll = Roll::open(&self.shared.nats, &self.shared.config).await?;
        let node = self.shared.ear.here.rename();
        let revision = roll.begin(&node, &self.shared.ear.here.former()).await?;
        self.lease = Some(Lease { node, revision });
        self.shared.set_roll(Some(roll));
        self.told = false;
        self.shared.ear.here.work.notify_one();
        Ok(())
    }

    /// Something on the roll went wrong: it is begun anew at the next renewal.
    fn lost(&mut self, reason: &str) {
        self.shared.set_roll(None);
        self.lease = None;
        if !std::mem::replace(&mut self.told, true) {
            events::roll_away(reason);
        }
    }

    /// Takes places off the roll, and puts places on it. Whether there were any.
    async fn place(&mut self) -> bool {
        let Some(roll) = self.shared.roll() else {
            return false;
        };
        let (left, off) = (self.shared.ear.here.left(BATCH), self.shared.ear.here.off(BATCH));
        if left.is_empty() && off.is_empty() {
            return false;
        }
        let node = self.shared.ear.here.node();
        let placed = async {
            roll.remove(&node, &left).await?;
            self.put(&roll, &node, &off).await
        };
        let placed = timeout(ANSWER_WITHIN, placed).await;
        if let Err(reason) = placed.unwrap_or_else(|_| Err("it does not answer".into())) {
            self.lost(&reason);
        }
        true
    }

    async fn confirm(&mut self) {
        let config = &self.shared.config;
        // Three times within the time to live: one that is missed does no harm.
        let share = config.renew_ms as f64 * 3.0 / (config.roll_ttl_seconds as f64 * 1_000.0);
        let Some(roll) = self.shared.roll() else { return };
        let node = self.shared.ear.here.node();
        for puts in self.shared.ear.here.confirm(share.min(1.0)).chunks(BATCH) {
            let put = timeout(ANSWER_WITHIN, self.put(&roll, &node, puts)).await;
            if let Err(reason) = put.unwrap_or_else(|_| Err("it does not answer".into())) {
                return self.lost(&reason);
            }
        }
    }

    async fn put(&self, roll: &Roll, node: &str, puts: &[Put]) -> Result<(), String> {
        let all = roll.put(node, puts, &self.shared.ear.here.former()).await?;
        // Whoever left while this was under way must not stay there.
        roll.remove(node, &self.shared.ear.here.missing(puts)).await?;
        for (put, over) in puts.iter().zip(all) {
            let places = self.shared.ear.over(&put.user, &over);
            if !places.is_empty() {
                let user = put.user.to_string();
                let told = wire::over(&Over { user, places });
                let subject = subjects::topic_user(&self.shared.nats.prefix, &put.user);
                let published = self.shared.nats.client.publish(subject, told.into()).await;
                published.map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Takes this node off the roll.
    async fn leave(&mut self) {
        let node = self.shared.ear.here.node();
        if let Some(roll) = self.shared.roll() {
            let leaving = async {
                for left in self.shared.ear.here.all().chunks(BATCH) {
                    roll.remove(&node, left).await?;
                }
                roll.end(&node).await
            };
            if let Ok(Err(reason)) = timeout(ANSWER_WITHIN, leaving).await {
                events::roll_away(&reason);
            }
        }
        self.shared.set_roll(None);
        self.shared.line.send_if_modified(|line| std::mem::take(&mut line.up));
    }
}

fn hearing(shared: &Arc<Shared>) -> impl Fn(&[u8]) + Send + 'static {
    let shared = Arc::clone(shared);
    move |bytes| shared.ear.hear(bytes)
}

fn listen(mut subscriber: Subscriber, hear: impl Fn(&[u8]) + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(message) = subscriber.next().await {
            hear(&message.payload);
        }
    }))
}

/// A tick that was missed is not made up for.
fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
