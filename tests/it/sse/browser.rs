//! Real readers: `EventSource` and `fetch` in Chromium.

use crate::harness::Server;
use crate::programs::{SETTINGS, needs_chromium, node};

#[tokio::test]
async fn an_event_source_with_tickets_and_a_fetch_with_a_header_lose_nothing_when_the_server_dies_and_returns() {
    needs_chromium().await;
    let mut server = Server::launch(
        &[&SETTINGS[..], &[("auth.tickets.secret.secret_env", "SSE_TICKETS")]].concat(),
        &[("SSE_TICKETS", "a secret of thirty-two bytes, ok?")],
    )
    .await;
    node(&mut server, "sse.mjs", &["test1"]).await.survived_a_kill();
}
