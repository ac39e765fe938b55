//! A plugin that is broken, or means ill: each of its answers is refused with a word and a count, nobody's notification is lost or shown to
//! anybody else, and the node lives.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually};

/// What it answers next.
type Script = Arc<Mutex<Box<dyn Fn(&Value) -> Reply + Send>>>;

struct Story {
    server: Server,
    plugin: Plugin,
    script: Script,
}

impl Story {
    async fn begin(nats: &Nats, settings: &[(&str, &str)]) -> Self {
        let allowed = (
            "attach.plugins.bad",
            r#"{hooks=["review"],on_failure="pass",deadline_ms=300}"#,
        );
        // It is asked again and again, whatever it does.
        let patient = ("attach.hooks.breaker_failures", "10000");
        let server = beside(nats, &[&[allowed, patient], settings].concat()).await;
        let script: Script = Arc::new(Mutex::new(Box::new(|_| Reply::Silence)));
        let answers = Arc::clone(&script);
        let plugin = Plugin::named("bad").hook("review", move |asked| answers.lock().expect("no panic")(asked));
        let plugin = plugin.start(nats).await;
        server.sees("bad", "attached").await;
        Self { server, plugin, script }
    }

    fn answers(&self, answer: impl Fn(&Value) -> Reply + Send + 'static) {
        *self.script.lock().expect("no panic") = Box::new(answer);
    }

    async fn failures(&self, reason: &str) -> f64 {
        let page = self.server.metrics().await;
        let reason = format!("reason=\"{reason}\"");
        let lines = page
            .lines()
            .filter(|line| line.starts_with("quick_notify_hook_failed_total{") && line.contains(&reason));
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |sum, value| sum + value)
    }
}

fn verdicts(asked: &Value, verdict: Value) -> Value {
    let each = asked["notifications"].as_array().expect("notifications").iter();
    let verdicts: Vec<Value> = each
        .map(|notification| {
            let mut verdict = verdict.clone();
            verdict["id"] = notification["id"].clone();
            verdict
        })
        .collect();
    json!({ "verdicts": verdicts })
}

