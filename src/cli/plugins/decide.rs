//! `quick-notify plugins disable NAME` and `enable NAME`: an operator's decision, which all nodes follow. Asks nothing, and says what it means.

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::ask::{Plugin, ServerArgs, plain};

#[derive(Debug, Args)]
pub struct DecideArgs {
    /// The plugin, as the configuration names it.
    name: String,
    /// Print what the server says, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn disable(args: &DecideArgs) -> anyhow::Result<()> {
    let Some(plugin) = decide(args, "disable")? else {
        return Ok(());
    };
    println!(
        "{} is disabled on all nodes, until: quick-notify plugins enable {}",
        args.name, args.name
    );
    for hook in &plugin.hooks {
        let hook = &*hook.hook;
        println!("  {hook:12}  {}", without(hook));
    }
    if plugin.required {
        println!(
            "  {:12}  so it is though it is required: only its absence is a failure",
            "required"
        );
    }
    if !plugin.events.is_empty() {
        let events = plain(&plugin.events.join(" "));
        println!("  {:12}  {events}: not told for its sake any more", "events");
    }
    Ok(())
}

pub fn enable(args: &DecideArgs) -> anyhow::Result<()> {
    let Some(plugin) = decide(args, "enable")? else {
        return Ok(());
    };
    let now = match &*plugin.state {
        "attached" => "and is asked".to_owned(),
        state => format!("and {}: quick-notify plugins inspect {}", plain(state), args.name),
    };
    println!("{} is enabled on all nodes, {now}", args.name);
    Ok(())
}

/// What the server knows of the plugin now; `None` where that was printed already.
fn decide(args: &DecideArgs, verb: &str) -> anyhow::Result<Option<Plugin>> {
    // It becomes a part of an address.
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if args.name.is_empty() || !args.name.chars().all(fits) {
        bail!(
            "{:?} is no plugin's name: those have letters, digits, - and _",
            args.name
        );
    }
    let answer = args.server.decide(&args.name, verb)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(None);
    }
    let plugin = answer.get("plugin").unwrap_or(&Value::Null);
    Plugin::deserialize(plugin)
        .map(Some)
        .context("the server did it; its answer is not one about a plugin")
}

/// What it means for a hook that its plugin is disabled.
fn without(hook: &str) -> &'static str {
    match hook {
        "authenticate" => "nobody is let in by it: CONNECT is refused as unavailable",
        "review" => "notifications pass without it",
        "subscribe" => "only the token says who may read a topic",
        "command" => "its commands are answered `unavailable`",
        _ => "is not asked",
    }
}
