//! A plugin that is broken, slow, gone or disabled: what it doesn't review goes as `on_failure` says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::harness::lasts;

fn allowed(on_failure: &str) -> String {
    format!(r#"{{hooks=["review"],on_failure="{on_failure}",required=true}}"#)
}

#[tokio::test]
async fn what_no_plugin_answers_rightly_is_let_by_or_is_a_dead_letter() {
    let nats = Nats::start().await;
    let patient = ("attach.hooks.breaker_failures", "10000");
    let small = ("attach.hooks.max_reply", "4096");
    type Breaks = fn(&Value) -> Reply;
    let broken: [(&str, Breaks); 10] = [
        ("the answer is no JSON", |_| Reply::Raw("{\"verdicts\":".into())),
        ("the answer is no JSON", |_| Reply::Json(json!({"verdicts": 7}))),
        ("the answer is of version 2", |_| {
            Reply::Json(json!({"v": 2, "verdicts": [], "others": "pass"}))
        }),
        ("the answer is to another question", |_| {
            Reply::Json(json!({"request": "r_1", "verdicts": [], "others": "pass"}))
        }),
        ("has no verdict", |_| Reply::Json(json!({"verdicts": []}))),
        ("nobody asked about the id", |_| {
            Reply::Json(json!({"verdicts": [{"id": "of another", "verdict": "pass"}], "others": "pass"}))
        }),
        ("STRING_MSG takes a string", |question| {
            verdicts(question, |_| json!({"verdict": "change", "data": 1}))
        }),
        ("has 5000 octets", |_| Reply::Raw(vec![b' '; 5_000].into())),
        ("it says that it failed: 500 broken", |_| Reply::Error(500, "broken")),
        ("no answer within 100 ms", |_| Reply::Silence),
    ];
    for on_failure in ["reject", "pass"] {
        let table = allowed(on_failure);
        let censor = [("attach.plugins.censor", &*table), patient, small];
        let server = beside(&nats, &censor).await;
        // It was never seen, and is required.
        let answer = stored(&server, json!({"receiver": "test1", "data": "x"})).await;
        failed(&answer, on_failure, "no instance of it is attached");
        for (reason, answer) in broken {
            let censor = Plugin::named("censor")
                .says("deadline-ms", "100")
                .hook("review", answer);
            let censor = censor.start(&nats).await;
            server.sees("censor", "attached").await;
            let answer = stored(&server, json!({"receiver": "test1", "data": "x"})).await;
            failed(&answer, on_failure, reason);
            drop(censor);
            server.sees("censor", "absent").await;
            if on_failure == "pass" {
                break;
            }
        }
    }
}

fn failed(answer: &Answer, on_failure: &str, reason: &str) {
    let body = answer.json();
    if on_failure == "pass" {
        assert_eq!((answer.status, &body["state"]), (200, &json!("stored")), "{body}");
        return;
    }
    let error = &body["error"];
    assert_eq!(
        (answer.status, &error["code"], &error["plugin"]),
        (422, &json!("unreviewed"), &json!("censor"))
    );
    assert!(answer.text.contains(reason), "{reason}: {body}");
}

#[tokio::test]
async fn what_waits_for_a_plugin_waits_in_its_place() {
    let nats = Nats::start().await;
    let table = allowed("retry");
    let server = beside(&nats, &[("attach.plugins.censor", &*table)]).await;
    for text in ["1", "2", "3"] {
        server.notify("test1", text).await;
    }
    eventually("held", || async {
        server.metric("quick_notify_review_held").await >= 1.0
    })
    .await;
    assert_eq!(inbox(&server, "test1").await, [""; 0]);
    let is_broken = Arc::new(AtomicBool::new(true));
    let censor = Plugin::named("censor").hook("review", {
        let is_broken = Arc::clone(&is_broken);
        move |question| match is_broken.load(Ordering::SeqCst) {
            true => Reply::Error(500, "broken"),
            false => verdicts(
                question,
                |text| json!({"verdict": "change", "data": format!("{text}!")}),
            ),
        }
    });
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    eventually("a question", async || !censor.questions().is_empty()).await;
    server.notify("test1", "4").await;
    assert_eq!(inbox(&server, "test1").await, [""; 0]);
    is_broken.store(false, Ordering::SeqCst);
    eventually("all", async || {
        inbox(&server, "test1").await == ["1!", "2!", "3!", "4!"]
    })
    .await;
    held(&server, 0.0).await;
    assert_eq!(server.metric("quick_notify_dead_letters_total").await, 0.0);
}

#[tokio::test]
async fn a_plugin_that_is_killed_is_waited_for_until_an_operator_disables_it() {
    let nats = Nats::start().await;
    let table = allowed("retry");
    let server = beside(&nats, &[("attach.plugins.censor", &*table)]).await;
    let censor = Plugin::named("censor").hook("review", |question| verdicts(question, |_| pass()));
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    assert_eq!(
        stored(&server, json!({"receiver": "test1", "data": "1"})).await.status,
        200
    );
    drop(censor);
    let late = server.post(
        "/api/notify?wait=stored&wait_ms=300",
        &[],
        json!({"receiver": "test1", "data": "2"}).to_string(),
    );
    let late = late.await;
    assert_eq!((late.status, &late.json()["state"]), (202, &json!("accepted")));
    held(&server, 1.0).await;
    let disabled = server.post("/api/plugins/censor/disable", &[], "").await;
    assert_eq!(disabled.status, 200, "{}", disabled.text);
    eventually("both", async || inbox(&server, "test1").await == ["1", "2"]).await;
    held(&server, 0.0).await;
}

#[tokio::test]
async fn a_plugin_that_need_not_be_there_holds_nothing_once_it_is_gone() {
    let nats = Nats::start().await;
    let server = beside(
        &nats,
        &[(
            "attach.plugins.censor",
            r#"{hooks=["review"],on_failure="retry",required=false}"#,
        )],
    )
    .await;
    assert_eq!(
        stored(&server, json!({"receiver": "test1", "data": "1"})).await.status,
        200
    );
    let censor = Plugin::named("censor").hook("review", |_| Reply::Error(500, "broken"));
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    server.notify("test1", "2").await;
    held(&server, 1.0).await;
    drop(censor);
    // Its lease ends.
    eventually("both", async || inbox(&server, "test1").await == ["1", "2"]).await;
}

#[tokio::test]
async fn a_hook_that_fails_again_and_again_is_left_alone() {
    let nats = Nats::start().await;
    let breaker = [
        ("attach.hooks.breaker_failures", "3"),
        ("attach.hooks.breaker_first_ms", "60000"),
        ("attach.hooks.breaker_most_ms", "60000"),
        CENSOR,
    ];
    let server = beside(&nats, &breaker).await;
    let censor = Plugin::named("censor").hook("review", |_| Reply::Error(500, "broken"));
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    for n in 0..8 {
        let answer = stored(&server, json!({"receiver": "test1", "data": n.to_string()})).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(censor.questions().len(), 3);
    assert_eq!(server.metric("quick_notify_hook_open").await, 1.0);
}

#[tokio::test]
async fn what_waits_for_a_hook_that_is_left_alone_does_not_spin() {
    let nats = Nats::start().await;
    let settings = [
        ("attach.hooks.breaker_failures", "1"),
        ("attach.hooks.breaker_first_ms", "1000"),
        ("attach.hooks.retry_first_ms", "50"),
        ("attach.plugins.censor", r#"{hooks=["review"],on_failure="retry"}"#),
    ];
    let server = beside(&nats, &settings).await;
    let is_broken = Arc::new(AtomicBool::new(true));
    let censor = Plugin::named("censor").hook("review", {
        let is_broken = Arc::clone(&is_broken);
        move |question| match is_broken.swap(false, Ordering::SeqCst) {
            true => Reply::Error(500, "broken"),
            false => verdicts(question, |_| pass()),
        }
    });
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    assert_eq!(
        stored(&server, json!({"receiver": "test1", "data": "x"})).await.status,
        200
    );
    assert_eq!(censor.questions().len(), 2);
    let tried = server.metric("quick_notify_review_retried_total").await;
    assert!((2.0..=8.0).contains(&tried), "50, 100, 200, 400, 800 ms: {tried}");
}

/// The table says that a failure waits, and so nothing passes while the plugin was never there.
#[tokio::test]
async fn a_table_that_says_what_a_failure_means_makes_the_plugin_required() {
    let nats = Nats::start().await;
    let table = ("attach.plugins.censor", r#"{hooks=["review"],on_failure="reject"}"#);
    let server = beside(&nats, &[table]).await;
    assert_eq!(server.plugin("censor").await["required"], true);
    let answer = stored(&server, json!({"receiver": "test1", "data": "1"})).await;
    assert_eq!(answer.status, 422, "{}", answer.text);
    assert!(inbox(&server, "test1").await.is_empty());
}

/// A node that stops while it holds something leaves it to the next one.
#[tokio::test]
async fn the_drain_does_not_wait_for_a_plugin() {
    let nats = Nats::start().await;
    let table = allowed("retry");
    let mut server = beside(&nats, &[("attach.plugins.censor", &*table)]).await;
    server.notify("test1", "x").await;
    held(&server, 1.0).await;
    lasts(Duration::from_millis(100)).await;
    let begun = std::time::Instant::now();
    assert_eq!(server.terminate().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let _censor = Plugin::named("censor")
        .hook("review", |question| verdicts(question, |_| pass()))
        .start(&nats)
        .await;
    server.restart().await;
    eventually("it", async || inbox(&server, "test1").await == ["x"]).await;
}

/// Nor for its answer, however long it may take.
#[tokio::test]
async fn the_drain_does_not_wait_for_an_answer() {
    let nats = Nats::start().await;
    let censor = (
        "attach.plugins.censor",
        r#"{hooks=["review"],on_failure="retry",deadline_ms=60000}"#,
    );
    let mut server = beside(&nats, &[censor, ("attach.hooks.deadline_most_ms", "60000")]).await;
    let censor = Plugin::named("censor").hook("review", |_| Reply::Silence);
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    server.notify("test1", "x").await;
    eventually("a question", async || !censor.questions().is_empty()).await;
    let begun = std::time::Instant::now();
    assert_eq!(server.terminate().await, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
