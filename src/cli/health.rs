//! `health`: a probe for containers, whose image holds no other program.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::publish::server;

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The server.
    #[arg(default_value = "http://127.0.0.1:2025", value_parser = server)]
    url: String,
    /// Ask only whether the process answers, not whether its queue and its record do.
    #[arg(long)]
    live: bool,
    /// Longest wait for the answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 3_000)]
    timeout_ms: u64,
}

/// Prints what the server says of itself; fails unless that is good.
pub fn health(args: &HealthArgs) -> anyhow::Result<()> {
    let url = format!("{}/health/{}", args.url, if args.live { "live" } else { "ready" });
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_millis(args.timeout_ms)))
        .build()
        .into();
    let mut response = agent
        .get(&url)
        .call()
        .with_context(|| format!("{url} can't be reached"))?;
    let status = response.status();
    let text = response.body_mut().read_to_string()?;
    if !status.is_success() {
        bail!("{status}: {text}");
    }
    println!("{text}");
    Ok(())
}
