//! The task that keeps a lane's pin by pulling, and puts what comes at hand.
//!
//! It speaks the pull protocol itself: the client's own stream tells neither that the pin is lost nor how much is under way, and bounds either
//! messages or bytes. It never gives up: what fails is tried again, for as long as the lane is open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::order::Verdict;
use super::state::{Origin, Taken};
use super::{GROUP, Lane};
use crate::queue::jetstream::entry::Delivery;
use crate::queue::jetstream::timely;

/// Longest life of a pull request; the pin is kept by asking again.
const EXPIRES: Duration = Duration::from_secs(1);
/// Messages that are looked at before others get their turn.
const BURST: usize = 1_000;
/// Longest wait for an answer about the consumer. Shorter than a pin lasts.
const ASK: Duration = Duration::from_secs(2);
/// Pause after a refusal.
const PAUSE: Duration = Duration::from_millis(50);

/// What was asked for and has not come.
struct Requested {
    messages: usize,
    bytes: usize,
    /// When the last request was sent.
    sent: Instant,
    /// Not before this is asked again.
    pause: Instant,
    /// How often the client has connected: what was asked for over another connection doesn't come.
    connects: u64,
}

impl Requested {
    fn nothing() -> Self {
        let now = Instant::now();
        Self {
            messages: 0,
            bytes: 0,
            sent: now.checked_sub(EXPIRES).unwrap_or(now),
            pause: now,
            connects: 0,
        }
    }

    fn came(&mut self, messages: usize, bytes: usize) {
        self.messages = self.messages.saturating_sub(messages);
        // Octets are counted a little differently at the two ends; messages are not.
        self.bytes = if self.messages == 0 {
            0
        } else {
            self.bytes.saturating_sub(bytes)
        };
    }

    fn forget(&mut self, pause: Duration) {
        (self.messages, self.bytes) = (0, 0);
        self.pause = Instant::now() + pause;
    }
}

/// How two looks at an idle lane compare.
#[derive(Default)]
struct Watch {
    /// The look before this one found that something is missing.
    missing: bool,
}

impl Lane {
    /// Pulls until the lane is closed; then lets go of it, so that another node has it at once.
    pub async fn pull(self: Arc<Self>) {
        while !self.lock().closed {
            match self.subscribed().await {
                Ok(()) => continue,
                Err(error) => tracing::warn!(lane = self.number, error, "the lane can't be pulled; trying again"),
            }
            tokio::time::sleep(PAUSE * 10).await;
        }
        self.let_go().await;
    }

