//! Producers: one notification after the other, each tried again under its own key until there is a receipt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quick_notify::subjects;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Plan, Told};
use crate::checker::Accepted;
use crate::harness::lasts;
use crate::harness::random::Random;

/// How a producer's notifications get in.
pub enum Way {
    Http {
        http: reqwest::Client,
        urls: Vec<String>,
    },
    /// A request to the service that the nodes share.
    Service(async_nats::Client),
    /// Straight into the stream.
    Stream(async_nats::jetstream::Context),
}

/// A try that takes longer has failed, as far as a producer knows.
const TRY: Duration = Duration::from_secs(2);

impl Way {
    pub fn http(urls: Vec<String>) -> Self {
        Self::Http {
            http: reqwest::Client::new(),
            urls,
        }
    }

    pub fn nats(client: async_nats::Client, service: bool) -> Self {
        match service {
            true => Self::Service(client),
            false => Self::Stream(async_nats::jetstream::new(client)),
        }
    }
}

pub struct Producer {
    pub number: usize,
    pub way: Way,
    pub plan: Plan,
}

impl Producer {
    pub async fn run(self, told: Arc<Told>, over: CancellationToken) {
        let everybody = (self.plan.producers + self.plan.nats_producers) as u64;
        let mut random = Random::new(self.plan.seed + 77 * self.number as u64);
        let mut pace = tokio::time::interval(Duration::from_micros(1_000_000 * everybody / self.plan.per_second));
        // A producer that was held up does not make up for it in a burst.
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for turn in 0.. {
            tokio::select! {
                _ = pace.tick() => {}
                () = over.cancelled() => return,
            }
            let receiver = format!("test{}", random.index(self.plan.users));
            match self.one(turn, &receiver, &told, &over, &mut random).await {
                Some(id) => {
                    let turn = Some((self.number, turn));
                    told.accepted
                        .lock()
                        .expect("a lock")
                        .push(Accepted { id, receiver, turn });
                }
                None => drop(told.refused.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }

    /// The id that the receipt names. `None`: refused as often as the plan says, or given up at the end.
    async fn one(
        &self,
        turn: u64,
        receiver: &str,
        told: &Told,
        over: &CancellationToken,
        random: &mut Random,
    ) -> Option<String> {
        let mut after_the_end = 0;
        let first = random.index(3);
        for again in 0..self.plan.tries {
            let began = Instant::now();
            if let Ok(Some(id)) = tokio::time::timeout(TRY, self.attempt(turn, receiver, (first, again))).await {
                return Some(id);
            }
            told.failed(began.elapsed());
            after_the_end += usize::from(over.is_cancelled());
            if after_the_end > 3 || again + 1 == self.plan.tries {
                break;
            }
            // Time for a client to come back, not an event that anybody could tell it of.
            lasts(Duration::from_millis(100)).await;
        }
        None
    }

    async fn attempt(&self, turn: u64, receiver: &str, (first, again): (usize, usize)) -> Option<String> {
        let name = format!("p{}-{turn}", self.number);
        let draft = json!({"receiver": receiver, "data": name});
        match &self.way {
            Way::Http { http, urls } => {
                let url = &urls[(first + again) % urls.len()];
                let request = http
                    .post(format!("{url}/api/notify"))
                    .header("Idempotency-Key", &name)
                    .body(draft.to_string());
                let answer = request.send().await.ok()?;
                let taken = answer.status() == 202;
                id_of(&answer.json().await.ok()?).filter(|_| taken)
            }
            Way::Service(client) => {
                let answer = client
                    .request("notify.publish", with_id(draft, &name).into())
                    .await
                    .ok()?;
                id_of(&serde_json::from_slice(&answer.payload).ok()?)
            }
            Way::Stream(stream) => {
                let subject = format!("notify.in.user.{}", subjects::token(receiver));
                let mut headers = async_nats::HeaderMap::new();
                headers.insert("Nats-Msg-Id", name.as_str());
                let sent = stream
                    .publish_with_headers(subject, headers, draft.to_string().into())
                    .await
                    .ok()?;
                sent.await.ok().map(|_| name)
            }
        }
    }
}

fn with_id(mut draft: Value, id: &str) -> String {
    draft["id"] = json!(id);
    draft.to_string()
}

fn id_of(receipt: &Value) -> Option<String> {
    receipt["id"].as_str().map(str::to_owned)
}
