//! A producer that tries again under the same key, and writes each try down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::lasts;
use crate::harness::random::Random;

pub struct Plan {
    pub url: String,
    pub number: usize,
    pub clients: usize,
    pub pace: Duration,
    pub seed: u64,
}

#[derive(Debug)]
pub struct Try {
    pub began: Instant,
    pub took: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    /// Nobody was there, or it went away meanwhile.
    NoAnswer(String),
    Status(u16),
}

/// Publishes until it is enough; answers with the ids that were accepted, each with its receiver. On a thread of its own: thousands of clients that
/// are busy on the others are not to be what is measured.
pub fn produce(
    plan: Plan,
    tries: Arc<Mutex<Vec<Try>>>,
    enough: CancellationToken,
) -> JoinHandle<HashMap<String, usize>> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(publish(plan, tries, enough))
    })
}

async fn publish(plan: Plan, tries: Arc<Mutex<Vec<Try>>>, enough: CancellationToken) -> HashMap<String, usize> {
    // Longer than the server takes to say that it can't: that would be its answer, and not our impatience.
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(12))
        .build()
        .expect("a client");
    let mut random = Random::new(plan.seed);
    let mut accepted = HashMap::new();
    let mut pace = tokio::time::interval(plan.pace);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in 0.. {
        pace.tick().await;
        if enough.is_cancelled() {
            break;
        }
        let receiver = random.index(plan.clients);
        let key = format!("p{}-{turn}", plan.number);
        let draft = json!({"receiver": format!("test{receiver}"), "data": key}).to_string();
        loop {
            let began = Instant::now();
            let request = http
                .post(format!("{}/api/notify", plan.url))
                .header("Idempotency-Key", &key)
                .body(draft.clone());
            let (outcome, id) = match request.send().await {
                Ok(answer) if answer.status() == 202 => match answer.json::<Value>().await {
                    Ok(receipt) => (Outcome::Taken, Some(receipt["id"].as_str().expect("an id").to_owned())),
                    Err(error) => (Outcome::NoAnswer(format!("{error:?}")), None),
                },
                Ok(answer) => (Outcome::Status(answer.status().as_u16()), None),
                Err(error) => (Outcome::NoAnswer(format!("{error:?}")), None),
            };
            let took = began.elapsed();
            tries.lock().expect("a lock").push(Try { began, took, outcome });
            if let Some(id) = id {
                accepted.insert(id, receiver);
                break;
            }
            lasts(Duration::from_millis(100)).await;
        }
    }
    accepted
}
