//! Accepted and stored per second through HTTP: 64 connections, each with one request under way, singly and in arrays of 100.
//!
//! The clock runs from the first request until the record holds the last notification, so a queue that grows is no success. Receivers are
//! offline; ids are the server's.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Options;
use crate::line::{self, Net};
use crate::producers::Producers;
use crate::server::Server;
use crate::stats::{Bar, Table, middle_and_least};
use crate::wire;

const CONNECTIONS: usize = 64;
const RECEIVERS: u64 = 1_000;

/// At first connections are cold and files are small.
const WARM_UP: Duration = Duration::from_millis(500);

/// How long stored may lag behind accepted before the run is given up.
const PATIENCE: Duration = Duration::from_secs(120);

pub fn run(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let seconds = options.time(5.0, 0.3);
    let runs = options.pick(options.runs, 3, 1);
    table.section(&format!(
        "accept: {CONNECTIONS} connections, {runs} x {} s, until all is stored",
        seconds.as_secs_f64()
    ));
    for array in options.array.map_or(vec![1, 100], |array| vec![array]) {
        let (name, goal) = match array {
            1 => ("singly".to_owned(), 5_000.0),
            _ => (format!("in arrays of {array}"), 20_000.0),
        };
        // A server of its own: the second must not pay for the rows of the first.
        let server = Server::start(options)?;
        let mut bench = Bench::new(&server, array)?;
        bench.run(seconds.min(WARM_UP))?;
        let runs = (0..runs)
            .map(|_| bench.run(seconds))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let figures = |figure: fn(&Run) -> f64| middle_and_least(runs.iter().map(figure).collect());
        let (stored, least) = figures(Run::stored_per_second);
        table.row(&format!("{name}: stored, median"), stored, "/s", Bar::AtLeast(goal));
        table.row(&format!("{name}: stored, least run"), least, "/s", Bar::None);
        let (accepted, _) = figures(Run::accepted_per_second);
        table.row(
            &format!("{name}: accepted while posting, median"),
            accepted,
            "/s",
            Bar::None,
        );
        let (cpu, _) = figures(Run::cpu_per_million);
        table.row(
            &format!("{name}: CPU of all servers, median"),
            cpu,
            "s/million",
            Bar::None,
        );
    }
    Ok(())
}

struct Bench<'a> {
    server: &'a Server,
    scratch: Vec<u8>,
    /// Requests, taken in turn.
    requests: Vec<Vec<u8>>,
    /// Notifications in each.
    array: u64,
}

struct Run {
    count: u64,
    posting: Duration,
    until_stored: Duration,
    cpu: Duration,
}

impl<'a> Bench<'a> {
    fn new(server: &'a Server, array: u64) -> anyhow::Result<Self> {
        let item = |number: u64| wire::notification(&format!(r#""receiver":"test{}""#, number % RECEIVERS), number);
        let requests = (0..RECEIVERS)
            .map(|request| match array {
                1 => wire::post(&item(request)),
                _ => {
                    let items: Vec<_> = (0..array).map(|index| item(request * array + index)).collect();
                    wire::post(&format!("[{}]", items.join(",")))
                }
            })
            .collect();
        Ok(Self {
            server,
            scratch: line::scratch(),
            requests,
            array,
        })
    }

    fn run(&mut self, seconds: Duration) -> anyhow::Result<Run> {
        // New ones in each run: the server closes those that say nothing for long.
        let mut net = Net::new()?;
        let mut producers = Producers::open(&mut net, self.server.door(), CONNECTIONS)?;
        let before = self.server.stored()?;
        let cpu = self.server.cpu()?;
        let mut ready = Vec::new();
        let mut sent = 0;
        let start = Instant::now();
        loop {
            let over = start.elapsed() >= seconds;
            while !over && producers.has_idle() {
                let request = &self.requests[sent % self.requests.len()];
                producers.send(request, 0)?;
                sent += 1;
            }
            if over && producers.all_idle() {
                break;
            }
            net.wait(Duration::from_millis(100), &mut ready)?;
            for number in &ready {
                producers.ready(*number, &mut self.scratch, |_| {})?;
            }
        }
        let posting = start.elapsed();
        let count = sent as u64 * self.array;
        let mut stored = 0;
        while stored < count {
            stored = self.server.stored()? - before;
            ensure!(
                start.elapsed() < seconds + PATIENCE,
                "{stored} of {count} are stored after {PATIENCE:?}"
            );
            if stored < count {
                sleep(Duration::from_millis(5));
            }
        }
        ensure!(stored == count, "{count} were accepted and {stored} stored");
        Ok(Run {
            count,
            posting,
            until_stored: start.elapsed(),
            cpu: self.server.cpu()? - cpu,
        })
    }
}

impl Run {
    fn stored_per_second(&self) -> f64 {
        self.count as f64 / self.until_stored.as_secs_f64()
    }

    fn accepted_per_second(&self) -> f64 {
        self.count as f64 / self.posting.as_secs_f64()
    }

    fn cpu_per_million(&self) -> f64 {
        self.cpu.as_secs_f64() / self.count as f64 * 1e6
    }
}
