//! The browser client as a product: its npm package, its types, its examples, and a page that sleeps.

use crate::harness::Server;
use crate::programs::{SETTINGS, node};

#[tokio::test]
async fn the_npm_package_is_what_is_served_is_typed_by_its_code_and_runs_where_it_is_installed() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "package.mjs", &["test1"]).await.went_well();
}
