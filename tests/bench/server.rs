//! The server under test: a process of its own, with a data directory of its own that goes with it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::Options;
use crate::machine::{self, Memory};

pub struct Server {
    /// Where HTTP and WebSocket are served.
    pub address: SocketAddr,
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
            .args(
                own.iter()
                    .chain(&options.settings)
                    .flat_map(|setting| ["--set", setting]),
            )
            .stdout(Stdio::piped())
            .stderr(File::create(data.join(LOG))?)
            .spawn()
            .with_context(|| format!("{} can't be started", options.server.display()))?;
        let mut stdout = BufReader::new(process.stdout.take().context("it was piped")?);
        let addresses = read_addresses(&mut stdout);
        // Built before the addresses are looked at, so that a failed start is cleaned up too.
        let mut server = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            metrics: SocketAddr::from(([127, 0, 0, 1], 0)),
            process,
            data,
            _stdout: stdout,
        };
        match addresses {
            Ok((address, metrics)) => (server.address, server.metrics) = (address, metrics),
            Err(error) => bail!("the server did not start: {error}\n{}", server.log()),
        }
        Ok(server)
    }

    /// CPU time that it has used.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        machine::cpu(&self.process.id().to_string())
    }

    pub fn memory(&self) -> anyhow::Result<Memory> {
        machine::memory(self.process.id())
    }

    /// Notifications that entered the record.
    pub fn stored(&self) -> anyhow::Result<u64> {
        self.metric("quick_notify_stored_total ")
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

impl Drop for Server {
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
