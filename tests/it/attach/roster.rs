//! Who is attached: seen soon after it came, dropped when it is gone, refused with a word, and disabled by who may.

use serde_json::json;

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, eventually};

const ALLOWED: (&str, &str) = ("attach.plugins.censor", r#"{hooks=["review"],events=["unreached"]}"#);

fn passes() -> crate::harness::plugin::Recipe {
    Plugin::named("censor").hook("review", |_| Reply::Json(json!({"verdicts": [], "others": "pass"})))
}

#[tokio::test]
async fn a_plugin_is_on_the_roster_from_its_start_to_its_end() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[ALLOWED]).await;
    assert_eq!(server.plugin("censor").await["state"], "absent");

    let recipe = passes()
        .says("order", "7")
        .says("deadline-ms", "300")
        .says("on-failure", "reject");
    let one = recipe.says("events", "unreached").start(&nats).await;
    server.sees("censor", "attached").await;
    let seen = server.plugin("censor").await;
    let hook = &seen["hooks"][0];
    assert_eq!(
        (
            &hook["hook"],
            &hook["subject"],
            &hook["order"],
            &hook["deadline_ms"],
            &hook["on_failure"]
        ),
        (
            &json!("review"),
            &json!("notify.hook.censor.review"),
            &json!(7),
            &json!(300),
            &json!("reject")
        )
    );
    assert_eq!(seen["events"], json!(["unreached"]));

    let two = passes().version("1.1.0").start(&nats).await;
    eventually("two instances", async || {
        server.plugin("censor").await["hooks"][0]["instances"] == 2
    })
    .await;
    assert_eq!(
        server.plugin("censor").await["hooks"][0]["order"],
        500,
        "the newest version says"
    );
    drop(two);
    eventually("one instance", async || {
        server.plugin("censor").await["hooks"][0]["instances"] == 1
    })
    .await;
    drop(one);
    server.sees("censor", "absent").await;
}

#[tokio::test]
async fn what_is_wrong_with_an_instance_is_said() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[ALLOWED]).await;
    let pass = |_: &serde_json::Value| Reply::Silence;
    let plugin = || Plugin::named("censor");
    let wrong = [
        (passes().says("quick-notify", "2"), "speaks version \"2\""),
        (
            plugin().hook_on("review", "notify.hook.other.review", pass),
            "must be notify.hook.censor.review",
        ),
        (
            plugin().hook("subscribe", pass),
            "attach.plugins.censor.hooks does not allow",
        ),
        (passes().says("order", "first"), "order is \"first\""),
        (passes().says("on-failure", "explode"), "say pass, reject or retry"),
        (
            plugin().says("events", "stored"),
            "attach.plugins.censor.events does not allow",
        ),
        (passes().says("events", "exploded"), "there are: accepted stored"),
        (plugin(), "has no endpoint named as a hook"),
        (passes().says("commands", "echo"), "go together"),
        (passes().unsaid("quick-notify"), "so it is no plugin"),
    ];
    for (recipe, reason) in wrong {
        let plugin = recipe.start(&nats).await;
        server.sees("censor", "refused").await;
        let said = server.plugin("censor").await;
        let said = said["instances"][0]["refused"].as_str().unwrap_or_default();
        assert!(said.contains(reason), "{said:?} does not say {reason:?}");
        assert!(
            server.log().replace("\\\"", "\"").contains(reason),
            "the log doesn't say {reason:?}"
        );
        assert_eq!(server.plugin("censor").await["hooks"][0]["instances"], 0);
        drop(plugin);
        server.sees("censor", "absent").await;
    }
}

/// As while a new version of it is rolled out, before the nodes' configuration is.
#[tokio::test]
async fn what_is_not_allowed_is_left_out_and_the_rest_serves() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[ALLOWED]).await;
    let _plugin = passes()
        .hook("command", |_| Reply::Silence)
        .hook("subscribe", |_| Reply::Silence)
        .says("commands", "echo")
        .says("events", "unreached stored")
        .says("on_failure", "reject")
        .says("deadline-ms", "30000")
        .start(&nats)
        .await;
    server.sees("censor", "attached").await;
    let seen = server.plugin("censor").await;
    assert_eq!(seen["events"], json!(["unreached"]));
    assert_eq!(seen["hooks"][0]["instances"], 1);
    assert_eq!(seen["hooks"][0]["deadline_ms"], 5_000);
    assert_eq!(seen["hooks"][0]["deadline_asked_ms"], 30_000);
    let left_out = seen["instances"][0]["left_out"].to_string();
    for what in ["serves command,", "serves subscribe,", "the event stored,"] {
        assert!(left_out.contains(what), "{left_out}");
    }
    assert_eq!(
        seen["instances"][0]["unknown"],
        json!(["on_failure (perhaps on-failure?)"])
    );
    let told = server.log().matches("a part of what a plugin offers").count();
    assert_eq!(told, 3, "once each");
}

#[tokio::test]
async fn a_plugin_that_nobody_allowed_is_shown_and_not_asked() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[]).await;
    let stranger = Plugin::named("stranger")
        .hook("review", |_| Reply::Silence)
        .start(&nats)
        .await;
    eventually("it is shown", async || {
        let all = server.get("/api/plugins", &[]).await.json();
        all["strangers"][0]["name"] == "stranger"
    })
    .await;
    assert!(server.log().contains("attach.plugins.stranger"));
    server.notify("alice", "Hello").await;
    assert!(stranger.questions().is_empty());
}

#[tokio::test]
async fn a_disabled_plugin_stays_so_on_all_nodes_and_after_a_restart() {
    let nats = Nats::start().await;
    let (mut one, other) = (beside(&nats, &[ALLOWED]).await, beside(&nats, &[ALLOWED]).await);
    let _plugin = passes().start(&nats).await;
    for server in [&one, &other] {
        server.sees("censor", "attached").await;
    }
    let answer = one.post("/api/plugins/censor/disable", &[], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    for server in [&one, &other] {
        server.sees("censor", "disabled").await;
    }
    // Once more, by whomever: the first decision stays.
    let again = other.post("/api/plugins/censor/disable", &[], "").await;
    assert_eq!(
        (again.status, &again.json()["disabled"]),
        (200, &answer.json()["disabled"])
    );
    assert_eq!(one.log().matches("a plugin is disabled").count(), 1);
    one.terminate().await;
    one.restart().await;
    assert_eq!(
        one.plugin("censor").await["state"],
        "disabled",
        "from its first answer on"
    );
    assert_eq!(one.post("/api/plugins/censor/enable", &[], "").await.status, 200);
    for server in [&one, &other] {
        server.sees("censor", "attached").await;
    }
    let unknown = one.post("/api/plugins/nobody/disable", &[], "").await;
    assert_eq!(
        (unknown.status, &*unknown.refusal()),
        (404, "name: there is no attach.plugins.nobody")
    );
}

#[tokio::test]
async fn without_plugins_there_is_no_roster() {
    let server = Server::start().await;
    let all = server.get("/api/plugins", &[]).await.json();
    assert_eq!(all, json!({"enabled": false, "plugins": [], "strangers": []}));
    assert_eq!(server.post("/api/plugins/censor/disable", &[], "").await.status, 404);
}
