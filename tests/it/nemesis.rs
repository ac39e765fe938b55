//! Everything at once: three nodes, three NATS servers, Redis and PostgreSQL, of which a seeded nemesis kills, freezes
//! and cuts off one after the other, while producers publish and devices listen, confirm and move about. Afterwards the
//! checker proves the promises in numbers.
//!
//! `TEST_SECONDS` asks for a longer run (90 in CI), `TEST_SEED` for the same one.

mod deeds;

use std::time::{Duration, Instant};

use crate::checker::Record;
use crate::harness::Cluster;
use crate::harness::crowd::{Crowd, Plan};
use crate::harness::random::{Random, number, seed};

/// What is accepted just before a dispatching node dies or freezes arrives within this, and a margin for a busy machine.
const TAKEOVER_MS: i64 = 10_000 + 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_parts_are_killed_frozen_and_cut_off_keeps_its_promises() {
    let seed = seed();
    let most = Duration::from_secs(number("TEST_SECONDS", 90));
    println!("seed {seed}, {most:?}");
    let settings = [("session.resend_first_ms", "2000"), ("session.resend_every_ms", "2000")];
    let mut cluster = Cluster::replicated(&settings).await;
    let plan = Plan {
        producers: 12,
        nats_producers: 4,
        silence: Some(Duration::from_secs(3)),
        wander: Some(200),
        seed,
        ..Plan::default()
    };
    let mut crowd = Crowd::gather(&cluster, plan).await;
    let mut random = Random::new(seed);
    let began = Instant::now();
    let mut faults = Vec::new();
    while began.elapsed() < most {
        for deed in deeds::shuffled(&mut random) {
            if began.elapsed() >= most {
                break;
            }
            crowd.accepts(100).await;
            let fault = deed.perform(&mut cluster, &mut random).await;
            println!(
                "{:>6.1} s: {} for {} ms",
                began.elapsed().as_secs_f64(),
                fault.what,
                fault.to - fault.from
            );
            faults.push(fault);
        }
    }
    crowd.accepts(100).await;
    crowd.stop_producing().await;
    let url = cluster.postgres.url();
    let queue = cluster.queue_at_rest().await;
    crowd.caught_up(&url).await;
    let told = crowd.disperse().await;

    let record = Record::at(&url, queue).await;
    let (accepted, sessions) = (
        told.accepted.lock().expect("a lock"),
        told.sessions.lock().expect("a lock"),
    );
    let figures = record.figures(&accepted, &sessions, &faults);
    println!("seed {seed}\n{figures}");
    assert_eq!(record.check(&accepted, &sessions), Vec::<String>::new(), "seed {seed}");
    for told in figures.faults.iter().filter(|told| deeds::is_takeover(&told.what)) {
        assert!(
            told.delay <= TAKEOVER_MS,
            "seed {seed}: {} ms after: {}",
            told.delay,
            told.what
        );
    }
}
