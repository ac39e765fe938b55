//! `listen`: a terminal as a user's device.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::block_on;
use super::client::{Client, refusal};
use crate::lifecycle::Backoff;
use crate::session::PERSONAL_QUEUE;
use crate::stomp::{Command, FrameWriter, ServerCommand, Version};

#[derive(Debug, Args)]
pub struct ListenArgs {
    /// The user's token; in dev mode `test1` will do. Better in QN_TOKEN, where `ps` doesn't show it.
    #[arg(long, env = "QN_TOKEN", hide_env_values = true)]
    token: String,
    /// The server's STOMP endpoint.
    #[arg(long, default_value = "ws://127.0.0.1:2025/stomp-ws")]
    url: String,
    /// Only print; the notifications stay unconfirmed.
    #[arg(long)]
    no_confirm: bool,
    /// End after so many notifications.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
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
                Err(error) => eprintln!("{error:#}"),
            }
        };
    }
}

#[derive(Default)]
struct Seen {
    last_seq: Option<u64>,
    count: u64,
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
            ServerCommand::Error => bail!("{}", refusal(&frame)),
            ServerCommand::Message => {}
            ServerCommand::Connected | ServerCommand::Receipt => continue,
        }
        let header = |name| frame.headers.get(name).unwrap_or("-");
        let body: Value = serde_json::from_slice(&frame.body).unwrap_or_default();
        let kind = body["type"].as_str().unwrap_or("-");
        let replayed = if frame.headers.get("replayed").is_some() {
            " replayed"
        } else {
            ""
        };
        println!(
            "seq {} attempt {}{replayed} {} {kind} {}",
            header("seq"),
            header("attempt"),
            header("message-id"),
            body["data"]
        );
        if let Ok(seq) = header("seq").parse() {
            seen.last_seq = seen.last_seq.max(Some(seq));
        }
        if !args.no_confirm {
            let ack = FrameWriter::new(Version::V1_2, Command::Ack)
                .header("id", header("ack"))
                .end();
            client.send(ack).await?;
        }
        seen.count += 1;
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
