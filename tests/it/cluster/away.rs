//! Redis, PostgreSQL or NATS away for a while. `TEST_SECONDS` says for how long; CI's ten seconds show the same as sixty.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use quick_notify::lifecycle::wall_clock;
use serde_json::json;

use crate::checker::{Fault, Figures, QueueEnd, Record};
use crate::harness::crowd::{Crowd, Plan};
use crate::harness::random::number;
use crate::harness::{Cluster, eventually, lasts};

fn outage() -> Duration {
    Duration::from_secs(number("TEST_SECONDS", 10))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_everything_arrives_within_2_s_of_its_acceptance() {
    let mut cluster = Cluster::start(&[]).await;
    let plan = Plan {
        users: 50,
        producers: 25,
        per_second: 500,
        ..Plan::default()
    };
    let mut crowd = Crowd::gather(&cluster, plan).await;
    crowd.accepts(500).await;
    let from = wall_clock();
    cluster.redis.kill9().await;
    let accepted = crowd.told.accepted_so_far();
    lasts(outage()).await;
    let taken = crowd.told.accepted_so_far() - accepted;
    println!(
        "{:.0} a second while Redis was away",
        taken as f64 / outage().as_secs_f64()
    );
    cluster.redis.restart().await;
    let to = wall_clock();
    crowd.accepts(1_000).await;
    crowd.stop_producing().await;
    let fault = Fault {
        what: "Redis away".into(),
        from,
        to,
    };
    let figures = tell(&cluster, crowd, fault, Sessions::Stay).await;
    // What the machine itself takes, busy as it may be, is not Redis's doing.
    let most = 2_000 + figures.in_peace;
    assert!(
        figures.faults[0].delay <= most,
        "later than promised: more than {most} ms"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_record_producers_get_receipts_and_everything_arrives_in_order_after() {
    let mut cluster = Cluster::start(&[]).await;
    let mut crowd = Crowd::gather(
        &cluster,
        Plan {
            tries: 1,
            ..Plan::default()
        },
    )
    .await;
    let began = Instant::now();
    crowd.accepts(200).await;
    let usual = 200.0 / began.elapsed().as_secs_f64();
    let from = wall_clock();
    cluster.postgres.kill9().await;
    let accepted = crowd.told.accepted_so_far();
    lasts(outage()).await;
    let taken = crowd.told.accepted_so_far() - accepted;
    let refused = crowd.told.refused.load(Ordering::SeqCst);
    cluster.postgres.restart().await;
    let to = wall_clock();
    println!("{taken} taken while the record was away, {refused} refused");
    crowd.accepts(200).await;
    crowd.stop_producing().await;
    let fault = Fault {
        what: "PostgreSQL away".into(),
        from,
        to,
    };
    tell(&cluster, crowd, fault, Sessions::Stay).await;
    assert_eq!(refused, 0);
    let rate = taken as f64 / outage().as_secs_f64();
    assert!(
        rate > usual / 2.0,
        "producers are held up: {rate} a second instead of {usual}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_nats_producers_get_503_at_once_and_sessions_stay() {
    let mut cluster = Cluster::start(&[]).await;
    let mut crowd = Crowd::gather(
        &cluster,
        Plan {
            per_second: 100,
            ..Plan::default()
        },
    )
    .await;
    crowd.accepts(200).await;
    let from = wall_clock();
    cluster.nats.servers_mut()[0].kill9().await;
    let draft = json!({"receiver": "test1", "data": "now"}).to_string();
    for node in &cluster.nodes {
        // The node notices with its next breath; from then on it says so without waiting.
        eventually("a refusal", || async {
            node.server.post("/api/notify", &[], draft.clone()).await.status == 503
        })
        .await;
        let began = Instant::now();
        let answer = node.server.post("/api/notify", &[], draft.clone()).await;
        let took = began.elapsed();
        assert_eq!(
            (answer.status, answer.headers.contains_key("retry-after")),
            (503, true),
            "{}",
            answer.text
        );
        assert!(took < Duration::from_millis(500), "a refusal took {took:?}");
        println!("503 after {took:?}");
        assert_eq!(node.server.get("/health/live", &[]).await.status, 200);
    }
    println!(
        "the longest try without a receipt took {} ms",
        crowd.told.longest_refusal.load(Ordering::SeqCst)
    );
    lasts(outage().min(Duration::from_secs(10))).await;
    cluster.nats.servers_mut()[0].restart().await;
    let to = wall_clock();
    crowd.accepts(200).await;
    crowd.stop_producing().await;
    let fault = Fault {
        what: "NATS away".into(),
        from,
        to,
    };
    tell(&cluster, crowd, fault, Sessions::Stay).await;
}

pub enum Sessions {
    Stay,
    Leave,
}

/// Waits until everybody has everything, asks the record and the checker, and prints the figures.
pub async fn tell(cluster: &Cluster, crowd: Crowd, fault: Fault, sessions: Sessions) -> Figures {
    let url = cluster.postgres.url();
    let queue = cluster.queue_at_rest().await;
    crowd.caught_up(&url).await;
    let told = crowd.disperse().await;
    let record = Record::at(&url, queue).await;
    let (accepted, heard) = (
        told.accepted.lock().expect("a lock"),
        told.sessions.lock().expect("a lock"),
    );
    let figures = record.figures(&accepted, &heard, &[fault]);
    println!("{figures}");
    let broken = told.broken.load(Ordering::SeqCst);
    println!(
        "sessions that broke {broken}, tries without a receipt {}",
        told.failed_tries.load(Ordering::SeqCst)
    );
    assert_eq!(record.check(&accepted, &heard), Vec::<String>::new());
    assert!(matches!(queue, QueueEnd::Asked { .. }));
    if matches!(sessions, Sessions::Stay) {
        assert_eq!(broken, 0, "sessions broke");
    }
    figures
}
