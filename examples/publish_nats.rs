//! A producer on NATS, both ways: a request, whose reply is the receipt, and a plain JetStream publish, whose PubAck is the receipt.
//!
//! ```text
//! cargo run --example publish_nats -- nats://127.0.0.1:4222 alice 'Hello'
//! ```
//!
//! The first needs nodes with `ingest.nats = true`, the second `queue.adapter = "jetstream"`.

use std::error::Error;
use std::time::Duration;

use async_nats::{Client, HeaderMap, jetstream};
use serde_json::json;

/// `nats.prefix` of the nodes.
const PREFIX: &str = "notify";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, receiver, text] = &arguments[..] else {
        return Err("say a NATS server, a receiver and a text".into());
    };
    let client = async_nats::connect(url).await?;
    // Names of one's own, such as an order's number, let a retry be known as one.
    let run = client.new_inbox().replace('.', "-");
    request(&client, receiver, text, &format!("request{run}")).await?;
    publish(&client, receiver, text, &format!("publish{run}")).await?;
    client.drain().await?;
    Ok(())
}

/// The door checks the notification while the producer waits, and says what is wrong with it.
async fn request(client: &Client, receiver: &str, text: &str, key: &str) -> Result<(), Box<dyn Error>> {
    let draft = json!({"receiver": receiver, "data": text}).to_string();
    let mut headers = HeaderMap::new();
    headers.insert("Idempotency-Key", key);
    let mut tries = 3;
    let reply = loop {
        tries -= 1;
        let sent = client.request_with_headers(format!("{PREFIX}.publish"), headers.clone(), draft.clone().into());
        match sent.await {
            // 503 says that nothing is wrong with it, only not now; no reply at all, that a node may have taken it before it died.
            Ok(reply) if code(&reply).as_deref() == Some("503") && tries > 0 => {}
            Err(_) if tries > 0 => {}
            reply => break reply?,
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let body = std::str::from_utf8(&reply.payload)?;
    match code(&reply) {
        None => println!("receipt {body}"),
        Some(code) => return Err(format!("{code}: {body}").into()),
    }
    Ok(())
}

fn code(reply: &async_nats::Message) -> Option<String> {
    let code = reply.headers.as_ref()?.get("Nats-Service-Error-Code")?;
    Some(code.to_string())
}

/// Straight into the stream, also while every node is away. What turns out to be wrong becomes a dead letter, and nobody tells the producer.
async fn publish(client: &Client, receiver: &str, text: &str, id: &str) -> Result<(), Box<dyn Error>> {
    // The body is for the very receiver that the subject names.
    let subject = format!("{PREFIX}.in.user.{}", token(receiver));
    let draft = json!({"receiver": receiver, "data": text, "id": id}).to_string();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", id);
    let context = jetstream::new(client.clone());
    let ack = context
        .publish_with_headers(subject, headers, draft.into())
        .await?
        .await?;
    println!("stored in {} as {}, {id}", ack.stream, ack.sequence);
    Ok(())
}

/// Letters, digits, `-` and `_` stand for themselves, every other octet is `=` and two hex digits: `a.b` is `a=2Eb`.
fn token(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("={other:02X}"),
        })
        .collect()
}
