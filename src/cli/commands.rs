//! `check`, `token` and `migrate`.

use std::time::Duration;

use anyhow::Context;

use super::{TokenArgs, block_on};
use crate::attach::{Hooks, events};
use crate::auth::{self, Given, Grant};
use crate::config::Config;
use crate::domain::identity::Pattern;
use crate::lifecycle::wall_clock;
use crate::nats;
use crate::queue;
use crate::store;

/// The mistakes were told when the configuration was loaded; what is left is to say what holds.
pub fn check(config: &Config) {
    println!(
        "The configuration is right: {} with {}, data in {}.",
        config.app.listen,
        config.auth.tokens(),
        config.app.data.display()
    );
    if let Some(warning) = no_keys(config) {
        println!("Note: {warning}");
    }
}

/// A server outside dev mode that nobody can publish to.
pub fn no_keys(config: &Config) -> Option<&'static str> {
    (!config.auth.is_dev() && config.ingest.keys.is_empty())
        .then_some("no ingest.keys are configured: nobody can publish over HTTP")
}

pub fn token(config: &Config, args: &TokenArgs) -> anyhow::Result<()> {
    let patterns = |flag: &str, texts: &[String]| -> anyhow::Result<Option<Vec<Pattern>>> {
        if texts.is_empty() {
            return Ok(None);
        }
        let parse = |text: &String| Pattern::parse(text).with_context(|| format!("{flag} {text}"));
        texts.iter().map(parse).collect::<anyhow::Result<Vec<_>>>().map(Some)
    };
    let grant = Grant {
        user: args.sub.clone(),
        ttl: args.ttl,
        read: patterns("--read", &args.read)?,
        write: patterns("--write", &args.write)?,
    };
    std::fs::create_dir_all(&config.app.data)
        .with_context(|| format!("app.data: {} can't be made", config.app.data.display()))?;
    let given = Given {
        data: &config.app.data,
        hooks: &Hooks::none(),
    };
    println!("{}", auth::mint(&config.auth, &given, &grant, wall_clock())?);
    Ok(())
}

pub fn migrate(config: &Config) -> anyhow::Result<()> {
    block_on(async {
        let data = &config.app.data;
        std::fs::create_dir_all(data).with_context(|| format!("app.data: {} can't be made", data.display()))?;
        let store = store::build(&config.store, data).await?;
        println!("The record ({}) in {} is up to date.", store.name(), data.display());
        store.close().await;
        if config.queue.needs_nats() {
            let nats = nats::connect(&config.nats).await?;
            let changed = queue::migrate(&config.queue, Some(&nats)).await?;
            for change in &changed {
                println!("Changed {change}.");
            }
            println!("The queue is as the configuration says.");
        }
        if config.attach.enabled && !config.attach.events.stream.kinds.is_empty() {
            let nats = nats::connect(&config.nats).await?;
            let patience = Duration::from_millis(config.nats.request_timeout_ms);
            for change in events::migrate(&config.attach.events, &nats, patience).await? {
                println!("Changed {change}.");
            }
            println!("The stream of events is as the configuration says.");
        }
        Ok(())
    })
}
