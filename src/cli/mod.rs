//! The command line: what people type, and what they see.

mod client;
mod commands;
mod dead;
mod health;
mod listen;
mod plugins;
mod publish;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config};

/// Takes notifications over HTTP, keeps them, and delivers them to a user's browser tabs until they confirm.
///
/// Without a command: `serve`, with everything on this machine alone.
#[derive(Debug, Parser)]
#[command(name = "quick-notify", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    configuration: Configuration,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration comes from: defaults, then files, then `QN_SECTION__KEY` in the environment, then `--set`.
#[derive(Debug, Default, Args)]
struct Configuration {
    /// A TOML file; may be repeated, later ones win.
    #[arg(long = "config", short = 'c', value_name = "FILE")]
    files: Vec<PathBuf>,
    /// One setting, such as `--set app.listen=127.0.0.1:3000`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (what happens without a command, too).
    Serve(Configuration),
    /// Check the whole configuration, report every mistake, dial nobody.
    Check(Configuration),
    /// Make a token for the configured key, and print it.
    Token(TokenArgs),
    /// Send a notification to a running server.
    Publish(publish::PublishArgs),
    /// Subscribe as a user: print every notification and confirm it.
    Listen(listen::ListenArgs),
    /// Ask a running server whether it is ready; for a container's health check.
    Health(health::HealthArgs),
    /// Look at the dead letters, and replay them.
    Dead(dead::DeadArgs),
    /// Look at the attached plugins, disable one, and see the protocol that they speak.
    Plugins(plugins::PluginsArgs),
    /// Bring the record's schema and the queue's streams up to date, and exit.
    Migrate(Configuration),
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// The user that the token speaks for.
    #[arg(long)]
    sub: String,
    /// How long it holds: 30s, 15m, 1h, 7d.
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// A topic that it may read, such as `/topic/orders.*`; may be repeated. Without it: the configured default.
    #[arg(long, value_name = "PATTERN")]
    read: Vec<String>,
    /// A topic that it may write; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    write: Vec<String>,
    #[command(flatten)]
    configuration: Configuration,
}

/// The whole program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let said = &cli.configuration;
    let done = match &cli.command {
        None => said.load().and_then(serve::serve),
        Some(Command::Serve(more)) => said.and(more).load().and_then(serve::serve),
        Some(Command::Check(more)) => said.and(more).load().map(|config| commands::check(&config)),
        Some(Command::Token(args)) => said
            .and(&args.configuration)
            .load()
            .and_then(|config| commands::token(&config, args)),
        Some(Command::Migrate(more)) => said.and(more).load().and_then(|config| commands::migrate(&config)),
        Some(Command::Publish(_) | Command::Listen(_) | Command::Health(_)) if !said.is_empty() => Err(
            anyhow::anyhow!("publish, listen and health take no configuration, only the server's URL"),
        ),
        Some(Command::Dead(args)) => dead::dead(said, args),
        Some(Command::Plugins(args)) => plugins::plugins(said, args),
        Some(Command::Publish(args)) => publish::publish(args),
        Some(Command::Listen(args)) => listen::listen(args),
        Some(Command::Health(args)) => health::health(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quick-notify: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

impl Configuration {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.settings.is_empty()
    }

    /// What was said before the command, and then what was said behind it.
    fn and(&self, more: &Self) -> Self {
        Self {
            files: [&self.files[..], &more.files].concat(),
            settings: [&self.settings[..], &more.settings].concat(),
        }
    }

    fn load(&self) -> anyhow::Result<Config> {
        config::load(&self.files, &self.settings).map_err(|problems| {
            let list: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
            anyhow::anyhow!("the configuration has {} mistake(s):\n{}", list.len(), list.join("\n"))
        })
    }
}

/// An error with its causes; a cause that was said already, as many libraries do, isn't said again.
fn sentence(error: &anyhow::Error) -> String {
    error
        .chain()
        .fold(String::new(), |said, cause| match cause.to_string() {
            cause if said.is_empty() => cause,
            cause if said.contains(&cause) => said,
            cause => format!("{said}: {cause}"),
        })
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("say PATH=VALUE, such as app.listen=127.0.0.1:3000".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(format!("\"{unit}\" is no unit; say s, m, h or d, as in 1h")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "say a number and a unit, as in 1h".to_owned())?;
    number
        .checked_mul(seconds)
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "must be at least a second, and no more than a clock can count".into())
}

/// A runtime for a command that talks to somebody.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
