//! Frames, however they are cut and glued and in whatever kind of WebSocket message they come.

use bytes::Bytes;
use quick_notify::stomp::{Command, Version};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Server, Tab};

/// Two tabs: one that writes, and one that hears `/topic/x`.
async fn pair(server: &Server, version: Version) -> (Tab, Tab) {
    let mut reader = Tab::connect_in(server, version, "test2").await;
    reader.subscribe("x", "/topic/x").await;
    (Tab::connect_in(server, version, "test1").await, reader)
}

fn send(body: &str) -> String {
    format!("SEND\ndestination:/topic/x\n\n{body}\0")
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_messages_are_as_good_as_text() {
    let server = Server::start().await;
    let (mut writer, mut reader) = pair(&server, Version::V1_2).await;
    writer.send_raw(Message::Binary(send("as octets").into())).await;
    writer.send_raw(Message::Text(send("as text").into())).await;
    let texts = reader.deliveries(2).await.into_iter().map(|delivery| delivery.text);
    assert_eq!(texts.collect::<Vec<_>>(), ["as octets", "as text"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_may_come_in_many_messages_and_many_in_one() {
    let server = Server::start().await;
    let (mut writer, mut reader) = pair(&server, Version::V1_2).await;
    for octet in send("one octet a message").bytes() {
        writer.send_raw(Message::Binary(vec![octet].into())).await;
    }
    assert_eq!(reader.delivery().await.text, "one octet a message");
    let many: String = (0..500).map(|n| send(&n.to_string()) + "\n\r\n").collect();
    writer.send(many.clone().into()).await;
    let texts: Vec<_> = reader
        .deliveries(500)
        .await
        .into_iter()
        .map(|delivery| delivery.text)
        .collect();
    assert_eq!(texts, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    // Cut so that no message begins or ends where a frame does.
    for part in many.as_bytes().chunks(777) {
        writer.send_raw(Message::Binary(Bytes::copy_from_slice(part))).await;
    }
    assert_eq!(
        reader.deliveries(500).await.last().map(|delivery| &*delivery.text),
        Some("499")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_may_end_with_crlf_in_every_version() {
    let server = Server::start().await;
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let (mut writer, mut reader) = pair(&server, version).await;
        let frame = "\r\n\r\nSEND\r\ndestination:/topic/x\r\ncontent-type:text/x\r\nreceipt:r\r\n\r\na\r\nb\0\r\n";
        writer.send(frame.into()).await;
        writer.receipt("r").await;
        let delivery = reader.delivery().await;
        assert_eq!(
            (&*delivery.text, delivery.frame.headers.get("content-type")),
            ("a\r\nb", Some("text/x"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counted_body_may_hold_anything() {
    let server = Server::start().await;
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let (mut writer, mut reader) = pair(&server, version).await;
        let body = [0, b'a', 0, 0, 0xff, 0xfe, b'\n', 0];
        let mut frame = b"SEND\ndestination:/topic/x\ncontent-length:8\n\n".to_vec();
        frame.extend(body);
        frame.push(0);
        frame.extend(send("behind").bytes());
        writer.send_raw(Message::Binary(frame.into())).await;
        let delivery = reader.delivery().await;
        assert_eq!(&*delivery.frame.body, body);
        assert_eq!(delivery.frame.headers.get("content-length"), Some("8"));
        assert_eq!(reader.delivery().await.text, "behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_are_escaped_as_the_version_says() {
    let server = Server::start().await;
    for (version, written, meant) in [
        (Version::V1_0, "a\\c\\n:b", "a\\c\\n:b"),
        (Version::V1_1, "a\\c\\\\\\n:b", "a:\\\n:b"),
        (Version::V1_2, "a\\c\\\\\\n\\r:b", "a:\\\n\r:b"),
    ] {
        let mut tab = Tab::connect_in(&server, version, "test1").await;
        tab.send(format!("SUBSCRIBE\nid:{written}\ndestination:/topic/x\nreceipt:{written}\n\n\0").into())
            .await;
        tab.receipt(meant).await;
        tab.send_to("/topic/x", "hello").await;
        assert_eq!(
            tab.delivery().await.frame.headers.get("subscription"),
            Some(meant),
            "{version}"
        );
    }
    for (version, undefined) in [(Version::V1_1, "\\r"), (Version::V1_1, "\\t"), (Version::V1_2, "\\t")] {
        let mut tab = Tab::connect_in(&server, version, "test1").await;
        tab.send(format!("SEND\ndestination:/topic/{undefined}\n\n\0").into())
            .await;
        assert_eq!(tab.error().await.0, "malformed-frame", "{version} {undefined}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_repeated_headers_counts() {
    let server = Server::start().await;
    let (mut writer, mut reader) = pair(&server, Version::V1_2).await;
    let frame = "SEND\ndestination:/topic/x\ndestination:/topic/other\nreceipt:first\nreceipt:second\n\nhello\0";
    writer.send(frame.into()).await;
    writer.receipt("first").await;
    assert_eq!(reader.delivery().await.text, "hello");
    writer.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_are_refused_with_their_receipt_and_nothing_behind_them_is_done() {
    let server = Server::start().await;
    for bad in [
        "HELLO\nreceipt:r1\n\n\0",
        "send\nreceipt:r1\n\n\0",
        "SEND\nreceipt:r1\nno colon\n\n\0",
        "SEND\nreceipt:r1\ncontent-length:one\n\n\0",
        "SEND\nreceipt:r1\ncontent-length:1\n\nab\0",
        "SUBSCRIBE\nreceipt:r1\nid:1\ndestination:/topic/x\n\nbody\0",
        "SEND\nreceipt:r1\n\n\0",
    ] {
        let (mut writer, mut reader) = pair(&server, Version::V1_2).await;
        writer.send((bad.to_owned() + &send("behind")).into()).await;
        let error = writer.frame().await;
        assert_eq!(error.headers.get("code"), Some("malformed-frame"), "{bad:?}");
        let receipt = if bad.starts_with("HELLO") || bad.starts_with("send") {
            None
        } else {
            Some("r1")
        };
        assert_eq!(error.headers.get("receipt-id"), receipt, "{bad:?}");
        assert!(error.headers.get("message").is_some_and(|message| !message.is_empty()));
        writer.closed().await;
        assert_eq!(writer.close, Some((1002, "malformed-frame".into())));
        reader.is_quiet().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_always_accepted_is_accepted() {
    let server = Server::start().await;
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let (mut writer, mut reader) = pair(&server, version).await;
        let body = "b".repeat(32 * 1024);
        let frame = writer.write(Command::Send).header("destination", "/topic/x");
        let frame = (0..38).fold(frame, |frame, n| frame.header(&format!("x-{n}"), &"v".repeat(1_000)));
        writer.send(frame.header("receipt", "r").body(body.as_bytes())).await;
        writer.receipt("r").await;
        assert_eq!(reader.delivery().await.text.len(), body.len());
    }
}
