//! A plugin that fails at one notification: its neighbours of the same question are reviewed.

use super::*;

/// It fails so whenever `bad` is among those that it is asked about.
type Fails = fn() -> Reply;

const NONSENSE: Fails = || Reply::Json(json!({"verdicts": []}));
const BROKEN: Fails = || Reply::Error(500, "broken");
const LARGE: Fails = || Reply::Raw(vec![b' '; 600_000].into());

async fn story(on_failure: &str, fails: Fails, bad: usize) -> (Vec<Value>, Vec<String>, usize) {
    let nats = Nats::start().await;
    let table = format!(r#"{{hooks=["review"],on_failure="{on_failure}"}}"#);
    let server = beside(&nats, &[("attach.plugins.censor", &*table)]).await;
    let censor = Plugin::named("censor").hook("review", move |question| {
        if question.to_string().contains("\"bad\"") {
            return fails();
        }
        verdicts(
            question,
            |text| json!({"verdict": "change", "data": format!("{text}!")}),
        )
    });
    let censor = censor.start(&nats).await;
    server.sees("censor", "attached").await;
    let text = |n: usize| if n == bad { "bad".to_owned() } else { n.to_string() };
    let drafts: Vec<_> = (0..60).map(|n| json!({"receiver": "test1", "data": text(n)})).collect();
    let answer = stored(&server, Value::from(drafts)).await;
    let items = answer.json()["items"].as_array().expect("items").clone();
    let questions = censor.questions();
    let largest = questions
        .iter()
        .filter_map(|question| Some(question["notifications"].as_array()?.len()));
    assert!(largest.max() >= Some(30), "they were asked about together");
    (items, inbox(&server, "test1").await, questions.len())
}

#[tokio::test]
async fn one_that_a_plugin_cannot_answer_for_goes_alone() {
    for (on_failure, fails, reason) in [
        ("retry", NONSENSE, "the answer makes no sense"),
        ("retry", LARGE, "the answer has 600000 octets"),
        ("reject", NONSENSE, "the answer makes no sense"),
        ("reject", BROKEN, "it says that it failed"),
        ("pass", BROKEN, ""),
    ] {
        let bad = 37;
        let (items, inbox, questions) = story(on_failure, fails, bad).await;
        let letters: Vec<_> = (0..60).filter(|n| items[*n]["state"] != "stored").collect();
        let reviewed = (0..60).filter(|n| *n != bad).map(|n| format!("{n}!"));
        let mut expected: Vec<_> = reviewed.collect();
        if on_failure == "pass" {
            expected.insert(bad, "bad".to_owned());
            assert_eq!(letters, [0; 0], "{items:?}");
        } else {
            assert_eq!(letters, [bad], "{on_failure}: {items:?}");
            let error = &items[bad]["error"];
            assert_eq!(error["code"], "unreviewed");
            let said = error["reason"].as_str().expect("a reason");
            assert!(said.starts_with(reason), "{said}");
        }
        assert_eq!(inbox, expected, "{on_failure}");
        assert!(questions <= 20, "{on_failure}: {questions} questions");
    }
}
