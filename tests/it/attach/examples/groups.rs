//! *groups*: one notification becomes one for each member.

use serde_json::json;
use tokio::process::Command;

use super::super::conformance::check;
use super::{Program, file, is_gone};
use crate::harness::plugin::beside;
use crate::harness::servers::Nats;
use crate::harness::{Tab, tempdir, within};

fn python(groups: &std::path::Path) -> Command {
    let mut command = Command::new(file("target/venv/bin/python"));
    command.arg(file("examples/plugins/groups/groups.py")).arg(groups);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_a_group_rings_at_each_member_once() {
    let (nats, files) = (Nats::start().await, tempdir());
    let groups = files.path().join("groups.toml");
    std::fs::write(&groups, "ops = [\"test1\", \"test2\"]\n").expect("a file");
    let allowed = (
        "attach.plugins.groups",
        r#"{hooks=["review"],receivers=["group:*"],required=true}"#,
    );
    let server = beside(&nats, &[allowed]).await;
    let mut plugin = Program::start(python(&groups), &nats).await;
    server.sees("groups", "attached").await;

    let mut one = Tab::listen(&server, "test1", None).await;
    let mut two = Tab::listen(&server, "test2", None).await;
    server.notify("group:ops", "Hello, both").await;
    for tab in [&mut one, &mut two] {
        let delivery = tab.delivery().await;
        assert_eq!(delivery.data(), "Hello, both");
        tab.ack(&delivery.id).await;
        tab.is_quiet().await;
    }
    // The file changes while it runs; so many members that there are pages.
    let many: Vec<_> = (0..2_500)
        .map(|number| format!("m{number}"))
        .chain(["test1".to_owned()])
        .collect();
    std::fs::write(&groups, format!("ops = [\"test2\"]\nall = {}\n", json!(many))).expect("a file");
    server.notify("group:all", "Hello, all").await;
    plugin.says("groups: ops (1), all (2501)").await;
    assert_eq!(
        one.delivery().await.data(),
        "Hello, all",
        "the last member of the last page"
    );
    server.notify("group:ops", "Hello, you").await;
    assert_eq!(two.delivery().await.data(), "Hello, you");
    one.is_quiet().await;

    // What is no file of groups any more leaves the groups as they were; an unknown group is told.
    std::fs::write(&groups, "ops = 7").expect("a file");
    let draft = json!({"receiver": "group:nobody", "data": "Hello?"}).to_string();
    let refused = server.post("/api/notify?wait=stored", &[], draft).await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert!(refused.text.contains("there is no group nobody"), "{}", refused.text);
    server.notify("group:ops", "Still you").await;
    assert_eq!(two.delivery().await.data(), "Still you");
    plugin.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_to_the_protocol_and_ends_cleanly() {
    let nats = Nats::start().await;
    let files = tempdir();
    let (groups, sample) = (files.path().join("groups.toml"), files.path().join("sample.json"));
    let members: Vec<_> = (0..2_500).map(|number| format!("m{number}")).collect();
    std::fs::write(&groups, format!("all = {}", json!(members))).expect("a file");
    let notification =
        json!({"id": "a", "type": "T", "to": {"user": "group:all"}, "data": null, "persist": true, "created": 1});
    std::fs::write(&sample, json!({"notifications": [notification]}).to_string()).expect("a file");
    let plugin = Program::start(python(&groups), &nats).await;
    let report = check(&nats, &["groups", "--sample", sample.to_str().expect("a name")]).await;
    report.went_well();
    let paged = |finding: &serde_json::Value| {
        finding["seen"]
            .as_str()
            .is_some_and(|seen| seen.ends_with("2 further pages"))
    };
    assert!(report.findings.iter().any(paged), "{:?}", report.findings);
    plugin.terminate().await;
    is_gone(&nats, "groups").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_answers_are_of_bounded_size() {
    let (nats, files) = (Nats::start().await, tempdir());
    let groups = files.path().join("groups.toml");
    let members: Vec<_> = (0..1_000).map(|number| format!("{number:é>64}")).collect();
    std::fs::write(&groups, format!("all = {}", json!(members))).expect("a file");
    let plugin = Program::start(python(&groups), &nats).await;
    let client = async_nats::connect(nats.url()).await.expect("NATS");
    let ask = async |question: serde_json::Value| {
        let asked = client.request("notify.hook.groups.review", question.to_string().into());
        let payload = within("an answer", asked).await.expect("an answer").payload;
        assert!(payload.len() <= 262_144, "{}", payload.len());
        serde_json::from_slice::<serde_json::Value>(&payload).expect("JSON")
    };
    let one = |id: usize| json!({"id": format!("{id:->64}"), "type": "T", "to": {"user": "group:all"}, "data": null, "persist": true, "created": 1});
    let twenty: Vec<_> = (0..20).map(one).collect();
    let mut page = ask(json!({"v": 1, "request": "r", "notifications": twenty})).await["verdicts"][19].clone();
    let mut named = Vec::new();
    loop {
        named.extend(page["receivers"].as_array().expect("receivers").clone());
        let Some(next) = page["next"].as_str() else { break };
        page = ask(json!({"v": 1, "request": "r", "page": {"next": next, "notification": one(19)}})).await;
    }
    assert_eq!(json!(named), json!(members));
    plugin.terminate().await;
}
