//! Devices: one session after the other, at whichever node is there; each confirms what it gets.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quick_notify::lifecycle::wall_clock;
use quick_notify::stomp::ServerCommand;
use tokio_util::sync::CancellationToken;

use super::{Plan, Told};
use crate::checker::{Heard, Session};
use crate::harness::random::Random;
use crate::harness::{Tab, delivery, lasts};

pub struct Device {
    pub sockets: Vec<String>,
    pub user: String,
    pub number: usize,
    pub plan: Plan,
    pub seed: u64,
}

/// Why a session ended.
enum End {
    Over,
    Broken,
    Wandered,
    /// The server asked to come back elsewhere after this time.
    SentAway(Duration),
    Silence,
}

impl End {
    fn of(tab: &Tab) -> Self {
        let reason = tab
            .close
            .as_ref()
            .map(|(_, reason)| reason.as_str())
            .unwrap_or_default();
        match reason
            .strip_prefix("draining; retry-after=")
            .and_then(|time| time.parse().ok())
        {
            Some(milliseconds) => Self::SentAway(Duration::from_millis(milliseconds)),
            None => Self::Broken,
        }
    }
}

impl Device {
    pub async fn run(self, told: Arc<Told>, over: CancellationToken) {
        let mut random = Random::new(self.seed);
        let mut node = (usize::try_from(self.seed).expect("small") + self.number) % self.sockets.len();
        let resumes = self.number.is_multiple_of(2);
        let mut last = 0;
        while !over.is_cancelled() {
            let opening = Tab::try_listen(&self.sockets[node], &self.user, resumes.then_some(last));
            let opened = tokio::time::timeout(Duration::from_secs(3), opening).await;
            let Ok(Some(tab)) = opened else {
                node = (node + 1) % self.sockets.len();
                lasts(Duration::from_millis(50)).await;
                continue;
            };
            told.opened.lock().expect("a lock").push(wall_clock());
            let mut session = Session {
                user: self.user.clone(),
                resumes: resumes.then(|| format!("device {}", self.number)),
                ..Session::default()
            };
            let end = self
                .listen(tab, &mut session, &mut last, &mut random, &told, &over)
                .await;
            told.sessions.lock().expect("a lock").push(session);
            if matches!(end, End::Broken) {
                told.broken.fetch_add(1, Ordering::Relaxed);
            }
            if let End::SentAway(time) = end {
                tokio::select! {
                    () = lasts(time) => {}
                    () = over.cancelled() => return,
                }
            }
            if !matches!(end, End::Over) {
                node = (node + 1 + random.index(2)) % self.sockets.len();
            }
        }
    }

    async fn listen(
        &self,
        mut tab: Tab,
        session: &mut Session,
        last: &mut u64,
        random: &mut Random,
        told: &Told,
        over: &CancellationToken,
    ) -> End {
        let silence = self.plan.silence.unwrap_or(Duration::from_secs(3_600));
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(silence, tab.next()) => frame,
                () = over.cancelled() => return End::Over,
            };
            let frame = match frame {
                Err(_) => return End::Silence,
                Ok(None) => return End::of(&tab),
                Ok(Some(frame)) => frame,
            };
            match frame.command {
                ServerCommand::Receipt => {
                    session
                        .confirmed
                        .push(frame.headers.get("receipt-id").unwrap_or_default().to_owned());
                    continue;
                }
                ServerCommand::Message => {}
                _ => return End::Broken,
            }
            let delivery = delivery(frame);
            if let Some(heard) = Heard::of(&delivery) {
                *last = heard.seq.max(*last);
                session.heard.push(heard);
                told.reached
                    .lock()
                    .expect("a lock")
                    .insert((self.user.clone(), self.number), *last);
            }
            let sent = match random.below(4) {
                0 => tab.try_ack_told(&delivery.id).await,
                _ => tab.try_ack(&delivery.id).await,
            };
            if !sent {
                return End::Broken;
            }
            if self.plan.wander.is_some_and(|wander| random.below(wander) == 0) {
                return End::Wandered;
            }
        }
    }
}
