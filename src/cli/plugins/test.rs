//! `quick-notify plugins test`: whether a plugin keeps to the protocol, for who writes one. It asks the plugin over NATS, and needs no server.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;

use super::Configuration;
use crate::attach::conformance::{self, Finding, Plan};
use crate::attach::protocol::Hook;
use crate::cli::block_on;
use crate::nats;

#[derive(Debug, Args)]
pub struct TestArgs {
    /// A plugin's name, for all its hooks, or the subject of one: `groups`, `notify.hook.groups.review`.
    subject: String,
    /// The NATS server, in place of `nats.servers`.
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// A JSON file with the body of a question, or an array of them, to ask besides; may be repeated.
    #[arg(long = "sample", value_name = "FILE")]
    samples: Vec<PathBuf>,
    /// The time for an answer where the plugin says none, in milliseconds, in place of `attach.hooks.deadline_ms`.
    #[arg(long, value_name = "MS")]
    deadline_ms: Option<u64>,
    /// Print each finding as a line of JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    configuration: Configuration,
}

pub fn test(said: &Configuration, args: &TestArgs) -> anyhow::Result<()> {
    let mut said = said.and(&args.configuration);
    if let Some(server) = &args.nats {
        said.settings
            .push(("nats.servers".into(), serde_json::to_string(&[server])?));
    }
    let config = said.load()?;
    let (plugin, hook) = named(&args.subject, &config.nats.prefix)?;
    let plan = Plan {
        prefix: config.nats.prefix.clone(),
        plugin,
        hook,
        samples: samples(&args.samples)?,
        deadline: Duration::from_millis(args.deadline_ms.unwrap_or(config.attach.hooks.deadline_ms)),
    };
    block_on(async {
        let nats = nats::connect(&config.nats).await?;
        let (mut failed, mut all) = (0, 0);
        let mut told = Ok(());
        let is_good = conformance::examine(&nats.client, &plan, |finding| {
            all += 1;
            failed += usize::from(!finding.ok);
            if told.is_ok() {
                told = print(finding, args.json);
            }
        })
        .await;
        told?;
        match is_good {
            true => Ok(()),
            false => bail!("{failed} of {all} checks failed"),
        }
    })
}

/// The plugin, and the hook where a subject names one.
fn named(subject: &str, prefix: &str) -> anyhow::Result<(String, Option<Hook>)> {
    let Some((begin, hook)) = subject.rsplit_once('.') else {
        return Ok((subject.to_owned(), None));
    };
    let plugin = begin.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(".hook."));
    match (plugin, Hook::of(hook)) {
        (Some(plugin), Some(hook)) => Ok((plugin.to_owned(), Some(hook))),
        _ => bail!(
            "{subject} is no subject of a hook, which is {prefix}.hook.NAME.HOOK with one of: {}",
            { Hook::ALL.map(Hook::name).join(" ") }
        ),
    }
}

fn samples(files: &[PathBuf]) -> anyhow::Result<Vec<Value>> {
    let mut samples = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        match serde_json::from_str(&text).with_context(|| file.display().to_string())? {
            Value::Array(several) => samples.extend(several),
            one => samples.push(one),
        }
    }
    Ok(samples)
}

fn print(finding: &Finding, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(finding)?)?;
        return Ok(());
    }
    let word = if finding.ok { "ok" } else { "FAIL" };
    let check = match finding.hook {
        Some(hook) => format!("{hook} {}", finding.check),
        None => finding.check.to_owned(),
    };
    let mut line = format!("{word:4}  {check:28}  {}", finding.seen);
    if !finding.mend.is_empty() {
        line = format!("{line}. To mend it: {}", finding.mend);
    }
    writeln!(out, "{}", line.trim_end())?;
    Ok(())
}