    /// One subscription's life; `Ok` when the lane is closed, or when it was given back and is wanted again.
    async fn subscribed(&self) -> Result<(), String> {
        let inbox = self.client.new_inbox();
        let mut messages = self
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|error| error.to_string())?;
        let mut requested = Requested::nothing();
        let mut watch = Watch::default();
        let mut looks = interval(Duration::from_millis(self.config.check_ms));
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut signs = interval(self.config.ack_wait() / 3);
        signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.lock().closed {
                // Nothing more may come here before the pin is given back.
                let _ = messages.unsubscribe().await;
                return Ok(());
            }
            if self.lock().resting {
                // What is still under way to this subscription is not for the next one.
                let _ = messages.unsubscribe().await;
                self.rest().await;
                return Ok(());
            }
            if self.lock().order.wants_reset() && !self.reset().await {
                tokio::time::sleep(PAUSE).await;
            }
            let again = self.ask(&inbox, &mut requested).await?;
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.burst(message, &mut messages, &mut requested).await?,
                    None => return Err("the subscription ended".into()),
                },
                () = self.wanted.notified() => {}
                () = tokio::time::sleep_until(again) => {}
                _ = looks.tick() => self.look(&mut watch).await,
                _ = signs.tick() => self.show_life().await?,
            }
        }
    }

    /// Lets go of the lane, and asks for nothing until the dispatcher wants it again.
    async fn rest(&self) {
        self.let_go().await;
        {
            let mut state = self.lock();
            state.stand_by();
            state.in_hand.clear();
        }
        self.arrived.notify_waiters();
        while {
            let state = self.lock();
            state.resting && !state.closed
        } {
            self.wanted.notified().await;
        }
    }

    /// Asks for more where there is room; says when to look again.
    async fn ask(&self, inbox: &str, requested: &mut Requested) -> Result<Instant, String> {
        let now = Instant::now();
        if now < requested.pause {
            return Ok(requested.pause);
        }
        let connects = self.client.statistics().connects.load(Ordering::Relaxed);
        if requested.connects != connects {
            requested.connects = connects;
            requested.forget(Duration::ZERO);
        }
        let expires = EXPIRES.min(self.config.pin_timeout() / 3);
        // The server has answered all that was asked for so long ago; what it said was lost.
        let stale = requested.sent + expires + EXPIRES;
        if requested.messages > 0 && now >= stale {
            requested.forget(Duration::ZERO);
        }
        let (pin, ready, bytes) = {
            let state = self.lock();
            (state.pin.clone(), state.ready.len(), state.ready_bytes)
        };
        let nothing = ready + requested.messages == 0;
        let room = self.config.prefetch.saturating_sub(ready + requested.messages);
        let mut room_bytes = self.config.prefetch_bytes.saturating_sub(bytes + requested.bytes);
        if nothing {
            // However large the next one is, it must come.
            room_bytes = room_bytes.max(self.client.server_info().max_payload + 65_536);
        }
        let much = room > self.config.prefetch / 2 && room_bytes > self.config.prefetch_bytes / 2;
        let (batch, max_bytes) = if nothing || (much && pin.is_some()) {
            requested.messages += room;
            requested.bytes += room_bytes;
            (room, room_bytes)
        } else if requested.messages == 0 && now >= requested.sent + expires / 2 {
            // No room: this one asks for a message of one octet, which there is none of, and keeps the pin.
            (1, 1)
        } else {
            let idle = if requested.messages == 0 {
                requested.sent + expires / 2
            } else {
                stale
            };
            return Ok(idle);
        };
        let mut request = json!({
            "batch": batch,
            "max_bytes": max_bytes,
            "expires": expires.as_nanos() as u64,
            "group": GROUP,
        });
        if let Some(pin) = pin {
            request["id"] = pin.into();
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.reader.stream, self.consumer);
        self.client
            .publish_with_reply(subject, inbox.to_owned(), request.to_string().into())
            .await
            .map_err(|error| error.to_string())?;
        requested.sent = now;
        Ok(now + expires + EXPIRES)
    }

    /// Takes what has gathered.
    async fn burst(&self, first: Message, messages: &mut Subscriber, requested: &mut Requested) -> Result<(), String> {
        let mut again = Vec::new();
        let mut next = Some(first);
        let mut seen = 0;
        while let Some(message) = next {
            match message.status {
                None | Some(StatusCode::OK) => {
                    requested.came(1, message.length);
                    again.extend(self.arrived(message));
                }
                Some(status) => self.answered(status, &message, requested),
            }
            seen += 1;
            next = if seen < BURST {
                messages.next().now_or_never().flatten()
            } else {
                None
            };
        }
        self.arrived.notify_waiters();
        for reply in again {
            self.client
                .publish(reply, Bytes::new())
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// One message; its reply when it has to be acked again.
    fn arrived(&self, message: Message) -> Option<async_nats::Subject> {
        let Some(delivery) = Delivery::of(&message) else {
            tracing::warn!(lane = self.number, subject = %message.subject, "a message without a place in the stream");
            return None;
        };
        // The server's own comes last: a producer may have written one, too.
        let pin = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get_last("Nats-Pin-Id"))
            .map(ToString::to_string);
        let mut state = self.lock();
        match state.arrived(pin.as_deref(), delivery.number, delivery.sequence) {
            Verdict::Take => {
                let (entry, subject) = self.reader.entry(&message, &delivery);
                let origin = Origin {
                    sequence: delivery.sequence,
                    reply: delivery.reply,
                    subject,
                    headers: message.headers,
                };
                state.push(Taken { entry, origin });
                None
            }
            Verdict::AckAgain => Some(delivery.reply),
            Verdict::Have | Verdict::Drop => None,
        }
    }

    /// What the server said instead of a message.
    fn answered(&self, status: StatusCode, message: &Message, requested: &mut Requested) {
        let number = |name: &str| -> Option<usize> { message.headers.as_ref()?.get(name)?.as_str().parse().ok() };
        match (number("Nats-Pending-Messages"), number("Nats-Pending-Bytes")) {
            // The rest of one that kept the pin, and was not counted.
            (Some(1), Some(0..=1)) => {}
            (Some(messages), Some(bytes)) => requested.came(messages, bytes),
            _ => requested.forget(PAUSE),
        }
        match status {
            // Its time is over, as every second.
            StatusCode::TIMEOUT => {}
            StatusCode::PIN_ID_MISMATCH => {
                requested.pause = Instant::now() + PAUSE;
                let mut state = self.lock();
                if state.pin.is_some() {
                    tracing::info!(lane = self.number, "the pin is lost; standing by");
                    state.stand_by();
                    self.arrived.notify_waiters();
                }
            }
            _ => {
                tracing::debug!(lane = self.number, %status, said = message.description, "a pull was refused");
                requested.pause = Instant::now() + PAUSE;
            }
        }
    }

    /// Has the server begin again at the first entry that is not settled. Says whether that is done.
    async fn reset(&self) -> bool {
        let asked = async {
            let info = timely(ASK, self.stream.consumer_info(&self.consumer)).await?;
            let pinned = info
                .priority_groups
                .first()
                .and_then(|group| group.pinned_client_id.clone());
            {
                let mut state = self.lock();
                if state.pin != pinned || pinned.is_none() {
                    // The one who has it now does this.
                    state.order.was_reset();
                    state.stand_by();
                    return Ok(false);
                }
                state.order.resetting();
            }
            timely(ASK, self.stream.reset_consumer(&self.consumer, None)).await?;
            self.lock().order.was_reset();
            Ok::<_, String>(true)
        };
        let done = match asked.await {
            Ok(true) => {
                tracing::debug!(lane = self.number, "the lane begins at its first unsettled entry");
                true
            }
            Ok(false) => true,
            Err(error) => {
                tracing::warn!(lane = self.number, error, "the lane can't be reset; trying again");
                false
            }
        };
        self.arrived.notify_waiters();
        done
    }

    /// Looks whether an idle lane is missing something: what was lost on the way, or what a dead node left.
    async fn look(&self, watch: &mut Watch) {
        let (pin, delivered, unsettled, lively) = {
            let mut state = self.lock();
            let lively = std::mem::take(&mut state.lively);
            let unsettled = state.ready.len() + state.in_hand.len();
            (state.pin.clone(), state.order.delivered(), unsettled, lively)
        };
        if lively || self.client.connection_state() != async_nats::connection::State::Connected {
            watch.missing = false;
            return;
        }
        let Ok(info) = timely(ASK, self.stream.consumer_info(&self.consumer)).await else {
            return;
        };
        let pinned = info.priority_groups.first().and_then(|g| g.pinned_client_id.clone());
        let missing = match &pinned {
            // Twice, for it may be under way. More that waits for acks than there is here: acks were lost.
            Some(_) if pinned == pin => {
                info.delivered.consumer_sequence != delivered || info.num_ack_pending > unsettled
            }
            _ => false,
        };
        {
            let mut state = self.lock();
            if pin.is_some() && state.pin == pin && pinned != pin {
                tracing::info!(lane = self.number, "the pin is gone; standing by");
                state.stand_by();
                self.arrived.notify_waiters();
            } else if missing && watch.missing {
                tracing::info!(
                    lane = self.number,
                    "deliveries or acks were lost on the way; the lane begins again"
                );
                state.order.want_reset();
            }
        }
        watch.missing = missing;
        if pinned.is_none() && info.num_ack_pending > 0 {
            // A node died with these in hand, and nothing new comes that would give the pin to another.
            self.lock().order.was_reset();
            if let Err(error) = timely(ASK, self.stream.reset_consumer(&self.consumer, None)).await {
                tracing::warn!(lane = self.number, error, "the lane of a dead node can't be reset");
            }
        }
    }

    /// Keeps what is at hand and in hand from coming again, however long the record is away.
    async fn show_life(&self) -> Result<(), String> {
        let unsettled = self.lock().unsettled();
        for reply in unsettled {
            self.client
                .publish(reply, Bytes::from_static(b"+WPI"))
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Gives the pin back, and what is not settled with it.
    async fn let_go(&self) {
        let (pin, unsettled) = {
            let state = self.lock();
            (state.pin.clone(), state.ready.len() + state.in_hand.len())
        };
        if pin.is_none() {
            return;
        }
        // Acks first.
        let given = async {
            timely(ASK, self.client.flush()).await?;
            timely(ASK, self.stream.unpin_consumer(&self.consumer, GROUP)).await?;
            if unsettled > 0 {
                timely(ASK, self.stream.reset_consumer(&self.consumer, None)).await?;
            }
            Ok::<_, String>(())
        };
        if let Err(error) = given.await {
            tracing::warn!(
                lane = self.number,
                error,
                "the lane can't be given back; another node has it after the pin time-out"
            );
        }
    }
}
