//! The one task that holds the connections: makes them, asks whether they live, subscribes and unsubscribes, and keeps the roll.
//!
//! Whatever breaks (a connection, an answer that doesn't come, Redis cutting off a node that is too slow), the line goes down, all is made
//! anew, and only when every user's channel is subscribed to again is it up, with one break more: what was published meanwhile was missed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::redis::aio::SendError;
use ::redis::{PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::{Notify, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use super::roll::{self, Roll};
use super::{Shared, Up};
use crate::lifecycle::Backoff;
use crate::redis::Link;
use crate::subjects;
use crate::telemetry::events;
use crate::topic::here::Put;
use crate::topic::wire::{self, Over};

/// Channels that one SUBSCRIBE names.
const CHANNELS: usize = 500;
/// Places that are put on the roll, or taken off, without waiting in between.
const PLACES: usize = 100;

/// Lives until the topic is closed or dropped. `tried` is told when the first try to connect is over.
pub async fn supervise(shared: Arc<Shared>, tried: oneshot::Sender<()>) {
    let mut tried = Some(tried);
    let backoff = || {
        let config = shared.redis.config();
        let ms = Duration::from_millis;
        Backoff::new(ms(config.reconnect_first_ms), ms(config.reconnect_most_ms))
    };
    let mut delays = backoff();
    let mut told = false;
    loop {
        let connected = shared.end.run_until_cancelled(Connected::make(&shared)).await;
        let lost = match connected {
            None => return,
            Some(Ok(mut connected)) => {
                if let Some(tried) = tried.take() {
                    let _ = tried.send(());
                }
                delays = backoff();
                told = false;
                match connected.serve().await {
                    Ok(()) => return connected.leave().await,
                    Err(error) => error,
                }
            }
            Some(Err(error)) => error,
        };
        shared.set(None);
        shared.line.send_if_modified(|line| std::mem::take(&mut line.up));
        if !std::mem::replace(&mut told, true) {
            events::topic_down(&lost);
        }
        drop(tried.take());
        shared.ear.here.deaf();
        let wait = tokio::time::sleep(delays.delay());
        if shared.end.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}

/// A line that is up.
struct Connected<'a> {
    shared: &'a Shared,
    link: Link,
    pulse: Arc<Pulse>,
}

/// What is known of the hearing connection where its bytes are read.
#[derive(Default)]
struct Pulse {
    heard: AtomicU64,
    closed: Notify,
}

impl<'a> Connected<'a> {
    async fn make(shared: &'a Arc<Shared>) -> RedisResult<Self> {
        let pulse = Arc::new(Pulse::default());
        let sender = {
            let (shared, pulse) = (Arc::clone(shared), Arc::clone(&pulse));
            move |push: PushInfo| {
                match (push.kind, push.data.get(1)) {
                    (PushKind::Message, Some(Value::BulkString(bytes))) => {
                        pulse.heard.fetch_add(1, Ordering::Relaxed);
                        // Where the bytes are read: when this node is too slow Redis notices, and nothing piles up here.
                        shared.ear.hear(bytes);
                    }
                    (PushKind::Disconnection, _) => pulse.closed.notify_one(),
                    _ => {}
                }
                Ok::<(), SendError>(())
            }
        };
        let link = shared.redis.link(sender).await?;
        let mut connected = Self { shared, link, pulse };
        connected.link.ear.subscribe(subjects::NOTIFY_CHANNEL).await?;
        while connected.subscribe().await?.is_continue() {}
        connected.begin_roll().await?;
        shared.line.send_modify(|line| {
            *line = super::Line {
                up: true,
                breaks: line.breaks + 1,
            };
        });
        events::topic_up();
        Ok(connected)
    }

    /// Does what is to be done until the topic is closed, or the line breaks.
    async fn serve(&mut self) -> RedisResult<()> {
        let config = &self.shared.config;
        let mut ping = ticks(Duration::from_millis(self.shared.redis.config().ping_interval_ms));
        let mut renew = ticks(Duration::from_millis(config.renew_ms));
        loop {
            tokio::select! {
                () = self.shared.end.cancelled() => return Ok(()),
                () = self.pulse.closed.notified() => return Err(closed()),
                () = self.shared.doubt.notified() => self.ping().await?,
                _ = ping.tick() => self.ping().await?,
                _ = renew.tick() => self.renew().await?,
                () = self.shared.ear.here.work.notified() => {}
            }
            // A batch of each kind at once, and then a look at the rest: nothing waits long for anything else.
            if self.work().await?.is_continue() {
                self.shared.ear.here.work.notify_one();
            }
        }
    }

    async fn work(&mut self) -> RedisResult<ControlFlow<()>> {
        let subscribed = self.subscribe().await?;
        let unsubscribed = self.unsubscribe().await?;
        let placed = self.place().await?;
        events::topic_channels(self.shared.ear.here.users());
        let more = [subscribed, unsubscribed, placed].iter().any(ControlFlow::is_continue);
        Ok(if more {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    }

    async fn subscribe(&mut self) -> RedisResult<ControlFlow<()>> {
        let wanted = self.shared.ear.here.wanted(CHANNELS);
        if wanted.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let channels: Vec<_> = wanted.iter().map(|user| subjects::user_channel(user)).collect();
        self.link.ear.subscribe(&channels).await?;
        if self.shared.ear.here.heard(&wanted) {
            self.shared.line.send_modify(|line| line.breaks += 1);
        }
        Ok(ControlFlow::Continue(()))
    }

    async fn unsubscribe(&mut self) -> RedisResult<ControlFlow<()>> {
        let config = &self.shared.config;
        let linger = Duration::from_millis(config.linger_ms);
        let bound = config.max_lingering;
        let gone = self.shared.ear.here.gone(Instant::now(), linger, bound, CHANNELS);
        if gone.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let channels: Vec<_> = gone.iter().map(|user| subjects::user_channel(user)).collect();
        self.link.ear.unsubscribe(&channels).await?;
        Ok(ControlFlow::Continue(()))
    }

    /// Takes places off the roll, and puts places on it.
    async fn place(&mut self) -> RedisResult<ControlFlow<()>> {
        let (left, off) = (self.shared.ear.here.left(PLACES), self.shared.ear.here.off(PLACES));
        let Some(up) = self.current() else {
            return Ok(ControlFlow::Break(()));
        };
        let node = self.shared.ear.here.node();
        Roll::of(&up, &self.shared.config, &node).remove(&left).await?;
        self.put(&up, &node, &off).await?;
        Ok(if left.is_empty() && off.is_empty() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    }

    async fn put(&self, up: &Up, node: &str, puts: &[Put]) -> RedisResult<()> {
        let roll = Roll::of(up, &self.shared.config, node);
        let all = roll.put(puts, &self.shared.ear.here.former()).await?;
        // Whoever left while this was under way must not stay there.
        roll.remove(&self.shared.ear.here.missing(puts)).await?;
        for (put, over) in puts.iter().zip(all) {
            let places = self.shared.ear.over(&put.user, &over);
            if !places.is_empty() {
                let user = put.user.to_string();
                let told = wire::over(&Over { user, places });
                ::redis::cmd("PUBLISH")
                    .arg(subjects::user_channel(&put.user))
                    .arg(told)
                    .exec_async(&mut self.link.mouth.clone())
                    .await?;
            }
        }
        Ok(())
    }

    /// Asks whether both connections live. Answers stand in a line behind what is heard: while that comes, the line lives.
    async fn ping(&mut self) -> RedisResult<()> {
        let before = self.pulse.heard.load(Ordering::Relaxed);
        match roll::ping(&mut self.link.ear, &mut self.link.mouth).await {
            Err(error) if error.is_timeout() && self.pulse.heard.load(Ordering::Relaxed) > before => {}
            answered => answered?,
        }
        self.shared.update(|up| up.doubted = false);
        Ok(())
    }

    async fn renew(&mut self) -> RedisResult<()> {
        let config = &self.shared.config;
        let node = self.shared.ear.here.node();
        let Some(nodes) = roll::renew(&self.link.keys, &node, config.lease()).await? else {
            events::roll_lapsed();
            return self.begin_roll().await;
        };
        self.shared.update(|up| up.nodes = Arc::new(nodes));
        // Three times within the time to live: one that is missed does no harm.
        let share = config.renew_ms as f64 * 3.0 / (config.roll_ttl_seconds as f64 * 1_000.0);
        let puts = self.shared.ear.here.confirm(share.min(1.0));
        if let Some(up) = self.current() {
            for puts in puts.chunks(PLACES) {
                self.put(&up, &node, puts).await?;
            }
        }
        Ok(())
    }

    /// Begins a lease under a new name; every place is to be put on the roll under it.
    async fn begin_roll(&mut self) -> RedisResult<()> {
        let node = self.shared.ear.here.rename();
        let former = self.shared.ear.here.former();
        let lease = self.shared.config.lease();
        let nodes = Arc::new(roll::begin(&self.link.keys, &node, &former, lease).await?);
        self.shared.set(Some(Up {
            link: self.link.clone(),
            nodes,
            doubted: false,
        }));
        self.shared.ear.here.work.notify_one();
        Ok(())
    }

    /// Takes this node off the roll, its places first: others may think its lease good for a moment longer.
    async fn leave(&mut self) {
        let node = self.shared.ear.here.node();
        if let Some(up) = self.current() {
            let roll = Roll::of(&up, &self.shared.config, &node);
            for left in self.shared.ear.here.all().chunks(PLACES) {
                if roll.remove(left).await.is_err() {
                    break;
                }
            }
        }
        if let Err(error) = roll::end(&self.link.keys, &node).await {
            events::topic_down(&error);
        }
        self.shared.set(None);
        self.shared.line.send_if_modified(|line| std::mem::take(&mut line.up));
    }

    fn current(&self) -> Option<Up> {
        self.shared.link.read().expect("nothing panics under this lock").clone()
    }
}

/// A tick that was missed is not made up for.
fn ticks(every: Duration) -> tokio::time::Interval {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn closed() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}
