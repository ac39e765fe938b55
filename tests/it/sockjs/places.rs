//! What a session holds of the node: a place of its own, and none among the HTTP connections while its response is open.

use super::client::{Client, Via};
use super::*;
use crate::harness::{Tab, eventually};

#[tokio::test]
async fn responses_of_sessions_take_no_place_of_http() {
    let server = Server::with(&[("http.max_connections", "2")]).await;
    let mut lives = Vec::new();
    for number in 0..5 {
        let session = fresh(ECHO);
        let mut live = match number % 2 {
            0 => stream(&server, &format!("{session}/eventsource")).await,
            _ => Live::open(server.address(), "POST", &format!("{session}/xhr_streaming"), &[], "").await,
        };
        live.until("o").await.expect("the open frame");
        lives.push(live);
    }
    let mut next = Live::connect(server.address()).await;
    assert_eq!(next.again("GET", "/echo", &[], "").await, "Welcome to SockJS!\n");
}

/// A poll gives its place up while it waits; where none is left for the connection at its end, it closes. The door itself holds one for who comes.
#[tokio::test]
async fn a_response_that_ends_where_no_place_is_left_closes_its_connection() {
    for (places, stays) in [("3", true), ("2", false)] {
        let server = Server::with(&[("http.max_connections", places)]).await;
        let session = fresh(ECHO);
        let (xhr, send) = (format!("{session}/xhr"), format!("{session}/xhr_send"));
        let mut live = Live::connect(server.address()).await;
        assert_eq!(live.again("POST", &xhr, &[], "").await, "o\n");
        live.ask("POST", &xhr, &[], "").await;
        let mut other = Live::connect(server.address()).await;
        other.again("POST", &send, &[], r#"["x"]"#).await;
        assert_eq!(other.status, 204);
        live.head().await;
        assert_eq!(live.rest().await, "a[\"x\"]\n");
        match stays {
            true => assert_eq!(live.again("GET", "/echo", &[], "").await, "Welcome to SockJS!\n"),
            false => {
                assert_eq!(live.header("connection"), "close");
                live.is_closed().await;
            }
        }
        assert_eq!(other.again("GET", "/echo", &[], "").await, "Welcome to SockJS!\n");
    }
}

#[tokio::test]
async fn sessions_are_bounded_over_any_transport() {
    let server = Server::with(&[
        ("edge.max_connections", "2"),
        ("edge.sockjs.disconnect_delay_ms", "300"),
    ])
    .await;
    let mut tab = Tab::connect(&server, "test1").await;
    let stays = Client::connect(&server, Via::Events, "test1").await;
    for transport in ["xhr", "xhr_streaming"] {
        let answer = server.post(&format!("{}/{transport}", fresh(ENDPOINT)), &[], "").await;
        assert_eq!(answer.status, 503);
        assert!(answer.text.contains("edge.max_connections"), "{}", answer.text);
    }
    assert_eq!(
        server.get(&format!("{}/jsonp?c=x", fresh(ENDPOINT)), &[]).await.status,
        503
    );
    drop(stays);
    let next = fresh(ENDPOINT);
    eventually("a place", || async {
        server.post(&format!("{next}/xhr"), &[], "").await.status == 200
    })
    .await;
    tab.is_quiet().await;
}

/// Each name that nobody knows opens a session: as many as there are places, for as long as one may take to say who it is.
#[tokio::test]
async fn a_flood_of_names_takes_no_more_than_the_places() {
    let settings = [
        ("edge.max_connections", "20"),
        ("edge.close_timeout_ms", "1"),
        ("session.connect_timeout_ms", "1000"),
    ];
    let server = Server::with(&settings).await;
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..200 {
        match server.post(&format!("{}/xhr", fresh(ENDPOINT)), &[], "").await.status {
            200 => opened += 1,
            503 => refused += 1,
            status => panic!("{status}"),
        }
    }
    assert!(opened >= 20 && refused >= 20, "{opened} opened, {refused} refused");
    eventually("free places", || async {
        server.metric("quick_notify_connections").await == 0.0
            && server.post(&format!("{}/xhr", fresh(ENDPOINT)), &[], "").await.status == 200
    })
    .await;
    Client::connect(&server, Via::Polling, "test1").await.is_quiet().await;
}

/// Whoever has not said who it is counts among few, whatever room there is for those who have.
#[tokio::test]
async fn sessions_that_are_opening_have_a_bound_of_their_own() {
    let server = Server::with(&[("edge.sockjs.max_opening", "3")]).await;
    let mut known = Vec::new();
    for number in 0..5 {
        known.push(Client::connect(&server, Via::Polling, &format!("test{number}")).await);
    }
    let mut opening = Vec::new();
    for _ in 0..3 {
        opening.push(Client::open(&server, Via::Polling).await);
    }
    let asked = [("Origin", "https://shop.example")];
    let answer = server.post(&format!("{}/xhr", fresh(ENDPOINT)), &asked, "").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("edge.sockjs.max_opening"), "{}", answer.text);
    assert_eq!(header(&answer, "retry-after"), "1");
    is_never_kept(&answer);
    is_shared(&answer, Some("https://shop.example"));
    // Other transports and those who are known go on.
    Tab::connect(&server, "test9").await.is_quiet().await;
    known[0].is_quiet().await;
    opening[0].handshake("test7").await;
    Client::connect(&server, Via::Events, "test8").await.is_quiet().await;
}

/// On the way out each hears when to come back, and nobody is waited for.
#[tokio::test]
async fn a_drain_tells_every_session() {
    let mut server = Server::start().await;
    let mut clients = Vec::new();
    for (number, via) in super::client::ALL.into_iter().enumerate() {
        let mut client = Client::listen(&server, via, &format!("test{number}"), None).await;
        client.begin().await;
        clients.push(client);
    }
    let mut away = Client::listen(&server, Via::Polling, "test9", None).await;
    away.let_go();
    are_all_there(&server, &clients).await;
    let begun = std::time::Instant::now();
    server.signal("TERM");
    for client in &mut clients {
        let frame = client.next().await;
        assert!(frame.is_none(), "{frame:?}");
        let (code, reason) = client.close.take().expect("a close frame");
        assert_eq!(code, 1001);
        assert!(reason.starts_with("draining; retry-after="), "{reason}");
    }
    assert_eq!(server.wait().await, Some(0));
    assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
}

/// Each of their responses is open: another one is refused.
async fn are_all_there(server: &Server, clients: &[Client]) {
    for client in clients {
        assert_eq!(
            poll(server, &client.session).await,
            "c[2010,\"Another connection still open\"]\n"
        );
    }
}
