//! Who answers too much, too late, for others, or what can't be read, when it is asked who is there.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use async_nats::{Client, Subject};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually};

const ALLOWED: [(&str, &str); 2] = [
    ("attach.plugins.censor", r#"{hooks=["review"]}"#),
    ("attach.plugins.groups", r#"{hooks=["review"]}"#),
];

fn info(name: &str, id: &str) -> Value {
    json!({
        "type": "io.nats.micro.v1.info_response", "name": name, "id": id, "version": "1.0.0", "description": "",
        "metadata": {"quick-notify": "1"},
        "endpoints": [{"name": "review", "subject": format!("notify.hook.{name}.review"), "queue_group": "q", "metadata": {}}],
    })
}

/// Calls `answer` with the reply subject of each question about the censor, and its number from 0.
async fn asked<F: Future<Output = ()> + Send>(
    nats: &Nats,
    answer: impl Fn(Client, Subject, usize) -> F + Send + Sync + 'static,
) -> JoinHandle<()> {
    let client = async_nats::connect(nats.url()).await.expect("NATS");
    let mut questions = client.subscribe("$SRV.INFO.censor").await.expect("subscribed");
    client.flush().await.expect("the server heard it");
    tokio::spawn(async move {
        let mut number = 0;
        while let Some(question) = questions.next().await {
            let reply = question.reply.expect("it is asked");
            answer(client.clone(), reply, number).await;
            number += 1;
        }
    })
}

/// What is counted of the answers about the censor that were left out; `None` where nothing is.
async fn counted(server: &Server, reason: &str) -> Option<f64> {
    let name = "quick_notify_plugin_answers_refused_total{";
    let metrics = server.metrics().await;
    let mut lines = metrics.lines().filter(|line| line.starts_with(name));
    let reason = format!("reason=\"{reason}\"");
    let line = lines.find(|line| line.contains("plugin=\"censor\"") && line.contains(&reason))?;
    line.rsplit(' ').next()?.parse().ok()
}

async fn left_out(server: &Server, reason: &str) -> f64 {
    counted(server, reason).await.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_answers_is_cut_off_counted_and_leaves_the_others_attached() {
    const FLOOD: usize = 20_000;
    let nats = Nats::start().await;
    let server = beside(&nats, &ALLOWED).await;
    let _groups = Plugin::named("groups")
        .hook("review", |_| Reply::Json(json!({"verdicts": [], "others": "pass"})))
        .start(&nats)
        .await;
    server.sees("groups", "attached").await;
    assert_eq!(counted(&server, "flood").await, Some(0.0), "counted from the start");
    let floods = Arc::new(AtomicUsize::new(0));
    let sent = Arc::clone(&floods);
    let flood = asked(&nats, move |client: Client, reply: Subject, number: usize| {
        let sent = Arc::clone(&sent);
        async move {
            if number >= 3 {
                return;
            }
            for n in 0..FLOOD {
                let info = info("censor", &format!("I{number}N{n}"));
                let info = serde_json::to_vec(&info).expect("JSON");
                client.publish(reply.clone(), info.into()).await.expect("published");
            }
            client.flush().await.expect("flushed");
            sent.fetch_add(1, Relaxed);
        }
    })
    .await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    eventually("the floods are counted", async || {
        assert_eq!(server.plugin("groups").await["state"], "attached");
        assert_eq!(server.get("/health/live", &[]).await.status, 200);
        left_out(&server, "flood").await >= 1.0 && floods.load(Relaxed) == 3
    })
    .await;
    let instances = server.plugin("censor").await["instances"].as_array().map(Vec::len);
    assert!(instances <= Some(64), "{instances:?}");
    server.notify("test1", "Hello").await;
    assert_eq!(tab.delivery().await.data(), "Hello");
    let told = server.log().matches("are not looked at").count();
    assert!((1..=3).contains(&told), "told {told} times");
    server.sees("censor", "absent").await;
    assert_eq!(server.plugin("groups").await["state"], "attached");
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_instances_are_a_plugin_with_as_many_as_are_counted() {
    let nats = Nats::start().await;
    let server = beside(&nats, &ALLOWED).await;
    let crowd = asked(&nats, async |client: Client, reply: Subject, number: usize| {
        for n in 0..1_000 {
            // Each time others are first.
            let info = info("censor", &format!("N{}", (n + number * 61) % 1_000));
            let info = serde_json::to_vec(&info).expect("JSON");
            client.publish(reply.clone(), info.into()).await.expect("published");
        }
        client.flush().await.expect("flushed");
    })
    .await;
    server.sees("censor", "attached").await;
    eventually("some rounds", async || {
        let censor = server.plugin("censor").await;
        assert_eq!(censor["state"], "attached");
        let instances = censor["hooks"][0]["instances"].as_u64();
        assert!((Some(1)..=Some(64)).contains(&instances), "{instances:?}");
        left_out(&server, "flood").await >= 100.0
    })
    .await;
    crowd.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_read_or_is_for_others_is_counted_and_nobody_attaches_by_it() {
    let nats = Nats::start().await;
    let server = beside(&nats, &ALLOWED).await;
    let said = Arc::new(Mutex::new(Vec::new()));
    let saying = Arc::clone(&said);
    let answers = asked(&nats, move |client: Client, reply: Subject, _| {
        let said = saying.lock().expect("no panic").clone();
        async move {
            let _ = client.publish(reply, said.into()).await;
        }
    })
    .await;
    let mut large = info("censor", "x");
    large["description"] = json!("x".repeat(1_000_000));
    let mut long = info("censor", "x");
    long["version"] = json!(format!("1.0.0-{}", "x".repeat(60_000)));
    let twice = info("censor", "x")
        .to_string()
        .replacen('{', "{\"name\":\"groups\",", 1);
    for (reason, payload) in [
        ("unreadable", large.to_string()),
        ("unreadable", twice),
        ("unreadable", "[".repeat(60_000)),
        ("unreadable", "\u{0}".into()),
        ("unreadable", info("cen sor", "x").to_string()),
        ("misnamed", info("groups", "x").to_string()),
    ] {
        let before = left_out(&server, reason).await;
        *said.lock().expect("no panic") = payload.clone().into_bytes();
        eventually("it is left out", async || left_out(&server, reason).await > before).await;
        for name in ["censor", "groups"] {
            assert_eq!(server.plugin(name).await["state"], "absent", "{:.100}", payload);
        }
    }
    *said.lock().expect("no panic") = long.to_string().into_bytes();
    server.sees("censor", "refused").await;
    // Some libraries let numbers through.
    let mut number = info("censor", "x");
    number["metadata"]["order"] = json!(7);
    *said.lock().expect("no panic") = number.to_string().into_bytes();
    eventually("it is told why", async || {
        let censor = server.plugin("censor").await.to_string();
        censor.contains("metadata's order is 7; the values of metadata are texts")
    })
    .await;
    let text = server.get("/api/plugins", &[]).await.text;
    assert!(text.len() < 4_000, "{} octets", text.len());
    // What a library may leave out, and an id that a terminal would act on.
    let mut lean = info("censor", "\u{1b}[2J\u{202e}\u{1f600} and so on");
    for field in ["description", "metadata"] {
        lean["endpoints"][0][field] = Value::Null;
    }
    lean["description"] = Value::Null;
    *said.lock().expect("no panic") = lean.to_string().into_bytes();
    eventually("it attaches", async || {
        let instances = server.plugin("censor").await["instances"].clone();
        instances.as_array().is_some_and(|all| {
            all.iter()
                .any(|one| one["id"] == "?[2J???and?so?on" && one["refused"].is_null())
        })
    })
    .await;
    answers.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_an_earlier_question_is_none() {
    let nats = Nats::start().await;
    let server = beside(&nats, &ALLOWED).await;
    let first = Arc::new(Mutex::new(None::<Subject>));
    let late = asked(&nats, move |client: Client, reply: Subject, _| {
        let earlier = first.lock().expect("no panic").replace(reply);
        async move {
            if let Some(earlier) = earlier {
                let info = serde_json::to_vec(&info("censor", "late")).expect("JSON");
                client.publish(earlier, info.into()).await.expect("published");
            }
        }
    })
    .await;
    // Each round takes as long as it waits for answers: ten of them were asked late.
    let info = async |server: &Server| server.plugin("censor").await["state"].clone();
    let _other = Plugin::named("groups")
        .hook("review", |_| Reply::Silence)
        .start(&nats)
        .await;
    server.sees("groups", "attached").await;
    assert_eq!(info(&server).await, "absent");
    drop(_other);
    // A whole lease of further rounds.
    server.sees("groups", "absent").await;
    assert_eq!(info(&server).await, "absent");
    late.abort();
}
