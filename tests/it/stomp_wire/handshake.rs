//! Versions, subprotocols and the first frame.

use quick_notify::stomp::{ServerCommand, Version};

use crate::harness::{Server, Tab};

#[tokio::test(flavor = "multi_thread")]
async fn every_version_is_served_and_the_highest_common_one_is_taken() {
    let server = Server::start().await;
    for (accepted, version) in [
        ("1.0", "1.0"),
        ("1.1", "1.1"),
        ("1.2", "1.2"),
        ("1.0,1.1,1.2", "1.2"),
        ("1.1,1.0", "1.1"),
        ("1.2,2.0", "1.2"),
    ] {
        let mut tab = Tab::open(&server).await;
        let connected = tab.handshake("test1", accepted).await;
        let header = |name| connected.headers.get(name);
        assert_eq!(connected.command, ServerCommand::Connected);
        assert_eq!(header("version"), Some(version));
        assert_eq!(header("user-name"), Some("test1"));
        assert_eq!(header("heart-beat"), Some("10000,10000"));
        tab.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_accept_version_it_is_1_0_and_stomp_opens_as_connect_does() {
    let server = Server::start().await;
    for command in ["CONNECT", "STOMP"] {
        let mut tab = Tab::open(&server).await;
        tab.send(format!("{command}\nAuthorization:Bearer test1\nheart-beat:0,0\n\n\0").into())
            .await;
        let connected = tab.frame().await;
        assert_eq!(connected.command, ServerCommand::Connected);
        assert_eq!(connected.headers.get("version"), Some("1.0"));
        assert_eq!(connected.headers.get("user-name"), Some("test1"));
        assert_eq!(
            connected.headers.get("heart-beat"),
            Some("10000,10000"),
            "whatever the client offers"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_is_told_which_are_known() {
    let server = Server::start().await;
    let mut tab = Tab::open(&server).await;
    let error = tab.handshake("test1", "3.0,4.0").await;
    assert_eq!(error.command, ServerCommand::Error);
    assert_eq!(error.headers.get("version"), Some("1.0,1.1,1.2"));
    assert_eq!(error.headers.get("code"), Some("unsupported-version"));
    tab.closed().await;
    assert_eq!(tab.close, Some((1008, "unsupported-version".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_highest_subprotocol_on_offer_is_chosen_and_none_is_needed() {
    let server = Server::start().await;
    for (offered, chosen) in [
        (Some("v10.stomp, v11.stomp, v12.stomp"), Some("v12.stomp")),
        (Some("v11.stomp,v10.stomp"), Some("v11.stomp")),
        (Some("v10.stomp"), Some("v10.stomp")),
        (Some("chat, v11.stomp"), Some("v11.stomp")),
        (None, None),
    ] {
        let mut tab = Tab::offer(&server.ws(), offered).await;
        assert_eq!(tab.protocol.as_deref(), chosen, "{offered:?}");
        assert_eq!(tab.handshake("test1", "1.2").await.command, ServerCommand::Connected);
    }
    let mut tab = Tab::offer(&format!("{}/websocket", server.ws()), None).await;
    assert_eq!(
        tab.handshake("test1", "1.2").await.command,
        ServerCommand::Connected,
        "raw, as SockJS names it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_before_connect_and_a_second_connect_are_refused_and_what_follows_is_not_done() {
    let server = Server::start().await;
    let mut listener = Tab::connect(&server, "test2").await;
    listener.subscribe("t", "/topic/x").await;
    let mut nobody = Tab::open(&server).await;
    let send = "SEND\ndestination:/topic/x\nreceipt:r1\n\nforged\0";
    nobody
        .send(format!("{send}CONNECT\nAuthorization:test1\n\n\0{send}").into())
        .await;
    let error = nobody.frame().await;
    assert_eq!(
        (error.headers.get("code"), error.headers.get("receipt-id")),
        (Some("not-connected"), Some("r1"))
    );
    nobody.closed().await;
    let mut alice = Tab::connect(&server, "test1").await;
    alice
        .send(format!("CONNECT\nAuthorization:test2\nreceipt:r2\n\n\0{send}").into())
        .await;
    let error = alice.frame().await;
    assert_eq!(
        (error.headers.get("code"), error.headers.get("receipt-id")),
        (Some("already-connected"), Some("r2"))
    );
    alice.closed().await;
    listener.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_sent_away() {
    let server = Server::with(&[("session.connect_timeout_ms", "200")]).await;
    let mut nobody = Tab::open(&server).await;
    let (code, message) = nobody.error().await;
    assert_eq!(code, "connect-timeout");
    assert_eq!(message, "no CONNECT within 200 ms (session.connect_timeout_ms)");
}

#[tokio::test(flavor = "multi_thread")]
async fn heart_beats_come_to_who_wants_them_and_are_missed_from_who_promised() {
    let server = Server::with(&[("session.heartbeat_ms", "150"), ("session.heartbeat_grace", "1")]).await;
    let mut idle = Tab::connect(&server, "test1").await;
    let mut tab = Tab::open(&server).await;
    tab.speak(Version::V1_2);
    tab.send("CONNECT\naccept-version:1.2\nAuthorization:test1\nheart-beat:100,100\n\n\0".into())
        .await;
    let connected = tab.frame().await;
    assert_eq!(connected.headers.get("heart-beat"), Some("150,150"));
    assert_eq!(tab.raw().await, "\n");
    assert_eq!(tab.raw().await, "\n", "and again");
    let (code, _) = tab.error().await;
    assert_eq!(code, "heartbeat-missed", "it promised and never beat");
    idle.is_quiet().await;
}
