//! Every frame may ask for a receipt; the last one is answered before the close.

use std::time::Instant;

use quick_notify::stomp::{Command, Version};
use tokio::io::AsyncReadExt;

use crate::harness::{Server, Tab, within};

#[tokio::test(flavor = "multi_thread")]
async fn each_frame_is_answered_in_order() {
    let server = Server::start().await;
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let mut tab = Tab::connect_in(&server, version, "test1").await;
        tab.subscribe("inbox", "/user/queue/msg").await;
        let id = server.notify("test1", "hello").await;
        assert_eq!(tab.delivery().await.id, id);
        let ack = match version {
            Version::V1_2 => format!("id:{id}"),
            _ => format!("subscription:inbox\nmessage-id:{id}"),
        };
        let frames = [
            "SUBSCRIBE\nid:t\ndestination:/topic/nobody".to_owned(),
            "SEND\ndestination:/topic/somebody".to_owned(),
            "BEGIN\ntransaction:a".to_owned(),
            "SEND\ntransaction:a\ndestination:/topic/somebody".to_owned(),
            "COMMIT\ntransaction:a".to_owned(),
            "BEGIN\ntransaction:a".to_owned(),
            "ABORT\ntransaction:a".to_owned(),
            format!("NACK\n{ack}"),
            format!("ACK\n{ack}"),
            "UNSUBSCRIBE\nid:t".to_owned(),
            "DISCONNECT".to_owned(),
        ];
        for (n, frame) in frames.iter().enumerate() {
            tab.send(format!("{frame}\nreceipt:r{n}\n\n\0").into()).await;
            tab.receipt(&format!("r{n}")).await;
        }
        tab.closed().await;
        assert_eq!(tab.close, Some((1000, "bye".into())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_in_one_message_are_answered_too() {
    let server = Server::start().await;
    let mut tab = Tab::connect(&server, "test1").await;
    let frames: String = (0..5_000)
        .map(|n| format!("SEND\ndestination:/app/ack\nreceipt:{n}\n\nntf_x\0"))
        .collect();
    tab.send((frames + "DISCONNECT\nreceipt:bye\n\n\0").into()).await;
    for n in 0..5_000 {
        tab.receipt(&n.to_string()).await;
    }
    tab.receipt("bye").await;
    tab.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_means_stored_and_an_ack_before_disconnect_counts() {
    let mut server = Server::start().await;
    let first = server.notify("test1", "first").await;
    let second = server.notify("test1", "second").await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.deliveries(2).await;
    tab.ack(&first).await;
    let ack = tab.write(Command::Ack).header("id", &second).end();
    tab.send(ack).await;
    tab.send("DISCONNECT\nreceipt:bye\n\n\0".into()).await;
    tab.receipt("bye").await;
    server.kill9().await;
    server.restart().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_disconnect_the_client_is_closed_within_ten_seconds_even_if_it_never_answers() {
    let server = Server::start().await;
    let mut tab = Tab::connect(&server, "test1").await;
    let begin = Instant::now();
    tab.send("DISCONNECT\n\n\0".into()).await;
    // Read below the WebSocket: nobody answers the close frame.
    let rest = within("the end of the stream", async {
        let mut rest = Vec::new();
        tab.transport().read_to_end(&mut rest).await.map(|_| rest)
    });
    let rest = rest.await.expect("closed in order");
    assert!(
        rest.windows(3).any(|window| window == b"bye"),
        "{}",
        rest.escape_ascii()
    );
    assert!(begin.elapsed().as_secs() < 10);
}