#[tokio::test]
async fn every_broken_answer_is_refused_with_a_word_and_everything_arrives() {
    let nats = Nats::with("max_payload: 16MB").await;
    let story = Story::begin(
        &nats,
        &[("attach.hooks.max_receivers", "10"), ("attach.hooks.max_pages", "3")],
    )
    .await;
    let mut alice = Tab::listen(&story.server, "test1", None).await;
    let mut mallory = Tab::listen(&story.server, "test2", None).await;
    let earlier: Arc<Mutex<Value>> = Arc::default();
    let last = Arc::clone(&earlier);
    type Answer = Box<dyn Fn(&Value) -> Reply + Send>;
    let with = |verdict: Value| -> Answer { Box::new(move |asked| Reply::Json(verdicts(asked, verdict.clone()))) };
    let raw = |text: &'static str| -> Answer { Box::new(move |_| Reply::Raw(text.into())) };
    let wrong: Vec<(&str, &str, Answer)> = vec![
        (
            "10 MB",
            "too-large",
            Box::new(|_| Reply::Raw(vec![b' '; 10_000_000].into())),
        ),
        ("nothing at all", "bad-json", raw("")),
        ("half a JSON", "bad-json", raw(r#"{"v":1,"request":"#)),
        ("a list", "bad-json", raw("[1,2,3]")),
        (
            "deep nesting",
            "bad-json",
            Box::new(|_| Reply::Raw("[".repeat(100_000).into())),
        ),
        ("no version", "bad-version", raw(r#"{"verdicts":[],"others":"pass"}"#)),
        (
            "another version",
            "bad-version",
            Box::new(|_| Reply::Json(json!({"v": 2, "verdicts": [], "others": "pass"}))),
        ),
        ("no request", "bad-id", raw(r#"{"v":1,"verdicts":[],"others":"pass"}"#)),
        (
            "the answer to an earlier question",
            "bad-id",
            Box::new(move |asked| {
                let mut last = last.lock().expect("no panic");
                let before = std::mem::replace(&mut *last, asked["request"].clone());
                Reply::Json(json!({"request": before, "verdicts": [], "others": "pass"}))
            }),
        ),
        ("no verdicts", "bad-json", Box::new(|_| Reply::Json(json!({})))),
        (
            "a verdict too few",
            "bad-reply",
            Box::new(|_| Reply::Json(json!({"verdicts": []}))),
        ),
        (
            "a verdict on what it wasn't asked about",
            "bad-reply",
            Box::new(|asked| {
                let mut answer = verdicts(asked, json!({"verdict": "pass"}));
                answer["verdicts"]
                    .as_array_mut()
                    .expect("a list")
                    .push(json!({"id": "ntf_other", "verdict": "pass"}));
                Reply::Json(answer)
            }),
        ),
        (
            "two verdicts on one",
            "bad-reply",
            Box::new(|asked| {
                let mut answer = verdicts(asked, json!({"verdict": "pass"}));
                let verdicts = answer["verdicts"].as_array_mut().expect("a list");
                verdicts.push(verdicts[0].clone());
                Reply::Json(answer)
            }),
        ),
        ("an unknown verdict", "bad-reply", with(json!({"verdict": "explode"}))),
        (
            "a rejection without a reason",
            "bad-reply",
            with(json!({"verdict": "reject"})),
        ),
        (
            "a type that there isn't",
            "bad-reply",
            with(json!({"verdict": "change", "type": "NO_SUCH", "data": "x"})),
        ),
        (
            "data that doesn't fit its type",
            "bad-reply",
            with(json!({"verdict": "change", "data": {"no": "text"}})),
        ),
        (
            "a route to nobody by name",
            "bad-reply",
            with(json!({"verdict": "route", "receivers": [""]})),
        ),
        (
            "a route to everyone",
            "bad-reply",
            with(json!({"verdict": "route", "receivers": ["*"]})),
        ),
        (
            "a route to too many",
            "bad-reply",
            with(json!({"verdict": "route", "receivers": (0..11).map(|n| format!("test{n}")).collect::<Vec<_>>()})),
        ),
        (
            "a route without an end",
            "bad-reply",
            Box::new(|asked| {
                if asked["page"].is_object() {
                    return Reply::Json(json!({"receivers": ["test2"], "next": "more"}));
                }
                Reply::Json(verdicts(
                    asked,
                    json!({"verdict": "route", "receivers": ["test2"], "next": "more"}),
                ))
            }),
        ),
        (
            "a service error",
            "error",
            Box::new(|_| Reply::Error(500, "I am broken")),
        ),
        ("an endless delay", "timeout", Box::new(|_| Reply::Silence)),
    ];
    for (what, reason, answer) in wrong {
        story.answers(answer);
        // The earlier question's name has to be there.
        let times = if what.contains("earlier") { 2 } else { 1 };
        for _ in 0..times {
            let before = story.failures(reason).await;
            let id = story.server.notify("test1", what).await;
            let delivery = alice.delivery().await;
            assert_eq!((&*delivery.id, &*delivery.data()), (&*id, what));
            alice.ack(&id).await;
            assert!(story.failures(reason).await > before, "{what}: not counted as {reason}");
        }
    }
    // Nothing of all this was told to anybody else, and the plugin was asked in vain each time.
    mallory.is_quiet().await;
    assert!(story.plugin.questions().len() >= 20);
    let dead = story.server.metric_if_up("quick_notify_dead_letters_total").await;
    assert_eq!(dead.unwrap_or_default(), 0.0);
    assert_eq!(story.server.get("/health/ready", &[]).await.status, 200);
    // And when it does right again, it counts again.
    story.answers(|asked| Reply::Json(verdicts(asked, json!({"verdict": "change", "data": "changed"}))));
    story.server.notify("test1", "as it came").await;
    assert_eq!(alice.delivery().await.data(), "changed");
}

#[tokio::test]
async fn a_hook_that_fails_again_and_again_is_left_alone_and_costs_nobody_its_deadline() {
    let nats = Nats::start().await;
    let settings = [
        ("attach.hooks.breaker_failures", "3"),
        ("attach.hooks.breaker_first_ms", "60000"),
        ("attach.hooks.breaker_most_ms", "60000"),
    ];
    let story = Story::begin(&nats, &settings).await;
    let mut alice = Tab::listen(&story.server, "test1", None).await;
    for _ in 0..10 {
        let id = story.server.notify("test1", "Hello").await;
        assert_eq!(alice.delivery().await.id, id);
        alice.ack(&id).await;
    }
    assert_eq!(story.failures("timeout").await, 3.0);
    assert_eq!(story.failures("open").await, 7.0);
    assert_eq!(story.plugin.questions().len(), 3);
    assert_eq!(story.server.plugin("bad").await["hooks"][0]["breaker"], "open");
    assert!(story.server.log().contains("left alone"));

    // The way back: a new instance comes, and is asked at once.
    let Story { server, plugin, .. } = story;
    let open = async || server.metric("quick_notify_hook_open").await;
    assert_eq!(open().await, 1.0);
    drop(plugin);
    server.sees("bad", "absent").await;
    assert_eq!(server.plugin("bad").await["hooks"][0]["breaker"], "closed");
    assert_eq!(open().await, 0.0);
    let mended = Plugin::named("bad").hook("review", |asked| {
        Reply::Json(verdicts(asked, json!({"verdict": "change", "data": "changed"})))
    });
    let _mended = mended.start(&nats).await;
    server.sees("bad", "attached").await;
    server.notify("test1", "as it came").await;
    assert_eq!(alice.delivery().await.data(), "changed");
}

/// Of two instances one is silent. NATS draws who gets a question: of the four times that each is asked, all go to the silent one with a chance of
/// one in sixteen, so of 400 that 64 or more fail has one of less than 1e-9; asked twice each, 100 would.
#[tokio::test]
async fn beside_an_instance_that_froze_nearly_everything_is_reviewed() {
    let nats = Nats::start().await;
    let allowed = r#"{hooks=["review"],on_failure="reject",deadline_ms=2000}"#;
    let settings = [
        ("attach.plugins.bad", allowed),
        ("attach.hooks.breaker_failures", "10000"),
        ("attach.hooks.max_batch", "1"),
        ("attach.hooks.in_flight", "1000"),
    ];
    let server = beside(&nats, &settings).await;
    let frozen = Plugin::named("bad").hook("review", |_| Reply::Silence);
    let well = Plugin::named("bad").hook("review", |_| Reply::Json(json!({"verdicts": [], "others": "pass"})));
    let (frozen, well) = (frozen.start(&nats).await, well.start(&nats).await);
    eventually("both are there", async || {
        server.plugin("bad").await["hooks"][0]["instances"] == 2
    })
    .await;
    let all: Vec<Value> = (0..400).map(|_| json!({"receiver": "test1", "data": "x"})).collect();
    let answer = server.post("/api/notify", &[], json!(all).to_string()).await;
    assert!((200..300).contains(&answer.status), "{}", answer.text);
    let (stored, dead) = ("quick_notify_stored_total", "quick_notify_dead_letters_total");
    let count = async |name| server.metric_if_up(name).await.unwrap_or_default();
    eventually("all are decided", async || {
        count(stored).await + count(dead).await >= 400.0
    })
    .await;
    let dead = count(dead).await;
    assert!(dead < 64.0, "{dead} of 400 were not reviewed");
    // Whoever is asked again can tell.
    let mut times = std::collections::HashMap::<String, usize>::new();
    for asked in frozen.questions().iter().chain(&well.questions()) {
        *times.entry(asked["request"].to_string()).or_default() += 1;
    }
    assert_eq!(times.len(), 400, "a question keeps its name");
    assert!(times.values().all(|count| *count <= 4) && times.values().any(|count| *count > 1));
}
