//! `publish`: a terminal as a producer.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("audience").required(true).args(["to", "topic", "everyone"])))]
#[command(group(ArgGroup::new("content").required(true).args(["text", "data"])))]
pub struct PublishArgs {
    /// One user, on all devices.
    #[arg(long, value_name = "USER")]
    to: Option<String>,
    /// Whoever subscribed to this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Every user who is online.
    #[arg(long)]
    everyone: bool,
    /// The notification's text.
    text: Option<String>,
    /// Data as JSON, for types that take more than a text.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The notification's type.
    #[arg(long = "type", value_name = "TYPE", default_value = "STRING_MSG")]
    kind: String,
    /// The notification's id; without one the server makes one.
    #[arg(long)]
    id: Option<String>,
    /// Makes a retry harmless: the same key is the same notification.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The producer's key; not asked for in dev mode.
    #[arg(long, env = "QN_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// The server.
    #[arg(long, default_value = "http://127.0.0.1:2025", value_parser = server)]
    url: String,
}

/// A server's URL as people type it.
pub fn server(url: &str) -> Result<String, String> {
    if url.starts_with("http://") {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    Err("say http://HOST:PORT; TLS is for a proxy in front of the server".into())
}

pub fn publish(args: &PublishArgs) -> anyhow::Result<()> {
    let url = format!("{}/api/notify", args.url);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut request = agent.post(&url).header("Content-Type", "application/json");
    if let Some(key) = &args.api_key {
        request = request.header("X-API-Key", key);
    }
    if let Some(key) = &args.idempotency_key {
        request = request.header("Idempotency-Key", key);
    }
    let body = serde_json::to_vec(&draft(args)?)?;
    let mut response = request
        .send(&body[..])
        .with_context(|| format!("{url} can't be reached"))?;
    let status = response.status();
    let text = response.body_mut().read_to_string()?;
    if status.is_success() {
        println!("{text}");
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&text).unwrap_or_default();
    let error = &answer["error"];
    match (error["field"].as_str(), error["reason"].as_str()) {
        (Some(field), Some(reason)) => bail!("{status}: {field}: {reason}"),
        (None, Some(reason)) => bail!("{status}: {reason}"),
        _ => bail!("{status}: {text}"),
    }
}

fn draft(args: &PublishArgs) -> anyhow::Result<Map<String, Value>> {
    let mut draft = Map::new();
    let data = match (&args.text, &args.data) {
        (Some(text), _) => json!(text),
        (None, Some(data)) => serde_json::from_str(data).context("--data is no JSON")?,
        (None, None) => bail!("say a text or --data"),
    };
    let said = [
        ("receiver", args.to.as_ref().map(|to| json!(to))),
        ("topic", args.topic.as_ref().map(|topic| json!(topic))),
        ("everyone", args.everyone.then_some(json!(true))),
        ("type", Some(json!(args.kind))),
        ("data", Some(data)),
        ("id", args.id.as_ref().map(|id| json!(id))),
    ];
    draft.extend(
        said.into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?))),
    );
    Ok(draft)
}
