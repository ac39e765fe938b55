//! `review`: plugins look at what was accepted before the record has it.

mod cluster;
mod failures;
mod halves;
mod routes;
mod waits;

use serde_json::{Value, json};

use crate::harness::plugin::{Plugin, Reply, attached};
use crate::harness::servers::Nats;
use crate::harness::{Answer, Server, Tab, eventually};

const CENSOR: (&str, &str) = ("attach.plugins.censor", r#"{hooks=["review"]}"#);

/// On the adapters of this run, and beside `nats`, which may be another server than the queue's.
async fn beside(nats: &Nats, settings: &[(&str, &str)]) -> Server {
    let base = attached(nats);
    let base = base.iter().map(|(path, value)| (&**path, &**value));
    let fixed = [("nats.prefix", "notify"), ("telemetry.sample_ms", "100")];
    let all: Vec<_> = base.chain(fixed).chain(settings.iter().copied()).collect();
    Server::with(&all).await
}

/// A verdict on each notification of the question, by its text.
fn verdicts(question: &Value, verdict: impl Fn(&str) -> Value) -> Reply {
    let asked = question["notifications"].as_array().expect("notifications");
    let verdicts = asked.iter().map(|notification| {
        let mut verdict = verdict(notification["data"].as_str().unwrap_or_default());
        verdict["id"] = notification["id"].clone();
        verdict
    });
    Reply::Json(json!({"verdicts": verdicts.collect::<Vec<_>>()}))
}

fn pass() -> Value {
    json!({"verdict": "pass"})
}

/// Publishes, and waits for the record's word.
async fn stored(server: &Server, draft: Value) -> Answer {
    server
        .post("/api/notify?wait=stored&wait_ms=20000", &[], draft.to_string())
        .await
}

/// The texts that a user's inbox has, oldest first.
async fn inbox(server: &Server, user: &str) -> Vec<String> {
    let answer = server
        .get("/api/notify/history?page_size=200", &[("Authorization", user)])
        .await;
    let rows = answer.json()["data"].as_array().expect("a list").clone();
    let text = |row: &Value| row["data"].as_str().expect("a text").to_owned();
    rows.iter().rev().map(text).collect()
}

/// The texts that were shown to it, in order.
fn shown(plugin: &Plugin) -> Vec<String> {
    let questions = plugin.questions();
    let asked = questions
        .iter()
        .filter_map(|question| question["notifications"].as_array());
    let text = |one: &Value| one["data"].as_str().unwrap_or_default().to_owned();
    asked.flatten().map(text).collect()
}

#[tokio::test]
async fn what_a_plugin_passes_changes_and_rejects_is_so() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[CENSOR]).await;
    let censor = Plugin::named("censor").hook("review", |question| {
        verdicts(question, |text| match text {
            "secret" => json!({"verdict": "change", "data": "***"}),
            "spam" => json!({"verdict": "reject", "reason": "nobody\nwants it"}),
            _ => pass(),
        })
    });
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let secret = json!({"receiver": "test1", "data": "secret", "id": "s"});
    for draft in [
        json!({"receiver": "test1", "data": "fine"}),
        secret.clone(),
        json!({"receiver": "test1", "data": "spam", "id": "x"}),
        json!({"receiver": "test1", "data": "last"}),
    ] {
        server.publish(draft).await;
    }
    let got: Vec<_> = alice
        .deliveries(3)
        .await
        .iter()
        .map(|delivery| (delivery.seq, delivery.data()))
        .collect();
    let expected = [(1, "fine"), (2, "***"), (3, "last")].map(|(seq, text)| (Some(seq), text.to_owned()));
    assert_eq!(got, expected);
    assert_eq!(inbox(&server, "test1").await, ["fine", "***", "last"]);
    assert_eq!(server.metric("quick_notify_dead_letters_total").await, 1.0);
    for word in ["rejected", "censor", "nobody wants it"] {
        assert!(server.log().contains(word), "{}", server.log());
    }

    // A retry is known by what its producer sent, and is not shown again.
    let before = shown(&censor).len();
    let again = server.publish(secret).await;
    assert_eq!(again["state"], "duplicate");
    let other = json!({"receiver": "test1", "data": "***", "id": "s"});
    assert_eq!(server.post("/api/notify", &[], other.to_string()).await.status, 409);
    assert_eq!(shown(&censor).len(), before);

    let first = &censor.questions()[0];
    let one = &first["notifications"][0];
    assert_eq!(
        (&first["v"], &one["to"], &one["type"], &one["persist"]),
        (&json!(1), &json!({"user": "test1"}), &json!("STRING_MSG"), &json!(true))
    );
    let metrics = server.metrics().await;
    for (verdict, count) in [("pass", 2), ("change", 1), ("reject", 1)] {
        let line = format!("quick_notify_reviewed_total{{plugin=\"censor\",verdict=\"{verdict}\"}} {count}");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn plugins_are_asked_in_order_and_see_what_the_one_before_changed() {
    let nats = Nats::start().await;
    let allowed = [
        ("attach.plugins.a", r#"{hooks=["review"],order=30}"#),
        ("attach.plugins.b", r#"{hooks=["review"]}"#),
        ("attach.plugins.c", r#"{hooks=["review"]}"#),
    ];
    let server = beside(&nats, &allowed).await;
    let adds = |word: &'static str| {
        move |question: &Value| {
            verdicts(question, |text| match text {
                "no b" if word == "b" => json!({"verdict": "reject", "reason": "no"}),
                _ => json!({"verdict": "change", "data": format!("{text} {word}")}),
            })
        }
    };
    // The configuration's word counts before its own, and names decide where orders don't.
    let last = Plugin::named("a")
        .says("order", "1")
        .hook("review", adds("a"))
        .start(&nats)
        .await;
    let _first = Plugin::named("b")
        .says("order", "20")
        .hook("review", adds("b"))
        .start(&nats)
        .await;
    let _second = Plugin::named("c")
        .says("order", "20")
        .hook("review", adds("c"))
        .start(&nats)
        .await;
    for name in ["a", "b", "c"] {
        server.sees(name, "attached").await;
    }
    assert_eq!(
        stored(&server, json!({"receiver": "test1", "data": "from"}))
            .await
            .status,
        200
    );
    assert_eq!(inbox(&server, "test1").await, ["from b c a"]);
    assert_eq!(
        stored(&server, json!({"receiver": "test1", "data": "no b"}))
            .await
            .status,
        422
    );
    assert_eq!(shown(&last), ["from b c"], "what was rejected is not shown further");
}

#[tokio::test]
async fn a_plugin_sees_what_its_terms_cover_and_nothing_else() {
    let nats = Nats::start().await;
    let allowed = (
        "attach.plugins.censor",
        r#"{hooks=["review"],receivers=["team:*","test1"]}"#,
    );
    let orders = ("domain.types.ORDER_PAID.schema", r#"{type="string"}"#);
    let server = beside(&nats, &[allowed, orders]).await;
    let censor = Plugin::named("censor")
        .says("receivers", "te*")
        .says("types", "STRING_MSG ORDER_*")
        .says("max-batch", "2")
        .hook("review", |question| verdicts(question, |_| pass()));
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    let drafts = json!([
        {"receiver": "team:a", "data": "1"},
        {"receiver": "test2", "data": "2"},
        {"receiver": "alice", "data": "3"},
        {"receiver": "test1", "data": "4", "type": "ORDER_PAID"},
        {"topic": "te", "data": "5"},
        {"everyone": true, "data": "6"},
        {"receiver": "test1", "data": {"ids": ["x"]}, "type": "NOTIFY_VIEWED"},
        {"receiver": "test1", "data": "7"},
        {"receiver": "test1", "data": "8"},
    ]);
    let answer = stored(&server, drafts).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut seen = shown(&censor);
    seen.sort();
    assert_eq!(seen, ["1", "4", "7", "8"]);
    let sizes = censor.questions();
    let sizes = sizes
        .iter()
        .map(|question| question["notifications"].as_array().expect("notifications").len());
    assert!(
        sizes.clone().all(|size| (1..=2).contains(&size)),
        "{:?}",
        sizes.collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_broadcast_is_reviewed_too() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[CENSOR]).await;
    let _censor = Plugin::named("censor")
        .hook("review", |question| {
            verdicts(question, |text| match text {
                "spam" => json!({"verdict": "reject", "reason": "no"}),
                text => json!({"verdict": "change", "data": format!("{text}!")}),
            })
        })
        .start(&nats)
        .await;
    server.sees("censor", "attached").await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    let told = stored(&server, json!({"everyone": true, "data": "all"})).await;
    assert_eq!((told.status, &told.json()["state"]), (200, &json!("told")));
    assert_eq!(
        stored(&server, json!({"everyone": true, "data": "spam"})).await.status,
        422
    );
    server.publish(json!({"everyone": true, "data": "end"})).await;
    let got: Vec<_> = alice
        .deliveries(2)
        .await
        .iter()
        .map(|delivery| delivery.data())
        .collect();
    assert_eq!(got, ["all!", "end!"]);
}

/// Waits until so many notifications are held for a plugin.
async fn held(server: &Server, count: f64) {
    eventually("notifications that are held", || async {
        server.metric("quick_notify_review_held").await == count
    })
    .await;
}
