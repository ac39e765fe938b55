//! `auth.adapter = "hook"`: a plugin says who a token speaks for, and nobody gets in by its failure.

use std::sync::{Arc, Mutex};

use quick_notify::stomp::{Command, ServerCommand};
use serde_json::{Value, json};

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, Tab, eventually};

const SETTINGS: [(&str, &str); 4] = [
    ("auth.adapter", "hook"),
    ("attach.plugins.gate", r#"{hooks=["authenticate"]}"#),
    ("attach.hooks.breaker_failures", "10000"),
    ("attach.hooks.deadline_ms", "500"),
];
/// The year 2100, in milliseconds.
const LATER: i64 = 4_102_444_800_000;

/// What the gate says next, if it is not what the token asks for.
type Whim = Arc<Mutex<Option<fn() -> Reply>>>;

fn vouches(user: &str) -> Value {
    let topics = json!({"read": ["/topic/**"], "write": ["/topic/**"]});
    json!({"user": user, "expires": LATER, "topics": topics})
}

/// Knows the tokens `good-USER` and `few-USER`, who may have one session.
async fn gate(nats: &Nats, whim: Whim) -> Plugin {
    Plugin::named("gate")
        .hook("authenticate", move |question| {
            if let Some(said) = *whim.lock().expect("no panic") {
                return said();
            }
            let token = question["token"].as_str().unwrap_or_default();
            Reply::Json(match token.split_once('-') {
                Some(("good", user)) => vouches(user),
                Some(("few", user)) => {
                    let mut answer = vouches(user);
                    answer["max_sessions"] = json!(1);
                    answer
                }
                _ => json!({"refused": "this token\nis unknown"}),
            })
        })
        .start(nats)
        .await
}

async fn unread(server: &Server, token: &str) -> (u16, String) {
    let answer = server.get("/api/notify/unread", &[("Authorization", token)]).await;
    let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
    (answer.status, code)
}

async fn is_there(server: &Server) {
    eventually("the gate is asked", async || {
        unread(server, "good-alice").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_plugin_says_who_it_is_and_what_it_may() {
    let nats = Nats::start().await;
    let server = beside(&nats, &SETTINGS).await;
    let gate = gate(&nats, Whim::default()).await;
    is_there(&server).await;

    let mut alice = Tab::open(&server).await;
    let connected = alice.handshake("Bearer good-alice", "1.2").await;
    assert_eq!(connected.headers.get("user-name"), Some("alice"));
    let asked = gate.questions().pop().expect("a question");
    assert_eq!(
        (&asked["token"], &asked["connection"]),
        (
            &json!("good-alice"),
            &json!({"transport": "websocket", "address": "127.0.0.1"})
        )
    );
    let origin = [("Authorization", "good-alice"), ("Origin", "https://shop.example")];
    server.get("/api/notify/unread", &origin).await;
    let asked = gate.questions().pop().expect("a question");
    assert_eq!(
        asked["connection"],
        json!({"transport": "rest", "address": "127.0.0.1", "origin": "https://shop.example"})
    );

    // What a token allows beside the configuration's bound.
    let _first = Tab::connect(&server, "few-bob").await;
    let mut second = Tab::open(&server).await;
    let refused = second.handshake("few-bob", "1.2").await;
    assert_eq!(refused.headers.get("code"), Some("too-many-sessions"));

    // A refusal in the plugin's words, on one line.
    let mut mallory = Tab::open(&server).await;
    let refused = mallory.handshake("s3cret-token", "1.2").await;
    let header = |name| refused.headers.get(name).unwrap_or_default();
    assert_eq!(
        (header("code"), header("message")),
        ("token-refused", "the token was refused: this token is unknown")
    );
    assert_eq!(unread(&server, "s3cret-token").await, (401, "token-refused".to_owned()));
    for secret in ["s3cret-token", "good-alice", "few-bob"] {
        assert!(!server.log().contains(secret), "a token is in the log");
    }
}

/// Each of them is a failure of the plugin, and none lets anybody in or sends him for another token.
#[tokio::test]
async fn whatever_the_plugin_does_but_answer_rightly_is_unavailable() {
    let nats = Nats::start().await;
    let server = beside(&nats, &SETTINGS).await;
    assert_eq!(
        unread(&server, "good-alice").await,
        (503, "auth-unavailable".to_owned()),
        "it is not there yet"
    );
    let whim = Whim::default();
    let gate = gate(&nats, Arc::clone(&whim)).await;
    is_there(&server).await;
    fn but(field: &str, value: Value) -> Reply {
        let mut answer = vouches("alice");
        answer[field] = value;
        Reply::Json(answer)
    }
    type Fails = fn() -> Reply;
    let failures: [(&str, Fails); 19] = [
        ("silence", || Reply::Silence),
        ("an error", || Reply::Error(500, "out of order")),
        ("no JSON", || Reply::Raw("{".into())),
        ("too large", || Reply::Raw(vec![b' '; 600_000].into())),
        ("another version", || but("v", json!(2))),
        ("another's answer", || but("request", json!("r_other"))),
        ("no user", || but("user", json!(null))),
        ("an empty user", || but("user", json!(""))),
        ("everyone", || but("user", json!("*"))),
        ("a long user", || but("user", json!("a".repeat(65)))),
        ("both", || but("refused", json!("and yet"))),
        ("seconds for an end", || but("expires", json!("soon"))),
        ("a negative end", || but("expires", json!(-1))),
        ("an end beyond all times", || but("expires", json!(i64::MAX))),
        ("others' queues", || {
            but("topics", json!({"read": ["/user/bob/queue/msg"]}))
        }),
        ("a bad pattern", || but("topics", json!({"write": ["/topic/**/a"]}))),
        ("no sessions", || but("max_sessions", json!(0))),
        ("a token's name that is none", || but("token_id", json!(""))),
        ("no end", || Reply::Json(json!({"user": "alice"}))),
    ];
    for (what, failure) in failures {
        *whim.lock().expect("no panic") = Some(failure);
        assert_eq!(
            unread(&server, "good-alice").await,
            (503, "auth-unavailable".to_owned()),
            "{what}"
        );
    }
    let mut tab = Tab::open(&server).await;
    let refused = tab.handshake("good-alice", "1.2").await;
    assert_eq!(refused.headers.get("code"), Some("auth-unavailable"));
    tab.closed().await;
    let words = tab.close.expect("a close frame").1;
    assert!(words.starts_with("auth-unavailable; retry-after="), "{words}");
    *whim.lock().expect("no panic") = None;
    assert_eq!(unread(&server, "good-alice").await.0, 200);
    drop(gate);
    eventually("it is gone", async || unread(&server, "good-alice").await.0 == 503).await;
}

/// The plugin's own words may have the token in them, in each kind of failure and in a refusal. They are for nobody but the one who brought it.
#[tokio::test]
async fn what_the_plugin_says_of_a_token_is_in_no_log_and_no_report() {
    const TOKEN: &str = "s3cret-token";
    let nats = Nats::start().await;
    let keys = crate::harness::tempdir();
    std::fs::write(keys.path().join("key"), "the-key-of-a-shop").expect("a file");
    let key = format!("{}/key", keys.path().display());
    let more = [
        ("telemetry.log_filter", "info,quick_notify=debug"),
        ("ingest.keys.shop.secret_file", &key),
    ];
    let server = beside(&nats, &[&SETTINGS[..], &more].concat()).await;
    let shop = [("X-API-Key", "the-key-of-a-shop")];
    let whim = Whim::default();
    let _gate = gate(&nats, Arc::clone(&whim)).await;
    is_there(&server).await;
    type Says = fn() -> Reply;
    let words: [(&str, Says); 4] = [
        ("error", || Reply::Error(500, TOKEN)),
        ("bad-reply", || {
            Reply::Json(json!({"user": TOKEN.repeat(20), "expires": null}))
        }),
        ("bad-json", || Reply::Json(json!({"user": "alice", "expires": TOKEN}))),
        ("bad-version", || Reply::Json(json!({"v": 7, "request": TOKEN}))),
    ];
    for (reason, says) in words {
        *whim.lock().expect("no panic") = Some(says);
        assert_eq!(unread(&server, TOKEN).await.0, 503, "{reason}");
        let mut tab = Tab::open(&server).await;
        tab.handshake(TOKEN, "1.2").await;
        let said = server.get("/api/plugins", &shop).await.json();
        assert_eq!(
            said["plugins"][0]["hooks"][0]["last_failure"]["reason"], reason,
            "{said}"
        );
        assert!(!said.to_string().contains(TOKEN), "{said}");
        assert!(server.log().contains(&format!("\"{reason}\"")), "told at once");
    }
    *whim.lock().expect("no panic") = Some(|| Reply::Json(json!({"refused": TOKEN})));
    let mut tab = Tab::open(&server).await;
    let refused = tab.handshake(TOKEN, "1.2").await;
    assert!(
        refused
            .headers
            .get("message")
            .is_some_and(|words| words.contains(TOKEN))
    );
    tab.closed().await;
    eventually("the end is told", async || server.log().contains("token-refused")).await;
    assert!(!server.log().contains(TOKEN), "{}", server.log());
    assert!(!server.get("/api/plugins", &shop).await.text.contains(TOKEN));
}

#[tokio::test]
async fn a_token_that_ended_or_never_ends_is_refused_for_good() {
    let nats = Nats::start().await;
    let whim = Whim::default();
    let strict = beside(&nats, &SETTINGS).await;
    let settings = [&SETTINGS[..], &[("attach.hooks.unending_tokens", "true")]].concat();
    let lenient = beside(&nats, &settings).await;
    let _gate = gate(&nats, Arc::clone(&whim)).await;
    is_there(&strict).await;
    is_there(&lenient).await;
    *whim.lock().expect("no panic") = Some(|| Reply::Json(json!({"user": "alice", "expires": null})));
    assert_eq!(unread(&strict, "t").await, (401, "token-no-expiry".to_owned()));
    assert_eq!(unread(&lenient, "t").await.0, 200);
    *whim.lock().expect("no panic") = Some(|| Reply::Json(json!({"user": "alice", "expires": 1})));
    assert_eq!(unread(&lenient, "t").await, (401, "token-expired".to_owned()));
}

/// While a slow plugin looks at a fresh token, the session goes on with the one that it has.
#[tokio::test]
async fn a_renewal_that_takes_its_time_holds_up_no_delivery() {
    let nats = Nats::start().await;
    let mut settings = SETTINGS;
    settings[3].1 = "4000";
    let server = beside(&nats, &settings).await;
    let whim = Whim::default();
    let gate = gate(&nats, Arc::clone(&whim)).await;
    is_there(&server).await;
    let mut alice = Tab::connect(&server, "good-alice").await;
    alice.subscribe("t", "/topic/news").await;
    let mut bob = Tab::connect(&server, "good-bob").await;
    *whim.lock().expect("no panic") = Some(|| Reply::Silence);
    let before = gate.questions().len();
    let renewal = alice
        .write(Command::Send)
        .header("destination", "/app/token")
        .header("receipt", "renewed");
    alice.send(renewal.body(b"good-alice")).await;
    eventually("the gate is asked", async || gate.questions().len() > before).await;
    bob.send_to("/topic/news", "meanwhile").await;
    assert_eq!(alice.delivery().await.text, "meanwhile", "and no RECEIPT yet");
    // The renewal fails at its deadline: whether the token is good can't be known.
    let end = alice.frame().await;
    assert_eq!(end.command, ServerCommand::Error);
    assert_eq!(end.headers.get("code"), Some("auth-unavailable"));
}

#[test]
fn without_one_plugin_that_decides_the_configuration_is_wrong() {
    let check = |settings: &[&str]| {
        let sets = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<_> = ["check", "--set", "auth.adapter=hook"]
            .into_iter()
            .chain(sets)
            .collect();
        let output = Server::program(&arguments);
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let enabled = "attach.enabled=true";
    let (one, two) = (
        r#"attach.plugins.one={hooks=["authenticate"]}"#,
        r#"attach.plugins.two={hooks=["authenticate"]}"#,
    );
    for (settings, reason) in [
        (&[][..], "auth.adapter: needs attach.enabled = true"),
        (&[one][..], "auth.adapter: needs attach.enabled = true"),
        (&[enabled][..], "auth.adapter: no plugin may serve it"),
        (&[enabled, one, two][..], "auth.adapter: both one and two may serve"),
    ] {
        let (is_right, said) = check(settings);
        assert!(!is_right && said.contains(reason), "{settings:?}: {said}");
    }
    let (is_right, said) = check(&[enabled, one]);
    assert!(is_right, "{said}");
}
