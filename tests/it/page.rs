//! The page at `/`, in a real Chromium.

use std::path::Path;

use crate::harness::Server;
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
