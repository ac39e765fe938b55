//! The browser client as a product: its npm package, its types, its examples, and a page that sleeps.

use std::path::Path;

use crate::harness::Server;
use crate::programs::{SETTINGS, needs_chromium, node};

#[tokio::test]
async fn the_npm_package_is_what_is_served_is_typed_by_its_code_and_runs_where_it_is_installed() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "package.mjs", &["test1"]).await.went_well();
}

/// What they look like is left in `target/tmp/examples` if they fail.
#[tokio::test]
async fn the_examples_for_browsers_show_what_comes_in_chromium() {
    needs_chromium().await;
    let mut server = Server::with(&SETTINGS).await;
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let pictures = pictures.to_str().expect("the path is text");
    node(&mut server, "examples.mjs", &["test1", pictures])
        .await
        .survived_a_kill();
}

#[tokio::test]
async fn a_page_that_was_frozen_cached_loaded_anew_or_offline_is_back_with_what_it_missed() {
    needs_chromium().await;
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sleep.mjs", &["test1"]).await.survived_a_kill();
}
