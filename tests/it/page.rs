//! The page at `/`, in a real Chromium.

use std::path::Path;

use serde_json::json;

use crate::harness::plugin::{Plugin, Reply, beside};
use crate::harness::servers::Nats;
use crate::harness::{Server, tempdir};
use crate::programs::{SETTINGS, needs_chromium, node};

/// What it looks like is left in `target/tmp/page`.
#[tokio::test]
async fn a_person_watches_publishes_confirms_and_tidies_in_chromium_while_the_server_dies_and_returns() {
    needs_chromium().await;
    let mut server = Server::with(&SETTINGS).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    let pictures = pictures.to_str().expect("the path is text");
    node(&mut server, "page.mjs", &["test1", pictures])
        .await
        .survived_a_kill();
}

/// Its pictures are left in `target/tmp/page-plugins`.
#[tokio::test]
async fn a_person_sees_which_plugins_are_attached_refused_and_not_allowed() {
    needs_chromium().await;
    let nats = Nats::start().await;
    let allowed = [
        ("attach.plugins.censor", r#"{hooks=["review"]}"#),
        ("attach.plugins.groups", r#"{hooks=["review"]}"#),
    ];
    let mut server = beside(&nats, &allowed).await;
    let review = |name| Plugin::named(name).hook("review", |_| Reply::Json(json!({"verdicts": [], "others": "pass"})));
    let _plugins = [
        review("censor").start(&nats).await,
        review("groups")
            .says("order", "<img src=x onerror=alert(1)>")
            .start(&nats)
            .await,
        review("stranger").start(&nats).await,
    ];
    let without = Server::start().await;
    let directory = tempdir();
    let file = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).expect("written");
        format!("{{secret_file=\"{}\"}}", file.display())
    };
    let settings = [
        allowed[0],
        ("auth.adapter", "jwt"),
        (
            "auth.jwt.keys",
            &format!("[{}]", file("secret", "a secret of 32 bytes for a test.")),
        ),
        ("ingest.keys", &format!("{{app={}}}", file("app", "key-of-producers"))),
    ];
    let keyed = beside(&nats, &settings).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page-plugins");
    let pictures = pictures.to_str().expect("the path is text");
    let (without, keyed) = (without.url(), keyed.url());
    let arguments = ["test1", pictures, &without, &keyed, "key-of-producers"];
    node(&mut server, "plugins.mjs", &arguments).await.went_well();
}
