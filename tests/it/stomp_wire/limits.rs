//! What is always refused, by an ERROR that names the limit, and with the server's memory bounded whatever the client goes on to send.

use bytes::Bytes;
use quick_notify::stomp::ServerCommand;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::{Server, Tab};

const MIB: usize = 1024 * 1024;

/// The most that the server ever held, in octets.
fn peak(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("the server runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib: usize = line
        .split_whitespace()
        .nth(1)
        .expect("a number")
        .parse()
        .expect("a number");
    kib * 1024
}

/// Sends all of it, whatever the server says to that meanwhile; answers with the ERROR that it said.
async fn refused<I>(server: &Server, messages: I) -> (String, String)
where
    I: IntoIterator<Item = Message, IntoIter: Send + 'static>,
{
    let before = peak(server);
    let tab = Tab::connect(server, "test1").await;
    let frame = tab
        .pour(messages.into_iter())
        .await
        .pop()
        .expect("a word before the end");
    assert_eq!(frame.command, ServerCommand::Error, "{frame:?}");
    is_well(server, before).await;
    let header = |name| frame.headers.get(name).unwrap_or_default().to_owned();
    (header("code"), header("message"))
}

async fn is_well(server: &Server, before: usize) {
    let grown = peak(server).saturating_sub(before);
    assert!(grown < 12 * MIB, "the server grew by {grown} octets");
    let mut next = Tab::connect(server, "test1").await;
    next.is_quiet().await;
    next.leave().await;
}

fn text(text: &str) -> Message {
    Message::Text(text.into())
}

/// The octets in messages of 64 KiB.
fn parts(octet: u8, octets: usize) -> impl Iterator<Item = Message> + Send {
    const PART: usize = 64 * 1024;
    let part = Bytes::from(vec![octet; PART]);
    (0..octets / PART).map(move |_| Message::Binary(part.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_8_mib() {
    let server = Server::start().await;
    let line = refused(&server, [text("SEND\nx:")].into_iter().chain(parts(b'x', 8 * MIB))).await;
    let expected = "header line 1 is over the limit of 16384 octets (session.max_header_line)";
    assert_eq!(line, ("limit-exceeded".into(), expected.into()));
    let command = refused(&server, parts(b'S', 8 * MIB)).await;
    assert_eq!(command.0, "malformed-frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_headers() {
    let server = Server::start().await;
    let many = refused(&server, [text(&format!("SEND\n{}\n\0", "a:b\n".repeat(100_000)))]).await;
    let expected = "the frame has more than the limit of 64 headers (session.max_headers)";
    assert_eq!(many, ("limit-exceeded".into(), expected.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_32_mib() {
    let server = Server::start().await;
    let head = text("SEND\ndestination:/topic/x\n\n");
    let body = refused(&server, [head].into_iter().chain(parts(b'x', 32 * MIB))).await;
    let expected = "the body is over the limit of 65536 octets (session.max_body)";
    assert_eq!(body, ("limit-exceeded".into(), expected.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_to_be_of_2_gb() {
    let server = Server::start().await;
    let said = refused(
        &server,
        [text("SEND\ndestination:/topic/x\ncontent-length:2000000000\n\n")],
    )
    .await;
    let expected = "content-length 2000000000 is over the limit of 65536 octets for a body (session.max_body)";
    assert_eq!(said, ("limit-exceeded".into(), expected.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_32_mib_whole_and_in_fragments() {
    let server = Server::start().await;
    over_one_message(&server, [Message::Binary(vec![b'\n'; 32 * MIB].into())]).await;
    let fragment = |n: usize| {
        let opcode = if n == 0 { Data::Binary } else { Data::Continue };
        let payload = Bytes::from(vec![b'\n'; 64 * 1024]);
        Message::Frame(Frame::message(payload, OpCode::Data(opcode), n == 511))
    };
    over_one_message(&server, (0..512).map(fragment)).await;
}

/// The same for a single message, which is refused before it is read: the ERROR comes all the same, for the rest of it is read and dropped.
async fn over_one_message<I>(server: &Server, messages: I)
where
    I: IntoIterator<Item = Message, IntoIter: Send + 'static>,
{
    let before = peak(server);
    let tab = Tab::connect(server, "test1").await;
    let errors = tab.pour(messages.into_iter()).await;
    assert_eq!(errors.len(), 1, "{errors:?}");
    let header = |name| errors[0].headers.get(name).unwrap_or_default();
    assert_eq!(header("code"), "limit-exceeded");
    assert!(header("message").contains("edge.max_message"), "{}", header("message"));
    is_well(server, before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_64_mib() {
    let server = Server::start().await;
    let send = format!("SEND\ntransaction:t\ndestination:/topic/x\n\n{}\0", "x".repeat(60_000));
    let frames = (0..64 * MIB / 60_000).map(move |_| text(&send));
    let (code, message) = refused(&server, [text("BEGIN\ntransaction:t\n\n\0")].into_iter().chain(frames)).await;
    assert_eq!(code, "limit-exceeded");
    assert_eq!(
        message,
        "transaction t: more than 1048576 (session.max_transaction_bytes)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tiny_frames_that_each_came_with_a_large_one() {
    let server = Server::start().await;
    let tiny = "SEND\ntransaction:t\ndestination:/topic/x\n\nx\0";
    let large = format!("SEND\ndestination:/topic/nobody\n\n{}\0", "x".repeat(60_000));
    let frames = (0..300).map(move |_| text(&format!("{tiny}{large}{large}")));
    let (code, message) = refused(&server, [text("BEGIN\ntransaction:t\n\n\0")].into_iter().chain(frames)).await;
    assert_eq!(code, "limit-exceeded");
    assert!(message.contains("session.max_transaction_frames"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_subscriptions_and_transactions() {
    let server = Server::start().await;
    let subscribe = |n| text(&format!("SUBSCRIBE\nid:{n}\ndestination:/topic/x\n\n\0"));
    let (code, message) = refused(&server, (0..65).map(subscribe)).await;
    assert_eq!(
        (&*code, &*message),
        (
            "limit-exceeded",
            "SUBSCRIBE: more than 64 subscriptions (session.max_subscriptions)"
        )
    );
    let begin = |n| text(&format!("BEGIN\ntransaction:{n}\n\n\0"));
    let (code, message) = refused(&server, (0..9).map(begin)).await;
    assert_eq!(
        (&*code, &*message),
        (
            "limit-exceeded",
            "transaction 8: more than 8 (session.max_transactions)"
        )
    );
}
