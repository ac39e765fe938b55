//! Sessions are let in at a rate, first come, first served; who would wait for too long is told when to come back. The gate alone in simulated
//! time, and a real server around it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use quick_notify::edge::admission::{Config, Gate, SentAway};
use quick_notify::stomp::{Command, ServerCommand};

use crate::harness::{Server, Tab, eventually, within};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn rules() -> Config {
    Config {
        per_second: 100,
        burst: 5,
        max_waiting: 200,
        wait_ms: 1_000,
        return_most_ms: 20_000,
    }
}

/// One who is sent away and comes back when told to, as often as it takes: how often, and when its turn was after the start.
fn until_let_in(gate: &mut Gate, clients: usize) -> Vec<(usize, Duration)> {
    let start = Instant::now();
    let mut coming: BTreeSet<(Duration, usize, usize)> = (0..clients).map(|client| (ms(0), client, 0)).collect();
    let mut turns = Vec::new();
    while let Some((at, client, tries)) = coming.pop_first() {
        let dice = (client as u32).wrapping_mul(2_654_435_761);
        match gate.knock(start + at, dice) {
            Ok(wait) => turns.push((tries, at + wait)),
            Err(SentAway { retry_after }) => drop(coming.insert((at + retry_after, client, tries + 1))),
        }
    }
    turns
}

#[test]
fn a_few_at_once_then_one_after_the_other_then_back_later() {
    let start = Instant::now();
    let mut gate = Gate::new(&rules(), start);
    for _ in 0..5 {
        assert_eq!(gate.knock(start, 0), Ok(ms(0)), "a burst");
    }
    for turn in 1..=100 {
        assert_eq!(
            gate.knock(start, 0),
            Ok(ms(10 * turn)),
            "an interval after the one before"
        );
    }
    // The next would wait for 1,010 ms; in 510 half of the queue is free, and each who is sent away has a moment of its own.
    for nth in 0..50 {
        let retry_after = ms(510 + 10 * nth);
        assert_eq!(gate.knock(start, 0), Err(SentAway { retry_after }));
    }
    assert_eq!(gate.knock(start + ms(510), 0), Ok(ms(500)), "half of the queue");
    // After a quiet time: as many as at first, and no more.
    let quiet = start + Duration::from_secs(3_600);
    let waits: Vec<_> = (0..7).map(|_| gate.knock(quiet, 0).expect("there is room")).collect();
    assert_eq!(waits, [0, 0, 0, 0, 0, 10, 20].map(ms));
}

#[test]
fn the_queue_has_a_length_too() {
    let start = Instant::now();
    let short = Config {
        max_waiting: 3,
        ..rules()
    };
    let mut gate = Gate::new(&short, start);
    let let_in = (0..100).filter(|_| gate.knock(start, 0).is_ok()).count();
    assert_eq!(let_in, 5 + 3);
    let none = Config {
        max_waiting: 0,
        ..rules()
    };
    let mut gate = Gate::new(&none, start);
    let let_in = (0..100).filter(|_| gate.knock(start, 0).is_ok()).count();
    assert_eq!(let_in, 5);
}

/// Ten times as many as the queue holds: whoever keeps to its time is sent away once, and the gate is never idle.
#[test]
fn a_storm_is_over_in_the_time_that_its_rate_needs_and_nobody_is_sent_away_twice() {
    let turns = until_let_in(&mut Gate::new(&rules(), Instant::now()), 1_000);
    assert_eq!(turns.len(), 1_000);
    assert_eq!(turns.iter().map(|(tries, _)| tries).max(), Some(&1));
    let last = turns.iter().map(|(_, at)| at).max().expect("some");
    assert!((ms(9_940)..=ms(9_960)).contains(last), "{last:?}");
}

#[test]
fn a_flood_sends_nobody_away_for_ever_and_does_not_gather_them_at_one_moment() {
    let start = Instant::now();
    let mut gate = Gate::new(&rules(), start);
    let mut told = BTreeSet::new();
    for number in 0..100_000_u32 {
        if let Err(SentAway { retry_after }) = gate.knock(start, number.wrapping_mul(2_654_435_761)) {
            assert!(retry_after <= ms(20_000), "{retry_after:?}");
            told.insert(retry_after.as_millis() / 1_000);
        }
    }
    assert!(
        (0..20).all(|second| told.contains(&second)),
        "each second of the time that there is: {told:?}"
    );
    let turns = until_let_in(&mut Gate::new(&rules(), Instant::now()), 10_000);
    assert_eq!(turns.len(), 10_000, "they all come in at last");
}

#[test]
fn a_drain_spreads_its_clients_as_wide_as_they_can_be_let_in() {
    assert_eq!(rules().spread(0), ms(0));
    assert_eq!(rules().spread(250), ms(2_500));
    assert_eq!(rules().spread(1_000_000), ms(20_000), "and no wider than is bearable");
}

