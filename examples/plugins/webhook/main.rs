//! Posts what happened to a URL: signed, tried again until it is taken, and once more from any time on.
//!
//!     WEBHOOK_URL=https://example.org/hook WEBHOOK_SECRET=whsec_… cargo run --example webhook
//!
//! The stream `PREFIX-events` keeps the events, and how far this plugin is with them. It attaches as a NATS service only to be on the roster: it
//! serves no hook.

mod post;
mod signature;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, AckKind, Message};
use async_nats::service::ServiceExt;
use clap::Parser;
use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};

use self::post::Post;

#[derive(Debug, Parser)]
struct Options {
    #[arg(long, env = "NATS_URL", default_value = "nats://127.0.0.1:4222")]
    nats: String,
    #[arg(long, env = "NATS_USER")]
    user: Option<String>,
    #[arg(env = "NATS_PASSWORD", long, hide_env_values = true)]
    password: Option<String>,
    /// `nats.prefix` of the server.
    #[arg(long, env = "NATS_PREFIX", default_value = "notify")]
    prefix: String,
    /// Where events are posted to.
    #[arg(long, env = "WEBHOOK_URL", hide_env_values = true)]
    url: String,
    /// `whsec_` and base64, shared with the receiver.
    #[arg(long, env = "WEBHOOK_SECRET", hide_env_values = true)]
    secret: signature::Secret,
    /// Which events; the server's attach.events.stream.kinds has to keep them.
    #[arg(long, env = "WEBHOOK_EVENTS", default_value = "stored dead")]
    events: String,
    /// How often an event is tried, and the delay after the first try, in milliseconds, which doubles.
    #[arg(long, env = "WEBHOOK_ATTEMPTS", default_value_t = 10)]
    attempts: u32,
    #[arg(long, env = "WEBHOOK_RETRY_MS", default_value_t = 1_000)]
    retry_ms: u64,
    /// Posts that are under way at once.
    #[arg(long, env = "WEBHOOK_AT_ONCE", default_value_t = 8)]
    at_once: usize,
    /// Post everything once more that the stream still has, and end. Beside this, the plugin may run as ever.
    #[arg(long, conflicts_with = "from")]
    from_start: bool,
    /// The same for what came after this time, such as 2026-11-24T08:00:00Z.
    #[arg(long, value_parser = moment)]
    from: Option<time::OffsetDateTime>,
}

const REPLAY: &str = "webhook-replay";
const LONGEST_DELAY: Duration = Duration::from_secs(600);
const POST_TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Arc::new(Options::parse());
    // An inbox of its own: nobody else's answers can be heard there, and the account needs no other.
    let mut connect = async_nats::ConnectOptions::new()
        .name("webhook")
        .custom_inbox_prefix("_INBOX_webhook");
    if let (Some(user), Some(password)) = (&options.user, &options.password) {
        connect = connect.user_and_password(user.clone(), password.clone());
    }
    let client = connect.connect(&options.nats).await.context("NATS")?;
    let metadata = [("quick-notify", "1"), ("events", &options.events)];
    let metadata: HashMap<_, _> = metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let replays = options.from_start || options.from.is_some();
    let service = match replays {
        true => None,
        false => Some(
            client
                .service_builder()
                .metadata(metadata)
                .start("webhook", "1.0.0")
                .await,
        ),
    };
    let _service = service.transpose().map_err(|error| anyhow::anyhow!("{error}"))?;
    let consumer = consumer(&jetstream::new(client.clone()), &options).await?;

    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = caught_up(consumer.clone()), if replays => {}
        }
    };
    println!("attached");
    let post = Post::to(&options.url, POST_TIMEOUT)?;
    // What was taken is brought to its end; what was not stays in the stream.
    let events = consumer
        .stream()
        .max_messages_per_batch(options.at_once)
        .messages()
        .await?;
    events
        .take_until(stop)
        .for_each_concurrent(options.at_once, async |message| match message {
            Ok(message) => handle(&message, &options, &post).await,
            Err(error) => eprintln!("{error}"),
        })
        .await;
    client.drain().await?;
    Ok(())
}

/// Where it stands in the stream: the durable of all instances, or one for a replay.
async fn consumer(jetstream: &jetstream::Context, options: &Options) -> anyhow::Result<PullConsumer> {
    let name = format!("{}-events", options.prefix);
    let stream = jetstream.get_stream_no_info(&name).await?;
    let replays = options.from_start || options.from.is_some();
    if !replays && let Ok(known) = stream.get_consumer("webhook").await {
        return Ok(known);
    }
    let kinds = options.events.split_whitespace();
    let mut config = pull::Config {
        durable_name: Some("webhook".into()),
        deliver_policy: DeliverPolicy::New,
        ack_policy: AckPolicy::Explicit,
        ack_wait: POST_TIMEOUT * 3,
        max_ack_pending: 1_000,
        filter_subjects: kinds.map(|kind| format!("{}.event.{kind}.>", options.prefix)).collect(),
        ..pull::Config::default()
    };
    if replays {
        // One replay at a time: whatever is left of the one before ends here.
        let _ = stream.delete_consumer(REPLAY).await;
        config.durable_name = None;
        config.name = Some(REPLAY.into());
        config.inactive_threshold = Duration::from_secs(60);
        config.deliver_policy = match options.from {
            Some(start_time) => DeliverPolicy::ByStartTime { start_time },
            None => DeliverPolicy::All,
        };
    }
    let made = stream.create_consumer(config).await;
    made.with_context(|| {
        format!(
            "the stream {name}: does attach.events.stream.kinds of the server name {}?",
            options.events
        )
    })
}

/// One event: posted, and taken out of the stream, or left there for later.
async fn handle(message: &Message, options: &Options, post: &Post) {
    let attempt = message.info().map_or(1, |info| info.delivered.max(1) as u32);
    let id = signature::id(message);
    let headers = options.secret.headers(&id, now(), &message.payload);
    let kind = match post.send(&headers, message.payload.clone()).await {
        Ok(status) if status.is_success() => AckKind::Ack,
        Ok(status) => failed(&id, &format!("status {}", status.as_u16()), attempt, options),
        Err(reason) => failed(&id, &reason, attempt, options),
    };
    // Not heard by the server, the event comes again, with the same id.
    if let Err(error) = message.ack_with(kind).await {
        eprintln!("{id}: {error}");
    }
}

fn failed(id: &str, reason: &str, attempt: u32, options: &Options) -> AckKind {
    if attempt >= options.attempts {
        eprintln!("{id}: {reason}, at attempt {attempt}: given up");
        return AckKind::Term;
    }
    let doubled = Duration::from_millis(options.retry_ms) * 2_u32.saturating_pow(attempt - 1);
    let delay = doubled.min(LONGEST_DELAY);
    eprintln!("{id}: {reason}, at attempt {attempt}: again in {delay:?}");
    AckKind::Nak(Some(delay))
}

/// When a replay has come to its end: nothing is left, and nothing is under way.
async fn caught_up(mut consumer: PullConsumer) {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    loop {
        tick.tick().await;
        match consumer.info().await {
            Ok(info) if info.num_pending == 0 && info.num_ack_pending == 0 => return,
            Ok(_) => {}
            Err(error) => eprintln!("{error}"),
        }
    }
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn moment(text: &str) -> Result<time::OffsetDateTime, String> {
    time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).map_err(|error| error.to_string())
}
