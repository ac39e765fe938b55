//! From one tab to others, and from the server to all.

use quick_notify::stomp::Command;
use serde_json::json;

use crate::harness::{Server, Tab};

#[tokio::test(flavor = "multi_thread")]
async fn tabs_talk_over_topics() {
    let server = Server::start().await;
    let mut bob = Tab::connect(&server, "test2").await;
    bob.subscribe("t", "/topic/room.1").await;
    let mut eve = Tab::connect(&server, "test3").await;
    eve.subscribe("t", "/topic/room.2").await;
    let mut alice = Tab::connect(&server, "test1").await;
    alice.subscribe("mine", "/topic/room.1").await;
    let frame = alice
        .write(Command::Send)
        .header("destination", "/topic/room.1")
        .header("content-type", "application/x")
        .body(b"hello");
    alice.send(frame).await;
    let heard = bob.delivery().await;
    assert_eq!((&*heard.text, &*heard.destination), ("hello", "/topic/room.1"));
    assert_eq!(heard.frame.headers.get("content-type"), Some("application/x"));
    assert_eq!(heard.frame.headers.get("subscription"), Some("t"));
    let own = alice.delivery().await;
    assert_eq!(
        (own.id, own.frame.headers.get("subscription")),
        (heard.id, Some("mine")),
        "the sender hears it, too"
    );
    eve.is_quiet().await;
    bob.send("UNSUBSCRIBE\nid:t\n\n\0".into()).await;
    bob.is_quiet().await;
    alice.send_to("/topic/room.1", "again").await;
    alice.delivery().await;
    bob.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_message_to_a_topic_and_a_broadcast_are_heard_by_who_listens() {
    let server = Server::start().await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    alice.subscribe("t", "/topic/news").await;
    let mut bob = Tab::listen(&server, "test2", None).await;
    let mut outside = Tab::connect(&server, "test3").await;
    server.publish(json!({"topic": "news", "data": "to a topic"})).await;
    let heard = alice.delivery().await;
    assert_eq!(
        (heard.data(), heard.destination, heard.seq),
        ("to a topic".into(), "/topic/news".into(), None)
    );
    bob.is_quiet().await;
    server.publish(json!({"everyone": true, "data": "to all"})).await;
    for tab in [&mut alice, &mut bob] {
        let heard = tab.delivery().await;
        assert_eq!(
            (heard.data(), &*heard.destination),
            ("to all".into(), "/user/queue/msg")
        );
        assert_eq!(heard.body()["receiver"], "*");
    }
    outside.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_page_echoes_to_everyone() {
    let server = Server::start().await;
    let mut alice = Tab::connect(&server, "test1").await;
    alice.subscribe("t", "/topic/messages").await;
    alice.send_to("/app/sendMessage", "hi \"there\"").await;
    assert_eq!(alice.delivery().await.body(), json!({"payload": "hi \"there\""}));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_peoples_queues_are_neither_read_nor_written() {
    let server = Server::start().await;
    let mut bob = Tab::listen(&server, "test2", None).await;
    for frame in [
        "SUBSCRIBE\nid:1\ndestination:/user/test2/queue/msg\nreceipt:r\n\n\0",
        "SUBSCRIBE\nid:1\ndestination:/queue/**\nreceipt:r\n\n\0",
        "SUBSCRIBE\nid:1\ndestination:/user/**\nreceipt:r\n\n\0",
        "SEND\ndestination:/user/test2/queue/msg\nreceipt:r\n\nforged\0",
        "SEND\ndestination:/user/queue/msg\nreceipt:r\n\nforged\0",
        "SEND\ndestination:/queue/msg\nreceipt:r\n\nforged\0",
    ] {
        let mut eve = Tab::connect(&server, "test1").await;
        eve.send(frame.into()).await;
        let error = eve.frame().await;
        assert_eq!(
            (error.headers.get("code"), error.headers.get("receipt-id")),
            (Some("forbidden-destination"), Some("r")),
            "{frame}"
        );
        eve.closed().await;
    }
    bob.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_users_cannot_be_confirmed() {
    let server = Server::start().await;
    let id = server.notify("test1", "for test1").await;
    let mut eve = Tab::connect(&server, "test2").await;
    let frame = eve
        .write(Command::Send)
        .header("destination", "/app/ack")
        .header("receipt", "r")
        .body(id.as_bytes());
    eve.send(frame).await;
    eve.receipt("r").await;
    let ack = eve.write(Command::Ack).header("id", &id).header("receipt", "r").end();
    eve.send(ack).await;
    let error = eve.frame().await;
    assert_eq!(
        (error.headers.get("code"), error.headers.get("receipt-id")),
        (Some("unknown-message"), Some("r"))
    );
    eve.closed().await;
    let mut alice = Tab::listen(&server, "test1", None).await;
    assert_eq!(alice.delivery().await.id, id, "it is still hers to confirm");
}
