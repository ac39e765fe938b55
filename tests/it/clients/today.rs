//! The page of today's users, unchanged, on another origin than the server's: connect, history, live, confirm, the buttons, and the return
//! after the server died.

use crate::harness::Server;
use crate::harness::servers::free_port;
use crate::programs::{SETTINGS, needs_chromium, node};

async fn works_over(transport: &str) {
    needs_chromium().await;
    let mut server = Server::with(&SETTINGS).await;
    let port = free_port().to_string();
    node(&mut server, "today.mjs", &[&port, transport])
        .await
        .survived_a_kill();
}

#[tokio::test]
async fn todays_page_works_unchanged_over_a_websocket() {
    works_over("websocket").await;
}

#[tokio::test]
async fn todays_page_works_unchanged_over_xhr_polling() {
    works_over("xhr-polling").await;
}
