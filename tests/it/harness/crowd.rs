//! Producers and devices around a cluster: they go on while parts of it die, as real ones do, and write down what they
//! were told.

mod devices;
mod producers;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Cluster, within};
use crate::checker::{Accepted, Session};

/// How many, and how they behave.
#[derive(Debug, Clone)]
pub struct Plan {
    pub users: usize,
    /// Of each user, at different nodes; the even ones resume by their last `seq`.
    pub devices: usize,
    /// Over HTTP.
    pub producers: usize,
    /// Over NATS: every other one asks the service, the rest publish into the stream.
    pub nats_producers: usize,
    /// Of all producers together.
    pub per_second: u64,
    /// How often a producer tries before it says that it was refused.
    pub tries: usize,
    /// After such a silence a device looks for another node.
    pub silence: Option<Duration>,
    /// After so many deliveries, on average, a device leaves for another node.
    pub wander: Option<u64>,
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            users: 20,
            devices: 2,
            producers: 10,
            nats_producers: 0,
            per_second: 200,
            tries: usize::MAX,
            silence: None,
            wander: None,
            seed: 1,
        }
    }
}

/// What they were told.
#[derive(Default)]
pub struct Told {
    pub accepted: Mutex<Vec<Accepted>>,
    pub sessions: Mutex<Vec<Session>>,
    /// Tries that did not end with a receipt.
    pub failed_tries: AtomicU64,
    /// Notifications whose tries were all in vain.
    pub refused: AtomicU64,
    /// Sessions that began, each with the time.
    pub opened: Mutex<Vec<i64>>,
    /// Sessions that the server or the network ended.
    pub broken: AtomicU64,
    /// The last place that each device knows.
    pub reached: Mutex<HashMap<(String, usize), u64>>,
    /// The longest time that a try took which ended without a receipt, in milliseconds.
    pub longest_refusal: AtomicU64,
}

impl Told {
    pub fn accepted_so_far(&self) -> usize {
        self.accepted.lock().expect("a lock").len()
    }
}

/// Ends with the value.
pub struct Crowd {
    pub told: Arc<Told>,
    plan: Plan,
    producing: CancellationToken,
    listening: CancellationToken,
    producers: JoinSet<()>,
    devices: JoinSet<()>,
}

impl Crowd {
    /// Devices first; producers begin once every device has its session.
    pub async fn gather(cluster: &Cluster, plan: Plan) -> Self {
        let mut crowd = Self {
            told: Arc::default(),
            producing: CancellationToken::new(),
            listening: CancellationToken::new(),
            producers: JoinSet::new(),
            devices: JoinSet::new(),
            plan: plan.clone(),
        };
        for user in 0..plan.users {
            for device in 0..plan.devices {
                let device = devices::Device {
                    sockets: cluster.sockets(),
                    user: format!("test{user}"),
                    number: device,
                    plan: plan.clone(),
                    seed: plan.seed * 1_000 + (user * plan.devices + device) as u64,
                };
                crowd
                    .devices
                    .spawn(device.run(Arc::clone(&crowd.told), crowd.listening.clone()));
            }
        }
        let everybody = plan.users * plan.devices;
        let told = Arc::clone(&crowd.told);
        super::eventually("a session of every device", || async {
            told.opened.lock().expect("a lock").len() >= everybody
        })
        .await;
        for number in 0..plan.producers + plan.nats_producers {
            let way = if number < plan.producers {
                producers::Way::http(cluster.node_urls())
            } else {
                producers::Way::nats(cluster.nats_client().await, number % 2 == 0)
            };
            let producer = producers::Producer {
                number,
                way,
                plan: plan.clone(),
            };
            crowd
                .producers
                .spawn(producer.run(Arc::clone(&crowd.told), crowd.producing.clone()));
        }
        crowd
    }

    /// Waits until so many more were accepted.
    pub async fn accepts(&self, more: usize) {
        let target = self.told.accepted_so_far() + more;
        super::eventually("further receipts", || async { self.told.accepted_so_far() >= target }).await;
    }

    /// No new notifications; what is tried is tried to its end, but not forever.
    pub async fn stop_producing(&mut self) {
        self.producing.cancel();
        within("the end of the producers", async {
            while self.producers.join_next().await.is_some() {}
        })
        .await;
    }

    /// Waits until every device that resumes has reached what the record has for its user; another device may leave out
    /// what a first one confirmed.
    pub async fn caught_up(&self, record: &str) {
        let mut record = PgConnection::connect(record)
            .await
            .expect("the record's server answers");
        let mut missing = String::new();
        let caught_up = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                let last = "select receiver, max(seq) from notify_log group by receiver";
                let last: Vec<(String, i64)> = sqlx::query_as(last).fetch_all(&mut record).await.expect("the record");
                let reached = self.told.reached.lock().expect("a lock").clone();
                let behind = last.iter().flat_map(|(user, last)| {
                    let reached = &reached;
                    (0..self.plan.devices).step_by(2).filter_map(move |device| {
                        let at = reached.get(&(user.clone(), device)).copied().unwrap_or_default();
                        (i64::try_from(at).expect("small") < *last)
                            .then(|| format!("{user}/{device} at {at} of {last}"))
                    })
                });
                missing = behind.collect::<Vec<_>>().join(", ");
                if missing.is_empty() {
                    return;
                }
            }
        };
        if tokio::time::timeout(super::PATIENCE, caught_up).await.is_err() {
            panic!("devices that never got everything: {missing}");
        }
    }

    /// Everybody goes; what they were told is complete.
    pub async fn disperse(mut self) -> Arc<Told> {
        self.producing.cancel();
        self.listening.cancel();
        within("the end of the crowd", async {
            while self.producers.join_next().await.is_some() {}
            while let Some(ended) = self.devices.join_next().await {
                ended.expect("no device fails");
            }
        })
        .await;
        self.told
    }
}

impl Told {
    pub fn failed(&self, took: Duration) {
        self.failed_tries.fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_millis()).expect("small");
        self.longest_refusal.fetch_max(took, Ordering::Relaxed);
    }
}
