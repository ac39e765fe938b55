//! Frames that end a session: an ERROR that says why, with the receipt-id where one was asked for, then the close.

use quick_notify::stomp::Command;

use crate::harness::{Server, Tab};

#[tokio::test]
async fn a_frame_before_connect() {
    let server = Server::start().await;
    for (command, message) in [
        (Command::Subscribe, "SUBSCRIBE before CONNECT"),
        (Command::Send, "SEND before CONNECT"),
        (Command::Disconnect, "DISCONNECT before CONNECT"),
    ] {
        let mut tab = Tab::open(&server).await;
        let frame = tab
            .write(command)
            .header("destination", "/topic/a")
            .header("id", "1")
            .header("receipt", "r");
        tab.send(frame.end()).await;
        refused(&mut tab, "not-connected", message).await;
    }
}

#[tokio::test]
async fn a_second_connect() {
    let server = Server::start().await;
    let mut tab = Tab::connect(&server, "test1").await;
    let frame = tab
        .write(Command::Connect)
        .header("accept-version", "1.2")
        .header("receipt", "r")
        .header("Authorization", "test2");
    tab.send(frame.end()).await;
    refused(&mut tab, "already-connected", "a second CONNECT on one session").await;
}

#[tokio::test]
async fn an_unknown_destination() {
    let server = Server::start().await;
    let known = "served: /user/queue/msg, /topic/..., /queue/..., /app/ack, /app/token, /app/sendMessage, \
                 /app/x/NAME, /user/queue/x/NAME";
    for (command, destination, message) in [
        (
            Command::Subscribe,
            "/nowhere",
            format!("SUBSCRIBE to /nowhere: there is no such destination; {known}"),
        ),
        (
            Command::Send,
            "/app/nowhere",
            format!("SEND to /app/nowhere: there is no such destination; {known}"),
        ),
        (
            Command::Send,
            "nowhere",
            format!("SEND to nowhere: there is no such destination; {known}"),
        ),
    ] {
        let mut tab = Tab::connect(&server, "test1").await;
        let frame = tab
            .write(command)
            .header("destination", destination)
            .header("id", "1")
            .header("receipt", "r");
        tab.send(frame.end()).await;
        refused(&mut tab, "unknown-destination", &message).await;
    }
}

async fn refused(tab: &mut Tab, code: &str, message: &str) {
    let frame = tab.frame().await;
    assert_eq!(frame.command, quick_notify::stomp::ServerCommand::Error);
    let header = |name| frame.headers.get(name);
    assert_eq!((header("code"), header("message")), (Some(code), Some(message)));
    assert_eq!(header("receipt-id"), Some("r"));
    tab.closed().await;
}
