//! One broadcast to 5,000 sessions: how long until the last has it, and what a delivery costs the server.
//!
//! The cost is held against that of a bare `write(2)` of 300 bytes to as many loopback sockets, measured in the same run, so that the ratio
//! tells even where the machine is slow or shared.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::Options;
use crate::line::{self, Net};
use crate::machine;
use crate::producers::Producers;
use crate::server::Server;
use crate::sessions::{Plan, Sessions};
use crate::stats::{Bar, Samples, Table, ms};
use crate::wire;

/// Octets of a bare write.
const BARE: usize = 300;

/// Between two broadcasts of the paced run.
const PAUSE: Duration = Duration::from_millis(20);

const PATIENCE: Duration = Duration::from_secs(30);

pub fn run(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let count = options.pick(options.sessions, 5_000, 500);
    let broadcasts = options.pick(options.broadcasts, 200, 20);
    table.section(&format!("fanout: {broadcasts} broadcasts to {count} sessions"));
    let before = bare_write(count, broadcasts / 4 + 1)?;

    let server = Server::start(options)?;
    let mut net = Net::new()?;
    let mut scratch = line::scratch();
    let plan = Plan {
        address: server.edge(),
        count,
        heart_beat: "0,0",
        ack: "auto",
    };
    let sessions = Sessions::open(&mut net, &mut scratch, plan)?;
    let producers = Producers::open(&mut net, server.door(), 1)?;
    let mut bench = Bench {
        net,
        scratch,
        sessions,
        producers,
        sent: 0,
        delivered: 0,
        bytes: 0,
    };
    // The first one finds everything cold.
    bench.broadcast(&mut Samples::default())?;

    bench.bytes = 0;
    let mut each = Samples::default();
    let mut last = Samples::default();
    let cpu = server.cpu()?;
    for _ in 0..broadcasts {
        last.push(bench.broadcast(&mut each)?);
        bench.pause()?;
    }
    let paced = server.cpu()? - cpu;
    let bytes = bench.bytes as f64 / (broadcasts * count) as f64;

    let cpu = server.cpu()?;
    let took = bench.back_to_back(broadcasts)?;
    let back_to_back = server.cpu()? - cpu;
    drop((bench, server));
    let after = bare_write(count, broadcasts / 4 + 1)?;

    each.sort();
    last.sort();
    table.row(
        "one at a time: to any session, p50",
        ms(each.percentile(0.5)),
        "ms",
        Bar::None,
    );
    table.row(
        "one at a time: to any session, p99",
        ms(each.percentile(0.99)),
        "ms",
        Bar::None,
    );
    table.row(
        "one at a time: to the last session, p50",
        ms(last.percentile(0.5)),
        "ms",
        Bar::None,
    );
    table.row(
        "one at a time: to the last session, p99",
        ms(last.percentile(0.99)),
        "ms",
        Bar::None,
    );
    let deliveries = (broadcasts * count) as f64;
    let cost = |cpu: Duration| cpu.as_secs_f64() * 1e6 / deliveries;
    table.row(
        "one at a time: CPU of the server",
        cost(paced),
        "s/million",
        Bar::AtMost(12.0),
    );
    let bare = before.min(after).as_secs_f64() * 1e6;
    table.row("a bare write of 300 bytes", bare, "s/million", Bar::None);
    table.row(
        "one at a time: a delivery in bare writes",
        cost(paced) / bare,
        "",
        Bar::None,
    );
    table.row(
        "back to back: deliveries",
        deliveries / took.as_secs_f64(),
        "/s",
        Bar::None,
    );
    table.row(
        "back to back: CPU of the server",
        cost(back_to_back),
        "s/million",
        Bar::None,
    );
    table.row("octets of a MESSAGE", bytes, "", Bar::None);
    Ok(())
}

struct Bench {
    net: Net,
    scratch: Vec<u8>,
    sessions: Sessions,
    producers: Producers,
    sent: usize,
    delivered: usize,
    /// Octets of the frames that came.
    bytes: usize,
}

impl Bench {
    /// One broadcast, and the time until the last session has it.
    fn broadcast(&mut self, each: &mut Samples) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.publish()?;
        let all = self.sent * self.sessions.len();
        while self.delivered < all || !self.producers.has_idle() {
            self.receive(Duration::from_secs(1), || each.push(start.elapsed()))?;
            ensure!(
                start.elapsed() < PATIENCE,
                "{} of {all} came in {PATIENCE:?}",
                self.delivered
            );
        }
        ensure!(self.delivered == all, "{} came and {all} were expected", self.delivered);
        Ok(start.elapsed())
    }

    /// All at once: the next leaves as soon as the one before is accepted.
    fn back_to_back(&mut self, broadcasts: usize) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let last = self.sent + broadcasts;
        let all = last * self.sessions.len();
        while self.delivered < all {
            if self.sent < last && self.producers.has_idle() {
                self.publish()?;
            }
            self.receive(Duration::from_secs(1), || {})?;
            ensure!(start.elapsed() < PATIENCE * 4, "{} of {all} came", self.delivered);
        }
        Ok(start.elapsed())
    }

    fn publish(&mut self) -> anyhow::Result<()> {
        let body = wire::notification(r#""everyone":true"#, self.sent as u64);
        self.sent += 1;
        self.producers.send(&wire::post(&body), 0)
    }

    fn receive(&mut self, limit: Duration, mut each: impl FnMut()) -> anyhow::Result<()> {
        let mut ready = Vec::new();
        self.net.wait(limit, &mut ready)?;
        for number in ready {
            let (delivered, bytes) = (&mut self.delivered, &mut self.bytes);
            let was_session = self.sessions.ready(number, &mut self.scratch, |_, frame| {
                *delivered += usize::from(frame.starts_with(b"MESSAGE"));
                *bytes += frame.len();
                each();
                Ok(())
            })?;
            if !was_session {
                self.producers.ready(number, &mut self.scratch, |_| {})?;
            }
        }
        Ok(())
    }

    fn pause(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < PAUSE {
            self.receive(PAUSE, || {})?;
        }
        Ok(())
    }
}

/// CPU time of one `write(2)` to one of many loopback sockets, by a thread that does nothing else.
fn bare_write(sockets: usize, rounds: usize) -> anyhow::Result<Duration> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut net = Net::new()?;
    let mut lines = Vec::with_capacity(sockets);
    let mut streams: Vec<TcpStream> = Vec::with_capacity(sockets);
    for _ in 0..sockets {
        lines.push(net.connect(listener.local_addr()?)?);
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let (go, went) = mpsc::channel();
    let writer = std::thread::spawn(move || -> anyhow::Result<Duration> {
        let message = [b'm'; BARE];
        let mut before = Duration::ZERO;
        for round in went {
            // The first round warms up.
            if round == 1 {
                before = machine::cpu_of_this_thread()?;
            }
            for stream in &mut streams {
                stream.write_all(&message)?;
            }
        }
        Ok(machine::cpu_of_this_thread()? - before)
    });
    let mut scratch = line::scratch();
    let mut ready = Vec::new();
    for round in 0..=rounds {
        go.send(round)?;
        let mut received = 0;
        while received < sockets * BARE {
            net.wait(PATIENCE, &mut ready)?;
            ensure!(!ready.is_empty(), "bare writes did not come");
            for number in &ready {
                lines[*number].receive(&mut scratch, |bytes| {
                    received += bytes.len();
                    Ok(bytes.len())
                })?;
            }
        }
    }
    drop(go);
    let cpu = writer.join().expect("the writer does not panic")?;
    Ok(cpu / (sockets * rounds) as u32)
}
