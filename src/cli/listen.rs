//! `listen`: a terminal as a user's device.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::{Client, Refused};
use super::{block_on, sentence};
use crate::lifecycle::Backoff;
use crate::session::PERSONAL_QUEUE;
use crate::stomp::{Command, Frame, FrameWriter, ServerCommand, Version};

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// The user's token; in dev mode `test1` will do. Better in QN_TOKEN, where `ps` doesn't show it.
    #[arg(long, env = "QN_TOKEN", hide_env_values = true)]
    token: String,
    /// The server's STOMP endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:2025/stomp-ws", value_parser = endpoint)]
    url: String,
    /// Only print; the notifications stay unconfirmed.
    #[arg(long)]
    no_confirm: bool,
    /// End after so many notifications.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

fn endpoint(url: &str) -> Result<String, String> {
    if url.starts_with("ws://") {
        return Ok(url.to_owned());
    }
    Err("say ws://HOST:PORT/stomp-ws; TLS is for a proxy in front of the server".into())
}

pub fn listen(args: &ListenArgs) -> anyhow::Result<()> {
    block_on(async {
        tokio::select! {
            done = keep_listening(args) => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    })
}

/// Listens, and comes back when the connection breaks. What the server refuses is final.
async fn keep_listening(args: &ListenArgs) -> anyhow::Result<()> {
    let mut seen = Seen::default();
    let mut client = Client::connect(&args.url, &args.token).await?;
    loop {
        eprintln!("Listening as {}; Ctrl-C ends.", client.user);
        if session(client, args, &mut seen).await? {
            return Ok(());
        }
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        client = loop {
            let delay = backoff.delay();
            eprintln!("The connection is gone; trying again in {} ms.", delay.as_millis());
            tokio::time::sleep(delay).await;
            match Client::connect(&args.url, &args.token).await {
                Ok(client) => break client,
                Err(error) if error.downcast_ref().is_some_and(Refused::is_final) => return Err(error),
                Err(error) => eprintln!("{}", sentence(&error)),
            }
        };
    }
}

#[derive(Default)]
struct Seen {
    last_seq: Option<u64>,
    count: u64,
}

impl Seen {
    /// Notes a MESSAGE; says whether it is the replay of one that was seen.
    fn note(&mut self, frame: &Frame<ServerCommand>) -> bool {
        let seq = frame.headers.get("seq").and_then(|seq| seq.parse().ok());
        let known = frame.headers.get("replayed").is_some() && seq.is_some() && seq <= self.last_seq;
        self.last_seq = self.last_seq.max(seq);
        known
    }
}

/// One session; says whether enough was seen.
async fn session(mut client: Client, args: &ListenArgs, seen: &mut Seen) -> anyhow::Result<bool> {
    let mut subscribe = FrameWriter::new(Version::V1_2, Command::Subscribe)
        .header("id", "terminal")
        .header("destination", PERSONAL_QUEUE)
        .header("ack", "client-individual");
    if let Some(seq) = seen.last_seq {
        subscribe = subscribe.header("last-seq", &seq.to_string());
    }
    client.send(subscribe.end()).await?;
    loop {
        let frame = match client.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(_) => return Ok(false),
        };
        match frame.command {
            ServerCommand::Error => return Err(Refused::from(&frame).into()),
            ServerCommand::Message => {}
            ServerCommand::Connected | ServerCommand::Receipt => continue,
        }
        let header = |name| frame.headers.get(name).unwrap_or("-");
        // What was printed before the connection broke, and whose confirmation went down with it, is only confirmed again.
        let known = seen.note(&frame);
        if !known {
            print(&frame);
        }
        if !args.no_confirm {
            let ack = FrameWriter::new(Version::V1_2, Command::Ack)
                .header("id", header("ack"))
                .end();
            client.send(ack).await?;
        }
        seen.count += u64::from(!known);
        if args.count.is_some_and(|count| seen.count >= count) {
            let bye = FrameWriter::new(Version::V1_2, Command::Disconnect)
                .header("receipt", "bye")
                .end();
            client.send(bye).await?;
            while let Ok(Some(_)) = client.next().await {}
            return Ok(true);
        }
    }
}

fn print(frame: &Frame<ServerCommand>) {
    let header = |name| frame.headers.get(name).unwrap_or("-");
    let body: Value = serde_json::from_slice(&frame.body).unwrap_or_default();
    let replayed = frame.headers.get("replayed").map_or("", |_| " replayed");
    println!(
        "seq {} attempt {}{replayed} {} {} {}",
        header("seq"),
        header("attempt"),
        header("message-id"),
        body["type"].as_str().unwrap_or("-"),
        body["data"]
    );
}
