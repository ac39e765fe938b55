//! What the servers do with what they accept, as far as it can be known.

use std::time::Duration;

use serde::Deserialize;

use super::config::Known;

/// Longest wait for a server's monitoring.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than this is no answer.
const MOST_BYTES: u64 = 1_048_576;

#[derive(Deserialize)]
struct Jsz {
    config: JetStreamConfig,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
}

/// Asks every server of `monitoring`; only when all of them sync always is it known.
pub async fn known(replicas: usize, monitoring: &[String]) -> Known {
    let mut fsynced = !monitoring.is_empty();
    for address in monitoring {
        let url = format!("{}/jsz?config=true", address.trim_end_matches('/'));
        let asked = tokio::task::spawn_blocking(move || syncs_always(&url)).await;
        match asked {
            Ok(Ok(always)) => fsynced &= always,
            Ok(Err(error)) => {
                tracing::warn!(
                    address,
                    error,
                    "whether NATS syncs always can't be known: its monitoring doesn't answer"
                );
                fsynced = false;
            }
            Err(_) => fsynced = false,
        }
    }
    Known {
        replicated: replicas >= 2,
        fsynced,
    }
}

fn syncs_always(url: &str) -> Result<bool, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .into();
    let mut answer = agent.get(url).call().map_err(|error| error.to_string())?;
    let body = answer
        .body_mut()
        .with_config()
        .limit(MOST_BYTES)
        .read_to_vec()
        .map_err(|error| error.to_string())?;
    let jsz: Jsz = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    Ok(jsz.config.sync_always)
}
