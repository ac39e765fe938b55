//! `quick-notify plugins test`: says nothing against a good plugin, and what is wrong with a broken one.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::plugin::{Plugin, Recipe, Reply};
use crate::harness::servers::Nats;
use crate::harness::{Server, eventually, tempdir};

/// What the command found, and whether it was content.
pub struct Report {
    pub well: bool,
    pub findings: Vec<Value>,
    pub errors: String,
}

impl Report {
    /// Hook, check and what was seen, of what failed.
    fn failed(&self) -> Vec<String> {
        let failed = self.findings.iter().filter(|finding| finding["ok"] == false);
        failed
            .map(|finding| {
                assert!(finding["mend"].is_string(), "nothing to mend it: {finding}");
                let hook = finding["hook"].as_str().unwrap_or("-");
                let word = |name: &str| finding[name].as_str().unwrap_or_default();
                format!("{hook} {}: {}", word("check"), word("seen"))
            })
            .collect()
    }

    pub fn went_well(&self) {
        assert!(
            self.well && self.failed().is_empty(),
            "{:?}\n{}",
            self.failed(),
            self.errors
        );
        assert!(self.findings.len() > 2, "{:?}", self.findings);
    }
}

/// Runs the command; the plugin may be one of this very test.
pub async fn check(nats: &Nats, arguments: &[&str]) -> Report {
    let url = nats.url();
    let words: Vec<String> = ["plugins", "test", "--json", "--nats", &url]
        .iter()
        .chain(arguments)
        .map(|word| (*word).to_owned())
        .collect();
    let run = move || Server::program(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(run).await.expect("it runs");
    let lines = String::from_utf8(output.stdout).expect("text");
    Report {
        well: output.status.success(),
        findings: lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Answers questions of version 1 by `answer`, and nothing else.
fn careful(
    answer: impl Fn(&Value) -> Reply + Send + Sync + 'static,
) -> impl Fn(&Value) -> Reply + Send + Sync + 'static {
    move |question| match question["v"] == 1 {
        true => answer(question),
        false => Reply::Error(400, "no question of version 1"),
    }
}

fn passes(_: &Value) -> Reply {
    Reply::Json(json!({"verdicts": [], "others": "pass"}))
}

fn censor() -> Recipe {
    Plugin::named("censor")
}

fn review(answer: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> Recipe {
    censor().hook("review", careful(answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_keeps_to_the_protocol_passes() {
    let nats = Nats::start().await;
    let refuses_the_empty = |question: &Value| match question["token"] == "" {
        true => Reply::Json(json!({"refused": "no token"})),
        false => Reply::Json(json!({"user": "alice", "expires": null})),
    };
    let knows_echo = |question: &Value| match question["command"] == "echo" {
        true => Reply::Json(json!({"body": question["body"]})),
        false => Reply::Json(json!({"error": {"code": "unknown", "reason": "there is no such command"}})),
    };
    let plugin = review(passes)
        .hook("authenticate", careful(refuses_the_empty))
        .hook("subscribe", careful(|_| Reply::Json(json!({"allow": true}))))
        .hook("command", careful(knows_echo))
        .says("commands", "echo")
        .says("events", "stored unreached")
        .says("max-batch", "7")
        .start(&nats)
        .await;
    let report = check(&nats, &["censor"]).await;
    report.went_well();
    let sizes = plugin
        .questions()
        .into_iter()
        .filter_map(|asked| Some(asked["notifications"].as_array()?.len()));
    assert_eq!(sizes.max(), Some(7), "as many as it asks for");

    let sample = tempdir();
    let file = sample.path().join("sample.json");
    let body = json!([{"notifications": [{"id": "mine", "type": "T", "to": {"user": "me"}, "data": 7, "persist": true, "created": 1}]}]);
    std::fs::write(&file, body.to_string()).expect("a file");
    let file = file.to_str().expect("a name");
    check(&nats, &["notify.hook.censor.review", "--sample", file])
        .await
        .went_well();
    let asked = plugin
        .questions()
        .into_iter()
        .any(|asked| asked["notifications"][0]["id"] == "mine");
    assert!(asked, "the author's own question");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_with_how_to_mend_it() {
    let nats = Nats::start().await;
    let first = |question: &Value, verdict: Value| {
        let notifications = question["notifications"].as_array().cloned().unwrap_or_default();
        let mut verdicts: Vec<_> = notifications
            .iter()
            .map(|one| json!({"id": one["id"], "verdict": "pass"}))
            .collect();
        if let Some(one) = verdicts.first_mut() {
            one.as_object_mut()
                .expect("it is")
                .extend(verdict.as_object().expect("it is").clone());
        }
        Reply::Json(json!({"verdicts": verdicts}))
    };
    let client = async_nats::connect(nats.url()).await.expect("NATS");
    let counted = AtomicUsize::new(0);
    let dies_of_nonsense = AtomicUsize::new(0);
    let wrong: Vec<(Recipe, &str)> = vec![
        (
            review(passes).unsaid("quick-notify"),
            "- metadata: there is no \"quick-notify\"",
        ),
        (
            review(passes).says("order", "first"),
            "- metadata: /order: \"first\" does not match",
        ),
        (censor(), "- attachable: it has no endpoint named as a hook"),
        (
            censor().hook_on("q", "notify.hook.censor.review", passes),
            "review endpoint: the endpoint on notify.hook.censor.review is named \"q\"",
        ),
        (
            censor().hook_on("review", "notify.hook.other.review", passes),
            "- attachable: its endpoint review listens on notify.hook.other.review; it must be notify.hook.censor.review",
        ),
        (
            review(|_| Reply::Silence).says("deadline-ms", "50"),
            "review answers: no answer within 50 ms",
        ),
        (
            review(|_| Reply::Raw("no JSON".into())),
            "review answers: the answer is no JSON",
        ),
        (
            review(|_| Reply::Json(json!({"v": "1", "verdicts": []}))),
            "review answers: the answer's v is \"1\"",
        ),
        (
            review(|_| Reply::Json(json!({"request": "r_mine", "verdicts": []}))),
            "review answers: the answer's request is \"r_mine\"",
        ),
        (
            review(|_| Reply::Json(json!({"verdicts": []}))),
            "review answers: 1 of the question have no verdict",
        ),
        (
            review(move |question| first(question, json!({"verdict": "perhaps"}))),
            "review answers: review.reply: /verdicts/0/verdict: \"perhaps\"",
        ),
        (
            review(move |question| first(question, json!({"id": "another"}))),
            "review answers: \"another\" is in no question",
        ),
        (
            review(move |question| {
                first(
                    question,
                    json!({"verdict": "route", "receivers": ["a"], "next": "again"}),
                )
            }),
            "review answers: review.page.reply: the message: \"receivers\" is a required property",
        ),
        (
            review(|question| match question.get("a_field_of_a_later_server") {
                Some(_) => Reply::Error(400, "unknown field"),
                None => passes(question),
            }),
            "review unknown-fields: it says that it failed: 400 unknown field",
        ),
        (
            review(
                |question| match question["notifications"].as_array().map_or(0, Vec::len) {
                    0..=50 => passes(question),
                    _ => Reply::Error(500, "too many"),
                },
            ),
            "review large-batch: it says that it failed: 500 too many",
        ),
        (
            review(|question| match question.to_string().contains("everyone") {
                true => Reply::Json(
                    json!({"verdicts": [{"id": "conformance-4", "verdict": "route", "receivers": ["a"]}], "others": "pass"}),
                ),
                false => passes(question),
            }),
            "review odd-batch: \"conformance-4\" is routed, and is for {\"everyone\":true}",
        ),
        (
            review(|_| Reply::Raw(vec![b' '; 600_000].into())),
            "review answers: the answer has 600000 octets",
        ),
        (
            // Answers whatever it gets as if it were a question.
            censor().hook("review", |question| match question.is_null() {
                true => Reply::Raw(r#"{"v":1,"request":null,"verdicts":[]}"#.into()),
                false => passes(question),
            }),
            "review broken-json: it answers as to a good question",
        ),
        (
            censor().hook("review", |question| match question["v"] == 2 {
                true => Reply::Json(json!({"verdicts": [], "others": "pass"})),
                false => careful(passes)(question),
            }),
            "review wrong-version: it answers as to a good question",
        ),
        (
            censor().says("deadline-ms", "500").hook("review", move |question| {
                if question.is_null() {
                    dies_of_nonsense.store(1, Ordering::Relaxed);
                }
                match dies_of_nonsense.load(Ordering::Relaxed) {
                    0 => passes(question),
                    _ => Reply::Silence,
                }
            }),
            "review afterwards: no answer within 500 ms",
        ),
        (
            review(move |question| match counted.fetch_add(1, Ordering::Relaxed) % 8 {
                7 => Reply::Error(503, "busy"),
                _ => passes(question),
            }),
            "review many-at-once: 2 of 16: it says that it failed: 503 busy",
        ),
        (
            censor().hook(
                "authenticate",
                careful(|_| Reply::Json(json!({"user": "root", "expires": null}))),
            ),
            "authenticate no-token: the empty token is \"root\"'s",
        ),
    ];
    for (recipe, said) in wrong {
        let plugin = recipe.start(&nats).await;
        let report = check(&nats, &["censor"]).await;
        assert!(!report.well, "it is content, and should say: {said}");
        let failed = report.failed();
        assert!(
            failed.iter().any(|one| one.starts_with(said)),
            "it says {failed:#?}, and should say: {said}"
        );
        assert!(report.errors.contains("checks failed"), "{}", report.errors);
        drop(plugin);
        eventually("its end", async || {
            client.request("$SRV.INFO.censor", "".into()).await.is_err()
        })
        .await;
    }
    let nobody = check(&nats, &["censor"]).await;
    assert!(
        nobody.failed()[0].starts_with("- found: $SRV.INFO.censor: "),
        "{:?}",
        nobody.failed()
    );
}

/// For people: a line a check, and the exit code.
#[tokio::test(flavor = "multi_thread")]
async fn it_prints_a_line_for_each_check() {
    let nats = Nats::start().await;
    let _plugin = review(|_| Reply::Json(json!({"verdicts": []}))).start(&nats).await;
    let url = nats.url();
    let run = move || Server::program(&["plugins", "test", "--nats", &url, "notify.hook.censor.review"]);
    let output = tokio::task::spawn_blocking(run).await.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("ok    found "), "{text}");
    let wrong = "FAIL  review answers                1 of the question have no verdict, as \"conformance-0\". To mend it: name each";
    assert!(lines.iter().any(|line| line.starts_with(wrong)), "{text}");
    let unknown = Server::program(&["plugins", "test", "notify.hook.censor.explode"]);
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        said.contains("with one of: authenticate review subscribe command"),
        "{said}"
    );
}
