//! The load generator: starts the real server as a process of its own, drives it over loopback sockets, and prints what it measured.
//!
//! ```text
//! cargo bench --bench bench                          # everything, with the sizes of the bars
//! cargo bench --bench bench -- latency --seconds 60  # one of: accept latency fanout idle codec
//! cargo bench --bench bench -- --quick               # everything, small: proves that it works
//! cargo bench --bench bench -- accept latency --cluster r1  # on NATS, Redis and PostgreSQL, which it starts beside the node
//! cargo bench --bench bench -- latency --cluster r1 --rate 5000 --array 100 --review  # what a review hook costs
//! ```
//!
//! The server's share is told apart from the generator's: CPU time and memory are read from `/proc/PID` (so: Linux). A figure that misses its
//! bar is printed and fails nothing, since machines differ; a notification that doesn't arrive, arrives twice or is refused fails the run.

mod accept;
mod backing;
mod codec;
mod fanout;
mod idle;
mod latency;
mod line;
mod machine;
mod polls;
mod producers;
mod reviewer;
mod server;
// The tests' own way to start the servers of others.
#[allow(dead_code, unused_imports)]
#[path = "../it/harness/servers/mod.rs"]
mod servers;
mod sessions;
mod stats;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::stats::Table;

/// Measures a quick-notify server on this machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "bench", max_term_width = 110)]
pub struct Options {
    /// What to measure; everything unless said.
    names: Vec<Name>,
    /// Small sizes and short runs: proves that everything works, measures nothing well.
    #[arg(long)]
    quick: bool,
    /// How long one run of accept, latency and idle lasts.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// How often accept is run; the median is printed, and the least.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Notifications in a request of accept (both 1 and 100 unless said) and of latency (1 unless said).
    #[arg(long, value_name = "N")]
    array: Option<u64>,
    /// Sessions of latency, fanout and idle.
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// Notifications a second in latency.
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Broadcasts of fanout.
    #[arg(long, value_name = "N")]
    broadcasts: Option<usize>,
    /// Nodes of a cluster with private servers behind them, instead of one node alone.
    #[arg(long, value_name = "KIND")]
    cluster: Option<backing::Kind>,
    /// A plugin reviews every notification (with --cluster, since plugins need NATS).
    #[arg(long, requires = "cluster")]
    review: bool,
    /// Be that plugin, at this NATS server.
    #[arg(long, value_name = "URL", hide = true)]
    reviewer: Option<String>,
    /// Another server binary than the one that was built along with this.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_quick-notify"))]
    server: PathBuf,
    /// A setting of the server, such as `edge.read_buffer=512`; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Accept,
    Latency,
    Fanout,
    Idle,
    Codec,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(nats) = &options.reviewer {
        return reviewer::be(nats);
    }
    // One end of every connection is in this process; the server inherits the limit and holds the other.
    rlimit::increase_nofile_limit(u64::MAX)?;
    println!("{}", machine::description()?);
    let mut table = Table::start();
    let names = if options.names.is_empty() {
        Name::value_variants()
    } else {
        &options.names
    };
    for name in names {
        match name {
            Name::Accept => accept::run(options, &mut table)?,
            Name::Latency => latency::run(options, &mut table)?,
            Name::Fanout => fanout::run(options, &mut table)?,
            Name::Idle => idle::run(options, &mut table)?,
            Name::Codec => codec::run(options, &mut table)?,
        }
    }
    Ok(())
}

/// What the servers' starts wait with.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), work).await {
        Ok(value) => value,
        Err(_) => panic!("{what} takes too long"),
    }
}

impl Options {
    /// What was said, else the size of the bars, else the small one.
    fn pick<T>(&self, said: Option<T>, full: T, quick: T) -> T {
        said.unwrap_or(if self.quick { quick } else { full })
    }

    fn time(&self, full: f64, quick: f64) -> Duration {
        Duration::from_secs_f64(self.pick(self.seconds, full, quick))
    }
}
