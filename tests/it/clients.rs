//! Clients that nobody here wrote, and the one that the server serves, each in the language of its users: they take, confirm, reconnect
//! and get what they missed. The stories stand in `tests/browser`, beside the packages that they are told with.

mod java;
mod sockjs;
mod today;

use crate::harness::{Cluster, Server};
use crate::programs::{SETTINGS, node, python};

#[tokio::test]
async fn stompjs_7_takes_confirms_reconnects_and_gets_what_it_missed() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "stompjs7.mjs", &["test1"]).await.survived_a_kill();
}

#[tokio::test]
async fn stompjs_2_3_3_takes_confirms_by_app_ack_reconnects_and_gets_what_it_missed() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "stompjs2.cjs", &["test1"]).await.survived_a_kill();
}

#[tokio::test]
async fn stomp_py_over_websocket_takes_confirms_reconnects_and_gets_what_it_missed() {
    let mut server = Server::with(&SETTINGS).await;
    python(&mut server, "stomppy.py", &["test1"]).await.survived_a_kill();
}

/// The stories above are able to fail.
#[tokio::test]
async fn a_client_complains_where_nothing_is_sent_again() {
    let mut server = Server::with(&[("session.resend_most", "0"), ("session.resend_first_ms", "100")]).await;
    let end = node(&mut server, "stompjs7.mjs", &["test1", "--patience=3000"]).await;
    assert!(
        !end.success && end.errors.contains("FAILED: Error: delivery 2 of ntf_"),
        "{end}"
    );
}

#[tokio::test]
async fn the_browser_client_hands_on_500_in_order_once_each_and_confirms_them() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "ordered"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_resumes_by_seq_and_drops_what_it_was_given() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "resume"]).await.went_well();
}

#[tokio::test]
async fn two_browser_clients_hear_of_each_other_what_was_viewed_and_deleted() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "between"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_asks_for_a_fresh_token_before_the_session_ends() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "token"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_loses_and_doubles_nothing_when_the_server_is_killed() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "kill"]).await.survived_a_kill();
}

#[tokio::test]
async fn the_browser_client_waits_by_dice_and_shares_its_addresses_out() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "dice"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_keeps_its_session_while_fresh_tokens_are_hard_to_get_and_tells_none() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "renewal"]).await.went_well();
}

#[tokio::test]
async fn what_is_no_token_ends_no_session_of_the_browser_client() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "nonsense"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_ends_as_it_was_told_last() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "wishes"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_asks_again_for_a_number_that_it_could_not_have() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "counting"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_is_opened_through_whatever_socket_it_is_given() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "socket"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_works_over_each_transport_of_sockjs_client() {
    let mut server = Server::with(&SETTINGS).await;
    node(&mut server, "sdk.mjs", &["test1", "sockjs"])
        .await
        .survived_a_kill();
}

#[tokio::test]
async fn the_browser_client_waits_for_a_place_and_takes_it() {
    let mut server = Server::with(&[("session.max_per_user", "1")]).await;
    node(&mut server, "sdk.mjs", &["test1", "crowded"]).await.went_well();
}

#[tokio::test]
async fn browser_clients_that_are_too_many_at_once_come_back_when_they_are_told_to() {
    let settings = ["per_second", "burst", "max_waiting"].map(|name| format!("edge.admission.{name}"));
    let [rate, burst, waiting] = &settings;
    let mut server = Server::with(&[(rate, "2"), (burst, "1"), (waiting, "1")]).await;
    node(&mut server, "sdk.mjs", &["test1", "admitted"]).await.went_well();
}

#[tokio::test]
async fn the_browser_client_comes_back_when_a_drained_server_told_it_to() {
    let mut server = Server::with(&[("edge.return_within_ms", "900")]).await;
    node(&mut server, "sdk.mjs", &["test1", "drained"]).await.went_well();
}

/// The address of the node that lives goes behind the chapter's name.
#[tokio::test(flavor = "multi_thread")]
async fn the_tabs_of_a_node_that_dies_are_back_on_another_with_nothing_lost_doubled_or_out_of_order() {
    let mut cluster = Cluster::start(&SETTINGS).await;
    let chapter = format!("elsewhere={}", cluster.nodes[1].server.url());
    node(&mut cluster.nodes[0].server, "sdk.mjs", &["test1", &chapter])
        .await
        .went_well();
}
