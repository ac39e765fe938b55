//! `dead`: looks at what can never pass, and tries it again.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Configuration, block_on};
use crate::config::Config;
use crate::domain::time::EpochMs;
use crate::nats;
use crate::queue::{self, Adapter, Dead, Queue};

#[derive(Debug, Args)]
pub struct DeadArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List dead letters, oldest first.
    List(ListArgs),
    /// Print everything about one, with its body.
    Show(ShowArgs),
    /// Queue them anew, as they came. What made one die makes it die again, unless that has changed in between.
    Replay(ReplayArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Begin behind this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,
    /// List so many at most.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Print each as a line of JSON, with its body.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, Args)]
struct ShowArgs {
    number: u64,
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, Args)]
struct ReplayArgs {
    /// Which, as `list` numbers them.
    #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
    numbers: Vec<u64>,
    /// All that there are now.
    #[arg(long)]
    all: bool,
    /// With --all: only those that died for this reason.
    #[arg(long, requires = "all", conflicts_with = "numbers")]
    reason: Option<String>,
    #[command(flatten)]
    configuration: Configuration,
}

pub fn dead(said: &Configuration, args: &DeadArgs) -> anyhow::Result<()> {
    let more = match &args.verb {
        Verb::List(args) => &args.configuration,
        Verb::Show(args) => &args.configuration,
        Verb::Replay(args) => &args.configuration,
    };
    let config = said.and(more).load()?;
    block_on(async {
        let queue = open(&config).await?;
        let done = match &args.verb {
            Verb::List(args) => list(&*queue, args).await,
            Verb::Show(args) => show(&*queue, args.number).await,
            Verb::Replay(args) => replay(&*queue, args).await,
        };
        queue.close().await;
        done
    })
}

async fn open(config: &Config) -> anyhow::Result<Arc<dyn Queue>> {
    let data = &config.app.data;
    let nats = match config.queue.needs_nats() {
        true => Some(nats::connect(&config.nats).await?),
        false => None,
    };
    let embedded = config.queue.adapter == Adapter::Embedded;
    if embedded && !data.join(queue::embedded::FILE).is_file() {
        bail!("there is no queue in {} (app.data)", data.display());
    }
    let queue = queue::build(&config.queue, data, nats.as_ref()).await;
    if embedded {
        return queue.context("the embedded queue's dead letters can be reached while its server is stopped");
    }
    Ok(queue?)
}

/// Letters of one page, at most.
const PAGE: u32 = 100;

/// Calls `each` with up to `limit` letters behind `after`; says whether there are more.
async fn walk(
    queue: &dyn Queue,
    after: u64,
    limit: u64,
    mut each: impl FnMut(Dead) -> anyhow::Result<()>,
) -> anyhow::Result<bool> {
    let (mut last, mut left) = (after, limit);
    loop {
        // One more than is wanted tells whether there are more.
        let page = queue.dead(last, left.saturating_add(1).min(PAGE.into()) as u32).await?;
        if page.is_empty() {
            return Ok(false);
        }
        for letter in page {
            if left == 0 {
                return Ok(true);
            }
            left -= 1;
            last = letter.number;
            each(letter)?;
        }
    }
}

async fn list(queue: &dyn Queue, args: &ListArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut last = None;
    let more = walk(queue, args.after, args.limit, |letter| {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&letter)?)?;
        } else {
            if last.is_none() {
                writeln!(
                    out,
                    "{:>8}  {:20}  {:11}  {:40}  DETAIL",
                    "NUMBER", "DIED", "REASON", "ID"
                )?;
            }
            let (died, reason, id) = (when(letter.died), &letter.reason, plain(&letter.id));
            writeln!(
                out,
                "{:>8}  {died:20}  {reason:11}  {id:40}  {}",
                letter.number,
                plain(&letter.detail)
            )?;
        }
        last = Some(letter.number);
        Ok(())
    })
    .await?;
    // To people, not to what reads the list.
    match last {
        None => eprintln!(
            "There are no dead letters{}.",
            if args.after > 0 { " behind that number" } else { "" }
        ),
        Some(last) if more => eprintln!("There are more: --after {last}"),
        Some(_) => {}
    }
    Ok(())
}

async fn show(queue: &dyn Queue, number: u64) -> anyhow::Result<()> {
    let letter = queue.dead(number.saturating_sub(1), 1).await?.pop();
    let Some(letter) = letter.filter(|letter| letter.number == number) else {
        bail!("there is no dead letter {number}");
    };
    let mut out = std::io::stdout().lock();
    let mut line = |name: &str, value: &str| writeln!(out, "{name:8} {}", plain(value));
    line("number", &number.to_string())?;
    line("died", &when(letter.died))?;
    line("reason", &letter.reason)?;
    line("detail", &letter.detail)?;
    line("id", if letter.id.is_empty() { "unknown" } else { &letter.id })?;
    if let Some(subject) = &letter.subject {
        line("subject", subject)?;
    }
    for (name, value) in &letter.headers {
        line("header", &format!("{name}: {value}"))?;
    }
    let (kind, body) = body(&letter.payload);
    let length = letter.payload.len();
    match letter.truncated {
        Some(had) => line("body", &format!("the first {length} of {had} bytes{kind}"))?,
        None => line("body", &format!("{length} bytes{kind}"))?,
    }
    writeln!(out, "\n{body}")?;
    Ok(())
}

async fn replay(queue: &dyn Queue, args: &ReplayArgs) -> anyhow::Result<()> {
    let mut numbers = args.numbers.clone();
    if args.all {
        // All of them before the first is replayed: one that dies again at once must not be met again.
        walk(queue, 0, u64::MAX, |letter| {
            if args.reason.as_ref().is_none_or(|reason| *reason == letter.reason) {
                numbers.push(letter.number);
            }
            Ok(())
        })
        .await?;
    }
    let mut failed = 0;
    for &number in &numbers {
        match queue.replay(number).await {
            Ok(true) => println!("{number}: queued anew"),
            Ok(false) => {
                failed += 1;
                eprintln!("{number}: there is no such dead letter");
            }
            Err(error) => {
                failed += 1;
                eprintln!("{number}: {error}");
            }
        }
    }
    match (failed, numbers.len()) {
        (0, 0) => eprintln!("There is nothing to replay."),
        (0, _) => {}
        (failed, all) => bail!("{failed} of {all} dead letters were not replayed"),
    }
    Ok(())
}

/// A moment for people, to the second, in UTC.
fn when(died: EpochMs) -> String {
    OffsetDateTime::from_unix_timestamp(died.div_euclid(1_000))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| died.to_string())
}

/// Somebody else's words on one line, without a sign that a terminal would act on.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// A body for a terminal, and what was done to it.
fn body(payload: &[u8]) -> (&'static str, String) {
    let harmless = |text: &str| text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    match std::str::from_utf8(payload) {
        Ok(text) if harmless(text) => ("", text.to_owned()),
        Ok(text) => (", with escapes", text.escape_debug().to_string()),
        Err(_) => (", no text: as escapes", payload.escape_ascii().to_string()),
    }
}
