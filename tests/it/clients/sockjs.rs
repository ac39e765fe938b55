//! STOMP libraries over `sockjs-client`, by each of its transports: the same story as over a WebSocket of their own.

use crate::harness::Server;
use crate::harness::servers::free_port;
use crate::programs::{End, SETTINGS, needs_chromium, node};

async fn in_node(library: &str, transport: &str) {
    let mut server = Server::with(&SETTINGS).await;
    let end = node(&mut server, "sockjs-node.mjs", &["test1", library, transport]).await;
    end.survived_a_kill();
    assert!(end.lines.contains(&format!("TOLD {library} {transport}")), "{end}");
}

/// A story for each transport, in pages of another origin (and site) than the server's.
async fn in_chromium(library: &str, transports: &[&str]) -> End {
    needs_chromium().await;
    let port = free_port().to_string();
    // What is put into a frame has to be of the page's version, and no name of another machine is asked for.
    let client = format!("http://localhost:{port}/node_modules/sockjs-client/dist/sockjs.js");
    let settings = [&SETTINGS[..], &[("edge.sockjs.client_url", &client)]].concat();
    let mut server = Server::with(&settings).await;
    let arguments = [&[&*port, library], transports].concat();
    let end = node(&mut server, "sockjs-chromium.mjs", &arguments).await;
    end.survived_a_kill();
    for transport in transports {
        let told = format!("TOLD {library} {transport} from ");
        assert!(end.lines.iter().any(|line| line.starts_with(&told)), "{end}");
    }
    end
}

#[tokio::test]
async fn stompjs_2_3_3_over_a_websocket_of_sockjs_in_node() {
    in_node("stompjs2", "websocket").await;
}

#[tokio::test]
async fn stompjs_2_3_3_over_xhr_streaming_in_node() {
    in_node("stompjs2", "xhr-streaming").await;
}

#[tokio::test]
async fn stompjs_2_3_3_over_xhr_polling_in_node() {
    in_node("stompjs2", "xhr-polling").await;
}

#[tokio::test]
async fn stompjs_7_over_xhr_polling_in_node() {
    in_node("stompjs7", "xhr-polling").await;
}

#[tokio::test]
async fn webstomp_client_over_a_websocket_of_sockjs_in_node() {
    in_node("webstomp", "websocket").await;
}

#[tokio::test]
async fn stompjs_2_3_3_over_the_transports_that_a_page_of_today_takes_in_chromium() {
    in_chromium(
        "stompjs2",
        &["websocket", "xhr-streaming", "xhr-polling", "eventsource"],
    )
    .await;
}

/// `sockjs-client` says that htmlfile is there for pages of the server's own origin alone: that one gets such a page.
#[tokio::test]
async fn stompjs_2_3_3_over_the_transports_of_old_browsers_in_chromium() {
    let end = in_chromium("stompjs2", &["htmlfile", "jsonp-polling"]).await;
    let home = "TOLD stompjs2 htmlfile from the server’s own origin";
    assert!(end.lines.iter().any(|line| line.starts_with(home)), "{end}");
}

#[tokio::test]
async fn stompjs_2_3_3_out_of_a_frame_in_chromium() {
    in_chromium(
        "stompjs2",
        &["iframe-eventsource", "iframe-htmlfile", "iframe-xhr-polling"],
    )
    .await;
}

#[tokio::test]
async fn stompjs_7_over_sockjs_in_chromium() {
    in_chromium("stompjs7", &["websocket", "xhr-polling"]).await;
}

#[tokio::test]
async fn webstomp_client_over_sockjs_in_chromium() {
    in_chromium("webstomp", &["xhr-streaming", "jsonp-polling"]).await;
}
