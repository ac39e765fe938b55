//! `quick-notify plugins inspect NAME`: everything about one plugin, and what to do about what is wrong.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use serde_json::Value;

use super::ask::{Everything, Hook, Instance, Plugin, ServerArgs, millis, plain, when};
use super::list::allowance;

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The plugin, as the configuration names it.
    name: String,
    /// Print what the server says, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn inspect(args: &InspectArgs) -> anyhow::Result<()> {
    let (everything, answer) = args.server.everything()?;
    let Some(plugin) = everything.plugins.iter().find(|plugin| plugin.name == args.name) else {
        return nobody(&everything, &args.name);
    };
    let text = if args.json {
        let plugins = answer["plugins"].as_array();
        let found = plugins.and_then(|all| all.iter().find(|one| one["name"] == *args.name));
        serde_json::to_string_pretty(found.unwrap_or(&Value::Null))? + "\n"
    } else {
        told(plugin)
    };
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn nobody(everything: &Everything, name: &str) -> anyhow::Result<()> {
    let name = plain(name);
    if !everything.enabled {
        bail!("no plugins attach here (attach.enabled)");
    }
    if let Some(stranger) = everything.strangers.iter().find(|stranger| stranger.name == name) {
        bail!("{}", allowance(stranger).trim());
    }
    let known: Vec<_> = everything.plugins.iter().map(|plugin| plain(&plugin.name)).collect();
    match known.is_empty() {
        true => bail!("there is no attach.plugins.{name}, nor any other"),
        false => bail!("there is no attach.plugins.{name}; there are: {}", known.join(", ")),
    }
}

fn told(plugin: &Plugin) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:13} {value}");
    };
    line("plugin", plain(&plugin.name));
    line("state", state(plugin));
    if let Some(version) = &plugin.version {
        line("version", plain(version));
    }
    if !plugin.description.is_empty() {
        line("description", plain(&plugin.description));
    }
    if plugin.required {
        line("required", "its absence is a failure of its hooks".into());
    }
    if !plugin.events.is_empty() {
        line("is told", plain(&plugin.events.join(" ")));
    }
    for instance in &plugin.instances {
        of_instance(instance, &mut line);
    }
    for hook in &plugin.hooks {
        of_hook(hook, &mut line);
    }
    text
}

fn state(plugin: &Plugin) -> String {
    match (&*plugin.state, &plugin.disabled) {
        ("disabled", Some(decision)) => format!(
            "disabled by {} at {}; to ask it again: quick-notify plugins enable {}",
            plain(&decision.by),
            when(decision.at),
            plain(&plugin.name)
        ),
        ("absent", _) => "absent: no instance answers; is it running, and on this NATS server and account?".into(),
        ("refused", _) => "refused: it is there, and may not attach as it is; see its instances".into(),
        (state, _) => plain(state),
    }
}

fn of_instance(instance: &Instance, line: &mut impl FnMut(&str, String)) {
    line("\ninstance", format!(" {}", plain(&instance.id)));
    line("  version", plain(&instance.version));
    line(
        "  since",
        format!("{}, by the clock of this node", when(instance.since)),
    );
    line("  heard", format!("{} ago", millis(instance.silent_ms as f64)));
    if let Some(reason) = &instance.refused {
        line("  refused", plain(reason));
    }
    if let Some(mend) = &instance.mend {
        line("  to mend it", plain(mend));
    }
    for left_out in &instance.left_out {
        line("  left out", plain(left_out));
    }
    if !instance.unknown.is_empty() {
        line(
            "  not known",
            format!("in its metadata: {}", plain(&instance.unknown.join(", "))),
        );
    }
}

fn of_hook(hook: &Hook, line: &mut impl FnMut(&str, String)) {
    line("\nhook", format!(" {}", plain(&hook.hook)));
    line("  subject", plain(&hook.subject));
    line(
        "  served by",
        format!(
            "{} instance{}",
            hook.instances,
            if hook.instances == 1 { "" } else { "s" }
        ),
    );
    line("  order", hook.order.to_string());
    let asked = hook.deadline_asked_ms.map(|asked| format!(" (asked for {asked} ms)"));
    line(
        "  deadline",
        millis(hook.deadline_ms as f64) + &asked.unwrap_or_default(),
    );
    line("  on failure", plain(&hook.on_failure));
    for (name, words) in [
        ("  receivers", &hook.receivers),
        ("  types", &hook.types),
        ("  commands", &hook.commands),
    ] {
        if !words.is_empty() {
            line(name, plain(&words.join(" ")));
        }
    }
    line(
        "  breaker",
        match &*hook.breaker {
            "open" => "open: it failed again and again, and is left alone for a while".into(),
            "half-open" => "half-open: one question tries whether it is well again".into(),
            other => plain(other),
        },
    );
    let latency = hook.latency.as_ref().map(|latency| {
        let (p50, p99) = (millis(latency.p50_ms), millis(latency.p99_ms));
        format!("; the last {}: half within {p50}, 99 % within {p99}", latency.of)
    });
    line(
        "  answered",
        format!("{}{}", hook.answered, latency.unwrap_or_default()),
    );
    let reasons: Vec<_> = hook
        .failed
        .iter()
        .map(|(reason, count)| format!("{} {count}", plain(reason)))
        .collect();
    let failed = hook.failed.values().sum::<u64>().to_string();
    line(
        "  failed",
        if reasons.is_empty() {
            failed
        } else {
            format!("{failed}: {}", reasons.join(", "))
        },
    );
    if let Some(last) = &hook.last_failure {
        line("  last failure", format!("{} {}", when(last.at), plain(&last.text)));
    }
}
