//! The server under test: a process of its own, or several, each with a data directory of its own that goes with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::Options;
use crate::backing::Backing;
use crate::machine::{self, Memory};
use crate::reviewer::{self, Reviewer};

/// One node alone, or the nodes of a cluster with the servers behind them.
pub struct Server {
    nodes: Vec<Node>,
    reviewer: Option<Reviewer>,
    backing: Option<Backing>,
}

struct Node {
    address: SocketAddr,
    metrics: SocketAddr,
    process: Child,
    data: PathBuf,
    /// Kept open: the server would fail to print to a pipe that nobody holds.
    _stdout: BufReader<ChildStdout>,
}

const LOG: &str = "server.log";

impl Server {
    /// Starts it and returns when it serves.
    pub fn start(options: &Options) -> anyhow::Result<Self> {
        let backing = options.cluster.map(Backing::start).transpose()?;
        let mut settings = backing.as_ref().map(Backing::settings).unwrap_or_default();
        // Before the nodes, which then see it from their start.
        let reviewer = match &backing {
            Some(backing) if options.review => Some(Reviewer::start(&backing.nats())?),
            _ => None,
        };
        if reviewer.is_some() {
            settings.extend(reviewer::SETTINGS.map(str::to_owned));
        }
        settings.extend_from_slice(&options.settings);
        let count = backing.as_ref().map_or(1, Backing::nodes);
        let nodes = (0..count)
            .map(|_| Node::start(options, &settings))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            nodes,
            reviewer,
            backing,
        })
    }

    /// Where producers go.
    pub fn door(&self) -> SocketAddr {
        self.nodes[0].address
    }

    /// Where sessions go.
    pub fn edge(&self) -> SocketAddr {
        self.nodes[1 % self.nodes.len()].address
    }

    /// CPU time that all server processes have used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Ok(self.shares()?.into_iter().map(|(_, cpu)| cpu).sum())
    }

    /// The same, by kind of process.
    pub fn shares(&self) -> anyhow::Result<Vec<(&'static str, Duration)>> {
        let own = self
            .nodes
            .iter()
            .map(|node| machine::cpu(&node.process.id().to_string()))
            .sum::<anyhow::Result<Duration>>()?;
        let mut shares = vec![("quick-notify", own)];
        if let Some(backing) = &self.backing {
            shares.extend(backing.cpu()?);
        }
        if let Some(reviewer) = &self.reviewer {
            shares.push(("the plugin", machine::cpu(&reviewer.pid().to_string())?));
        }
        Ok(shares)
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        machine::memory(self.nodes[0].process.id())
    }

    /// Notifications that entered the record.
    pub fn stored(&self) -> anyhow::Result<u64> {
        self.nodes
            .iter()
            .map(|node| node.metric("quick_notify_stored_total "))
            .sum()
    }
}

impl Node {
    fn start(options: &Options, settings: &[String]) -> anyhow::Result<Self> {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let data = PathBuf::from(machine::DATA).join(format!("bench-{}-{number}", std::process::id()));
        fs::create_dir_all(&data)?;
        let own = [
            "app.listen=127.0.0.1:0".to_owned(),
            "telemetry.listen=127.0.0.1:0".to_owned(),
            format!("app.data={}", data.display()),
        ];
        let mut process = Command::new(&options.server)
            // `QN_` variables would change what is measured.
            .env_clear()
            .args(own.iter().chain(settings).flat_map(|setting| ["--set", setting]))
            .stdout(Stdio::piped())
            .stderr(File::create(data.join(LOG))?)
            .spawn()
            .with_context(|| format!("{} can't be started", options.server.display()))?;
        let mut stdout = BufReader::new(process.stdout.take().context("it was piped")?);
        let addresses = read_addresses(&mut stdout);
        // Built before the addresses are looked at, so that a failed start is cleaned up too.
        let mut node = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics: SocketAddr::from(([127, 0, 0, 1], 0)),
            process,
            data,
            _stdout: stdout,
        };
        match addresses {
            Ok((address, metrics)) => (node.address, node.metrics) = (address, metrics),
            Err(error) => bail!("the server did not start: {error}\n{}", node.log()),
        }
        Ok(node)
    }

    /// What it wrote to standard error.
    fn log(&self) -> String {
        fs::read_to_string(self.data.join(LOG)).unwrap_or_default()
    }

    fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let mut stream = TcpStream::connect(self.metrics)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        let value = page.lines().find_map(|line| line.strip_prefix(name));
        Ok(value.with_context(|| format!("no metric {name}"))?.trim().parse()?)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing here is worth a drain.
        let _ = self.process.kill();
        let _ = self.process.wait();
        // A server that complains is not what was meant to be measured.
        for line in self.log().lines().take(10) {
            eprintln!("the server: {line}");
        }
        let _ = fs::remove_dir_all(&self.data);
    }
}

/// The addresses that the server names at start: `page  http://…/` and `metrics  http://…/metrics`.
fn read_addresses(stdout: &mut impl BufRead) -> anyhow::Result<(SocketAddr, SocketAddr)> {
    let mut page = None;
    let mut line = String::new();
    loop {
        line.clear();
        if stdout.read_line(&mut line)? == 0 {
            bail!("it ended without naming its addresses");
        }
        let mut words = line.split_ascii_whitespace();
        let name = words.next();
        let address = words
            .next()
            .and_then(|url| url.strip_prefix("http://")?.split('/').next()?.parse().ok());
        match (name, address, page) {
            (Some("page"), Some(address), _) => page = Some(address),
            (Some("metrics"), Some(metrics), Some(page)) => return Ok((page, metrics)),
            _ => {}
        }
    }
}
