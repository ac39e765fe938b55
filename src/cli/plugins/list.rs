//! `quick-notify plugins list`: a line for each hook of each plugin, and below who is there and may not attach.

use std::io::Write;

use clap::Args;

use super::ask::{Everything, Hook, Plugin, ServerArgs, Stranger, millis, plain};

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print what the server says, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn list(args: &ListArgs) -> anyhow::Result<()> {
    let (everything, answer) = args.server.everything()?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answer)?)?;
        return Ok(());
    }
    if !everything.plugins.is_empty() {
        let head = HEAD.map(str::to_owned).to_vec();
        let rows = everything.plugins.iter().flat_map(rows);
        write!(out, "{}", table(std::iter::once(head).chain(rows).collect()))?;
    }
    out.flush()?;
    // To people, not to what reads the list.
    eprint!("{}", advice(&everything));
    Ok(())
}

const HEAD: [&str; 10] = [
    "PLUGIN",
    "STATE",
    "VERSION",
    "INSTANCES",
    "HOOK",
    "ORDER",
    "BREAKER",
    "ANSWERED",
    "FAILED",
    "P99",
];

/// A line a hook; the first one says who it is.
fn rows(plugin: &Plugin) -> Vec<Vec<String>> {
    let version = plugin.version.as_deref().unwrap_or("-");
    let who = [
        plain(&plugin.name),
        state(plugin),
        plain(version),
        plugin.instances.len().to_string(),
    ];
    let again = || [const { String::new() }; 4];
    let of_hook = |hook: &Hook| {
        let latency = hook.latency.as_ref();
        [
            plain(&hook.hook),
            hook.order.to_string(),
            plain(&hook.breaker),
            hook.answered.to_string(),
            hook.failed.values().sum::<u64>().to_string(),
            latency.map_or_else(|| "-".to_owned(), |latency| millis(latency.p99_ms)),
        ]
    };
    let mut rows: Vec<Vec<String>> = plugin.hooks.iter().map(|hook| of_hook(hook).to_vec()).collect();
    if !plugin.events.is_empty() || rows.is_empty() {
        let events = plugin
            .events
            .iter()
            .map(|event| plain(event))
            .collect::<Vec<_>>()
            .join(" ");
        rows.push(vec![if events.is_empty() {
            "-".into()
        } else {
            format!("is told: {events}")
        }]);
    }
    let mut who = Some(who);
    rows.into_iter()
        .map(|row| who.take().unwrap_or_else(again).into_iter().chain(row).collect())
        .collect()
}

fn state(plugin: &Plugin) -> String {
    let required = if plugin.required { ", required" } else { "" };
    format!("{}{required}", plain(&plugin.state))
}

/// Columns as wide as what stands in them; what stands last in its line takes no part in that.
fn table(rows: Vec<Vec<String>>) -> String {
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (column, cell) in row.iter().enumerate().take(row.len() - 1) {
            widths[column] = widths[column].max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// What to do next.
fn advice(everything: &Everything) -> String {
    if !everything.enabled {
        return "No plugins attach here. To let them: attach.enabled = true (with NATS), and a table for each, such as\n\n  \
            [attach.plugins.censor]\n  hooks = [\"review\"]\n\nin the configuration of every node.\n"
            .into();
    }
    let mut advice = String::new();
    if everything.plugins.is_empty() && everything.strangers.is_empty() {
        advice.push_str(
            "No plugin may attach, and none is there. Start one, and ask again: this list then says how to allow it.\n",
        );
    } else if everything.plugins.is_empty() {
        advice.push_str("No plugin may attach yet.\n");
    }
    let is_refused = |plugin: &&Plugin| plugin.instances.iter().any(|instance| instance.refused.is_some());
    if let Some(plugin) = everything.plugins.iter().find(is_refused) {
        let first = plain(&plugin.name);
        advice.push_str(&format!("\nWhy one is refused: quick-notify plugins inspect {first}\n"));
    }
    for stranger in &everything.strangers {
        advice.push_str(&allowance(stranger));
    }
    advice
}

/// The very lines that would allow it.
pub fn allowance(stranger: &Stranger) -> String {
    let (name, version) = (plain(&stranger.name), plain(&stranger.version));
    let lines: Vec<_> = stranger
        .allow
        .lines()
        .map(|line| format!("  {}\n", plain(line)))
        .collect();
    let speaks = match &*stranger.protocol {
        "1" => String::new(),
        other => format!(", speaks version {} of the protocol", plain(other)),
    };
    format!(
        "\n{name} {version} is there{speaks}, and may not attach. To allow it, say in the configuration of every node, and restart them one by one:\n\n{}",
        lines.concat()
    )
}
