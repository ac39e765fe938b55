//! The server is killed in the middle of its work, again and again, and nothing that was accepted is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;

use crate::checker::{Accepted, Heard, Record, Session, remove};
use crate::harness::random::{Random, number, seed};
use crate::harness::{Server, Tab, eventually, within};

const PRODUCERS: usize = 50;
const SESSIONS: usize = 200;
/// Two sessions a user.
const USERS: usize = SESSIONS / 2;

/// What the producers and sessions saw.
#[derive(Default)]
struct Seen {
    accepted: Mutex<Vec<Accepted>>,
    count: AtomicU64,
    progress: Notify,
    sessions: Mutex<Vec<Session>>,
    over: AtomicBool,
}

/// `TEST_ROUNDS` asks for more rounds, `TEST_SEED` for the same ones.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_50_producers_post_and_200_sessions_listen_loses_nothing() {
    let rounds = number("TEST_ROUNDS", 10);
    let seed = seed();
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random::new(seed);
    let mut server = Server::with(&[("session.resend_first_ms", "1000"), ("session.resend_every_ms", "1000")]).await;
    let seen = Arc::new(Seen::default());
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        tasks.spawn(produce(server.url(), producer, Arc::clone(&seen)));
    }
    for session in 0..SESSIONS {
        let seed = random.below(u64::MAX);
        tasks.spawn(hear(
            server.ws(),
            format!("test{}", session % USERS),
            seed,
            Arc::clone(&seen),
        ));
    }
    for round in 0..rounds {
        // Not at rest, and not at the same point of the work each time.
        let target = seen.count.load(Ordering::SeqCst) + 200 + random.below(600);
        within("progress", async {
            loop {
                let progress = seen.progress.notified();
                if seen.count.load(Ordering::SeqCst) >= target {
                    break;
                }
                progress.await;
            }
        })
        .await;
        server.kill9().await;
        server.restart().await;
        println!("round {round}: killed at {target} accepted");
    }
    seen.over.store(true, Ordering::SeqCst);
    within("the end of the producers and sessions", async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    eventually("an empty queue", || async {
        server.metric("quick_notify_queue_pending").await == 0.0
    })
    .await;
    let accepted = seen.accepted.lock().await.clone();

    // What a user sees is what the record has: the inbox over REST has every accepted id once.
    let user = "test7";
    let listed = history(&server, user).await;
    for receipt in accepted.iter().filter(|receipt| receipt.receiver == user) {
        assert_eq!(
            listed.iter().filter(|id| **id == receipt.id).count(),
            1,
            "{} in the history",
            receipt.id
        );
    }
    assert_eq!(server.terminate().await, Some(0));

    let record = Record::of(&server).await;
    let sessions = seen.sessions.lock().await;
    let delivered: usize = sessions.iter().map(|session| session.heard.len()).sum();
    println!(
        "accepted {}, stored {}, ended {}, first deliveries {delivered}",
        accepted.len(),
        record.tally.stored,
        record.tally.ended
    );
    assert_eq!(record.check(&accepted, &sessions), Vec::<String>::new());
    assert!(delivered > 0 && record.tally.ended > 0, "the sessions took part");

    // The same check on the same files is red when a row is gone: it would have seen a loss.
    let victim = &accepted[accepted.len() / 2].id;
    remove(&server, victim).await;
    let wrong = Record::of(&server).await.check(&accepted, &[]);
    assert!(
        wrong.iter().any(|fault| fault.contains(victim)),
        "the planted loss was not found: {wrong:?}"
    );
}

/// Posts single notifications and arrays until it is over; keeps what it got a receipt for. What broke off is not known to be accepted.
async fn produce(url: String, producer: usize, seen: Arc<Seen>) {
    let http = reqwest::Client::new();
    let mut turn = 0;
    while !seen.over.load(Ordering::SeqCst) {
        turn += 1;
        let draft =
            |n: usize| json!({"receiver": format!("test{}", (producer * 7 + turn * 3 + n) % USERS), "data": "crash"});
        let body = if turn % 5 == 0 {
            Value::from_iter((0..10).map(draft))
        } else {
            draft(0)
        };
        let answer = async {
            let response = http
                .post(format!("{url}/api/notify"))
                .body(body.to_string())
                .send()
                .await?;
            response.json::<Value>().await
        };
        let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(10), answer).await else {
            back_off().await;
            continue;
        };
        let drafts = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
        let receipts = answer["items"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![answer.clone()]);
        let taken = drafts.iter().zip(&receipts).filter_map(|(draft, receipt)| {
            Some(Accepted {
                id: receipt["id"].as_str()?.to_owned(),
                receiver: draft["receiver"].as_str()?.to_owned(),
                turn: None,
            })
        });
        let taken: Vec<_> = taken.collect();
        seen.count.fetch_add(taken.len() as u64, Ordering::SeqCst);
        seen.accepted.lock().await.extend(taken);
        seen.progress.notify_waiters();
    }
}

/// Listens, confirms two of three, and comes back when the server was killed.
async fn hear(url: String, user: String, seed: u64, seen: Arc<Seen>) {
    let mut random = Random::new(seed);
    while !seen.over.load(Ordering::SeqCst) {
        let mut got = Session {
            user: user.clone(),
            ..Session::default()
        };
        let session = one_session(&url, &user, &mut random, &mut got);
        let end = tokio::select! {
            end = session => end,
            () = is_over(&seen) => Ok(()),
        };
        seen.sessions.lock().await.push(got);
        if end.is_err() {
            back_off().await;
        }
    }
}

async fn one_session(url: &str, user: &str, random: &mut Random, got: &mut Session) -> Result<(), ()> {
    let mut tab = Tab::try_listen(url, user, None).await.ok_or(())?;
    while let Some(frame) = tab.next().await {
        let delivery = crate::harness::delivery(frame);
        got.heard.extend(Heard::of(&delivery));
        if random.below(3) != 0 && !tab.try_ack(&delivery.id).await {
            break;
        }
    }
    Err(())
}

async fn is_over(seen: &Seen) {
    loop {
        let progress = seen.progress.notified();
        if seen.over.load(Ordering::SeqCst) {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(200), progress).await;
    }
}

/// The server is being started again; there is no event to wait for on this side of it.
async fn back_off() {
    tokio::time::interval_at(
        tokio::time::Instant::now() + Duration::from_millis(20),
        Duration::from_secs(1),
    )
    .tick()
    .await;
}

async fn history(server: &Server, user: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for page in 0.. {
        let path = format!("/api/notify/history?page_num={page}&page_size=200");
        let answer = server.get(&path, &[("Authorization", user)]).await.json();
        let rows = answer["data"].as_array().expect("a list").clone();
        ids.extend(rows.iter().map(|row| row["id"].as_str().expect("an id").to_owned()));
        if rows.len() < 200 {
            break;
        }
    }
    ids
}