proptest! {
    /// Whenever they come: turns are in the order of coming, never more in any time than burst and rate allow, and no wait is over its bound.
    #[test]
    fn turns_keep_their_order_and_their_rate(gaps in prop::collection::vec(0_u64..30, 1..400)) {
        let start = Instant::now();
        let mut gate = Gate::new(&rules(), start);
        let mut at = ms(0);
        let mut turns = Vec::new();
        for gap in gaps {
            at += ms(gap.saturating_sub(15));
            if let Ok(wait) = gate.knock(start + at, 0) {
                prop_assert!(wait <= ms(1_000));
                turns.push(at + wait);
            }
        }
        prop_assert!(turns.is_sorted(), "{turns:?}");
        for (first, from) in turns.iter().enumerate() {
            for (last, to) in turns.iter().enumerate().skip(first) {
                let most = 5 + (*to - *from).as_millis() / 10;
                prop_assert!((last - first + 1) as u128 <= most, "{} from {from:?} to {to:?}", last - first + 1);
            }
        }
    }
}

async fn knock(server: &Server, user: &str) -> Tab {
    let mut tab = Tab::open(server).await;
    let connect = tab
        .write(Command::Connect)
        .header("accept-version", "1.2")
        .header("Authorization", user)
        .end();
    tab.send(connect).await;
    tab
}

/// One each second; the time that they wait is not what they have for CONNECT.
#[tokio::test]
async fn who_connects_waits_for_the_turn_or_is_told_when_to_come_back() {
    let settings = [
        ("edge.admission.per_second", "1"),
        ("edge.admission.burst", "1"),
        ("edge.admission.max_waiting", "2"),
        ("session.connect_timeout_ms", "300"),
    ];
    let server = Server::with(&settings).await;
    let begun = Instant::now();
    let mut tabs = Vec::new();
    for number in 0..3 {
        tabs.push(knock(&server, &format!("test{number}")).await);
        // Before the next one knocks: this one has.
        let known = f64::from(number);
        eventually("its turn or its wait", || async {
            let admitted = server.metric("quick_notify_admitted_total").await;
            admitted + server.metric("quick_notify_admission_waiting").await > known
        })
        .await;
    }
    let mut sent_away = Vec::new();
    for _ in 0..2 {
        let mut tab = knock(&server, "test9").await;
        let frame = tab.frame().await;
        let header = |name| frame.headers.get(name).unwrap_or_default().to_owned();
        assert_eq!((frame.command, &*header("code")), (ServerCommand::Error, "unavailable"));
        tab.closed().await;
        let (code, reason) = tab.close.clone().expect("a close frame");
        let told: u64 = reason
            .strip_prefix("unavailable; retry-after=")
            .expect("a time")
            .parse()
            .expect("ms");
        let said = format!("more clients come than are let in at once (edge.admission): come back in {told} ms");
        assert_eq!((code, header("message")), (1013, said));
        sent_away.push(begun.elapsed() + ms(told));
    }
    assert!(
        sent_away[1] - sent_away[0] > ms(900),
        "each at its own moment: {sent_away:?}"
    );
    for (number, tab) in tabs.iter_mut().enumerate() {
        assert_eq!(tab.frame().await.command, ServerCommand::Connected);
        assert!(
            begun.elapsed() >= ms(950) * u32::try_from(number).expect("small"),
            "{number}: too early"
        );
    }
    for (name, expected) in [
        ("admitted_total", 3.0),
        ("sent_away_total", 2.0),
        ("admission_waiting", 0.0),
        ("admission_wait_seconds_count", 3.0),
    ] {
        assert_eq!(server.metric(&format!("quick_notify_{name}")).await, expected, "{name}");
    }
    // A session that is there already does not wait to renew its token.
    tabs[0].is_quiet().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_those_who_wait() {
    let settings = [
        ("edge.admission.per_second", "1"),
        ("edge.admission.burst", "1"),
        ("edge.admission.wait_ms", "59000"),
        ("auth.tickets.seconds", "60"),
    ];
    let mut server = Server::with(&settings).await;
    let mut tabs = Vec::new();
    for number in 0..30 {
        tabs.push(knock(&server, &format!("test{number}")).await);
    }
    eventually("all of them wait", || async {
        server.metric("quick_notify_admission_waiting").await > 20.0
    })
    .await;
    let begun = Instant::now();
    server.signal("TERM");
    let mut latest = 0;
    for tab in &mut tabs {
        within("the close", async { while tab.next().await.is_some() {} }).await;
        let (code, reason) = tab.close.clone().expect("a close frame");
        assert_eq!(code, 1001);
        let told = reason
            .strip_prefix("draining; retry-after=")
            .expect("a time")
            .parse()
            .expect("ms");
        latest = latest.max(told);
    }
    assert_eq!(server.wait().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Thirty at one a second: wider than edge.return_within_ms.
    assert!((10_000..=30_000).contains(&latest), "{latest}");
}

/// As many as the queue holds a hundred times: each is refused for what it brought, and who brings a good token waits for none of them.
#[tokio::test]
async fn nonsense_takes_nobodys_turn() {
    let settings = [
        ("edge.admission.per_second", "1"),
        ("edge.admission.burst", "1"),
        ("edge.admission.max_waiting", "1"),
    ];
    let server = Server::with(&settings).await;
    for number in 0..100 {
        let mut tab = knock(&server, &format!("nonsense{number}")).await;
        assert_eq!(tab.error().await.0, "token-malformed");
    }
    let mut honest = knock(&server, "test1").await;
    assert_eq!(honest.frame().await.command, ServerCommand::Connected);
    for (name, expected) in [
        ("admitted_total", 1.0),
        ("sent_away_total", 0.0),
        ("admission_wait_seconds_sum", 0.0),
    ] {
        assert_eq!(server.metric(&format!("quick_notify_{name}")).await, expected, "{name}");
    }
}
