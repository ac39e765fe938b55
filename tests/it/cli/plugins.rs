//! `plugins list`, `inspect`, `disable` and `enable`: what an operator sees and does.

use serde_json::{Value, json};

use super::run;
use crate::harness::plugin::{Plugin, Recipe, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, eventually, tempdir};

const CENSOR: (&str, &str) = ("attach.plugins.censor", r#"{hooks=["review"],events=["unreached"]}"#);

fn censor() -> Recipe {
    Plugin::named("censor").hook("review", |_| Reply::Json(json!({"verdicts": [], "others": "pass"})))
}

/// One that answers as it should.
fn plugins(server: &Server, arguments: &[&str]) -> (String, String) {
    let (code, out, err) = asked(server, arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    (out, err)
}

fn asked(server: &Server, arguments: &[&str]) -> (Option<i32>, String, String) {
    let url = server.url();
    run(&[&["plugins"], arguments, &["--url", &url]].concat(), &[])
}

/// Cells of each line, two spaces or more apart.
fn cells(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_says_what_to_do_next() {
    let server = Server::start().await;
    let (out, err) = plugins(&server, &["list"]);
    assert_eq!(out, "");
    for word in [
        "attach.enabled = true",
        "[attach.plugins.censor]",
        "hooks = [\"review\"]",
    ] {
        assert!(err.contains(word), "{err}");
    }
    let (code, _, err) = asked(&server, &["inspect", "censor"]);
    assert_eq!(
        (code, &*err),
        (Some(1), "quick-notify: no plugins attach here (attach.enabled)\n")
    );
    let (code, _, err) = asked(&server, &["disable", "censor"]);
    assert_eq!(
        (code, &*err),
        (Some(1), "quick-notify: no plugins attach here (attach.enabled)\n")
    );

    let nats = Nats::start().await;
    let server = beside(&nats, &[]).await;
    let (out, err) = plugins(&server, &["list"]);
    assert_eq!(out, "");
    assert!(
        err.starts_with("No plugin may attach, and none is there. Start one"),
        "{err}"
    );

    let _stranger = censor().says("events", "unreached exploded").start(&nats).await;
    eventually("it is seen", async || {
        plugins(&server, &["list"]).1.contains("censor 1.0.0 is there")
    })
    .await;
    let (_, err) = plugins(&server, &["list"]);
    let (code, _, inspected) = asked(&server, &["inspect", "censor"]);
    assert_eq!(code, Some(1));
    // What it says is what to put into the configuration: with it, it attaches.
    let table = err.split("\n\n").last().expect("a table");
    let lines: Vec<_> = table.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        [
            "[attach.plugins.censor]",
            "hooks = [\"review\"]",
            "events = [\"unreached\"]"
        ],
        "{err}"
    );
    assert!(inspected.contains(table.trim()), "{inspected}");
    let directory = tempdir();
    let file = directory.path().join("allowed.toml");
    std::fs::write(&file, table).expect("written");
    let (code, out, err) = run(&["check", "-c", file.to_str().expect("text")], &[]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn list_and_inspect_tell_who_is_attached_and_what_became_of_the_questions() {
    let nats = Nats::start().await;
    let groups = (
        "attach.plugins.groups",
        r#"{hooks=["review"],order=100,required=true,on_failure="pass"}"#,
    );
    let server = beside(&nats, &[CENSOR, groups]).await;
    let _censor = censor()
        .says("events", "unreached")
        .says("receivers", "al* bob")
        .says("deadline-ms", "300")
        .start(&nats)
        .await;
    server.sees("censor", "attached").await;

    let (out, err) = plugins(&server, &["list"]);
    assert_eq!(err, "");
    let cells = cells(&out);
    assert_eq!(
        cells[0],
        [
            "PLUGIN",
            "STATE",
            "VERSION",
            "INSTANCES",
            "HOOK",
            "ORDER",
            "BREAKER",
            "ANSWERED",
            "FAILED",
            "P99"
        ]
    );
    assert_eq!(
        cells[1][..9],
        ["censor", "attached", "1.0.0", "1", "review", "500", "closed", "0", "0"]
    );
    assert_eq!(cells[2], ["is told: unreached"]);
    assert_eq!(
        cells[3],
        [
            "groups",
            "absent, required",
            "-",
            "0",
            "review",
            "100",
            "closed",
            "0",
            "0",
            "-"
        ]
    );
    let starts: Vec<_> = out.lines().map(|line| line.find("review")).collect();
    assert_eq!(
        (starts[1], starts[1]),
        (starts[3], out.lines().next().expect("a head").find("HOOK")),
        "{out}"
    );

    let (out, err) = plugins(&server, &["inspect", "censor"]);
    assert_eq!(err, "");
    for word in [
        "state         attached\n",
        "is told       unreached\n",
        "  subject     notify.hook.censor.review\n",
        "  served by   1 instance\n",
        "  deadline    300 ms\n",
        "  on failure  pass\n",
        "  receivers   al* bob\n",
        "  answered    0\n",
        "  failed      0\n",
    ] {
        let squeezed = |text: &str| {
            text.split(' ')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(squeezed(&out).contains(&squeezed(word)), "{word:?} is not in:\n{out}");
    }
    let (out, _) = plugins(&server, &["inspect", "groups"]);
    assert!(out.contains("absent: no instance answers"), "{out}");
    assert!(out.contains("its absence is a failure of its hooks"), "{out}");

    let (json, _) = plugins(&server, &["list", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["plugins"][0]["hooks"][0]["failed"], json!({}));
    let (one, _) = plugins(&server, &["inspect", "--json", "censor"]);
    assert_eq!(serde_json::from_str::<Value>(&one).expect("JSON")["name"], "censor");

    let (code, _, err) = asked(&server, &["inspect", "nobody"]);
    assert_eq!(
        (code, &*err),
        (
            Some(1),
            "quick-notify: there is no attach.plugins.nobody; there are: censor, groups\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn why_one_is_refused_and_how_to_mend_it_is_told_without_what_a_terminal_acts_on() {
    let nats = Nats::start().await;
    let server = beside(&nats, &[CENSOR]).await;
    let _censor = censor().says("order", "\u{1b}[2J\u{202e}first").start(&nats).await;
    server.sees("censor", "refused").await;
    let (out, err) = plugins(&server, &["list"]);
    assert!(out.contains("refused"), "{out}");
    assert_eq!(err, "\nWhy one is refused: quick-notify plugins inspect censor\n");
    let (out, _) = plugins(&server, &["inspect", "censor"]);
    assert!(out.contains("it must be a number from 0 to 1000"), "{out}");
    assert!(out.contains("to mend it"), "{out}");
    assert!(!out.contains(['\u{1b}', '\u{202e}']), "{out:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn disable_and_enable_say_what_they_mean_and_who_may() {
    let nats = Nats::start().await;
    let allowed = r#"{hooks=["review","subscribe","command","authenticate"],commands=["echo"],events=["unreached"]}"#;
    let server = beside(&nats, &[("attach.plugins.censor", allowed)]).await;
    let _censor = censor().says("events", "unreached").start(&nats).await;
    server.sees("censor", "attached").await;
    let (out, err) = plugins(&server, &["disable", "censor"]);
    assert_eq!(err, "");
    for word in [
        "censor is disabled on all nodes, until: quick-notify plugins enable censor\n",
        "review        notifications pass without it\n",
        "authenticate  nobody is let in by it",
        "subscribe     only the token says",
        "command       its commands are answered `unavailable`\n",
        "events        unreached: not told",
    ] {
        assert!(out.contains(word), "{word:?} is not in:\n{out}");
    }
    let (out, _) = plugins(&server, &["inspect", "censor"]);
    assert!(out.contains("disabled by anonymous at 20"), "{out}");
    let (out, _) = plugins(&server, &["enable", "censor"]);
    assert_eq!(out, "censor is enabled on all nodes, and is asked\n");
    let (out, _) = plugins(&server, &["disable", "censor", "--json"]);
    let out: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&out["disabled"]["disabled"], &out["plugin"]["state"]),
        (&json!(true), &json!("disabled"))
    );
    let (code, _, err) = asked(&server, &["enable", "nobody"]);
    assert_eq!(
        (code, &*err),
        (Some(1), "quick-notify: there is no attach.plugins.nobody\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_key_or_the_wrong_one_or_asks_nobody_is_told_so() {
    let nats = Nats::start().await;
    let directory = tempdir();
    let key = |name: &str, key: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, key).expect("written");
        file.display().to_string()
    };
    let secret = key("secret", "a secret of 32 bytes for a test.");
    let keys = [
        ("ops", key("ops", "key-of-operators")),
        ("app", key("app", "key-of-producers")),
    ]
    .map(|(name, file)| format!("{name}={{secret_file=\"{file}\"}}"))
    .join(",");
    let server = beside(
        &nats,
        &[
            CENSOR,
            ("auth.adapter", "jwt"),
            ("auth.jwt.keys", &format!("[{{secret_file=\"{secret}\"}}]")),
            ("ingest.keys", &format!("{{{keys}}}")),
            ("api.admins", "[\"ops\"]"),
        ],
    )
    .await;
    let url = server.url();
    let with = |key: &str, arguments: &[&str]| {
        run(
            &[&["plugins"], arguments, &["--url", &url]].concat(),
            &[("QN_API_KEY", key)],
        )
    };
    let (code, _, err) = asked(&server, &["list"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        err,
        "quick-notify: asking for the plugins needs a key: say it with --api-key, or in QN_API_KEY\n"
    );
    let (_, _, err) = with("key-of-nobody-at-all", &["list"]);
    assert!(err.contains("this key is not known: say it with --api-key"), "{err}");
    assert!(!err.contains("key-of-nobody"), "{err}");
    let (code, out, _) = with("key-of-producers", &["list"]);
    assert!(code == Some(0) && out.contains("censor  absent"), "{out}");
    let (code, _, err) = with("key-of-producers", &["disable", "censor"]);
    assert_eq!(
        (code, &*err),
        (
            Some(1),
            "quick-notify: app may not disable plugins: it is not among api.admins\n"
        )
    );
    assert_eq!(with("key-of-operators", &["disable", "censor"]).0, Some(0));
    assert_eq!(
        server
            .get("/api/plugins", &[("X-API-Key", "key-of-producers")])
            .await
            .json()["plugins"][0]["disabled"]["by"],
        "ops"
    );

    let (code, _, err) = run(&["plugins", "list", "--url", "http://127.0.0.1:1"], &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("http://127.0.0.1:1/api/plugins can't be reached; --url says which server is asked"),
        "{err}"
    );
}
