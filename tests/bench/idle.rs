//! What a session costs that does nothing: connected, subscribed, and quiet.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::Options;
use crate::line::{self, Net};
use crate::machine;
use crate::polls::{self, Polls};
use crate::producers::Producers;
use crate::server::Server;
use crate::sessions::{Plan, Sessions};
use crate::stats::{Bar, Table};
use crate::wire;

/// From the last subscription to the look at memory: pages are read and buffers given back.
const SETTLE: Duration = Duration::from_secs(2);

/// A client that promised to beat every 10 s does so a little earlier.
const BEAT: Duration = Duration::from_secs(9);

pub fn run(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let count = options.pick(options.sessions, 10_000, 1_000);
    let seconds = options.time(20.0, 2.0);
    for by in [By::WebSocket, By::XhrPolling] {
        for heart_beat in ["10000,10000", "0,0"] {
            table.section(&format!(
                "idle: {count} sessions by {by:?}, heart-beat {heart_beat}, for {} s",
                seconds.as_secs_f64()
            ));
            measure(options, table, count, seconds, by, heart_beat)?;
        }
    }
    Ok(())
}

fn measure(
    options: &Options,
    table: &mut Table,
    count: usize,
    seconds: Duration,
    by: By,
    heart_beat: &'static str,
) -> anyhow::Result<()> {
    let server = Server::start(options)?;
    let mut net = Net::new()?;
    let mut scratch = line::scratch();
    let (memory, kernel, cpu) = (server.memory()?, machine::kernel_memory()?, server.cpu()?);

    let start = Instant::now();
    let mut sessions = Crowd::open(&mut net, &mut scratch, by, server.edge(), count, heart_beat)?;
    let opening = start.elapsed();
    let opened = server.cpu()? - cpu;
    let beats = heart_beat != "0,0";
    stay(&mut net, &mut scratch, &mut sessions, SETTLE, beats)?;
    let (memory_then, kernel_then, cpu) = (server.memory()?, machine::kernel_memory()?, server.cpu()?);
    stay(&mut net, &mut scratch, &mut sessions, seconds, beats)?;
    let idle = server.cpu()? - cpu;
    let mut producers = Producers::open(&mut net, server.door(), 1)?;
    producers.send(&wire::post(&wire::notification(r#""everyone":true"#, 0)), 0)?;
    stay(&mut net, &mut scratch, &mut sessions, SETTLE, beats)?;
    let memory_last = server.memory()?;

    let per_session = |bytes: u64| bytes as f64 / 1024.0 / count as f64;
    let resident = memory_then.resident.saturating_sub(memory.resident);
    let private = memory_then.private.saturating_sub(memory.private);
    // What a delivery leaves behind in each session: buffers that were not given back.
    let after = memory_last.resident.saturating_sub(memory.resident);
    // Both ends of every connection are on this machine; one is the server's.
    let kernel = kernel_then.saturating_sub(kernel) / 2;
    table.row(
        "RSS of the server a session",
        per_session(resident),
        "KiB",
        match by {
            By::WebSocket => Bar::AtMost(12.0),
            // An HTTP connection of hyper's has 16 KiB of buffers.
            By::XhrPolling => Bar::None,
        },
    );
    table.row(
        "RSS of the server a session, after a broadcast",
        per_session(after),
        "KiB",
        Bar::None,
    );
    table.row(
        "private memory of the server a session",
        per_session(private),
        "KiB",
        Bar::None,
    );
    table.row(
        "kernel memory a session, the server's end",
        per_session(kernel),
        "KiB",
        Bar::None,
    );
    table.row(
        "RSS of the server without sessions",
        memory.resident as f64 / 1048576.0,
        "MiB",
        Bar::None,
    );
    let share = idle.as_secs_f64() / seconds.as_secs_f64() * 100.0;
    table.row("CPU of the server, of one core", share, "%", Bar::None);
    table.row("sessions opened", count as f64 / opening.as_secs_f64(), "/s", Bar::None);
    let cost = opened.as_secs_f64() * 1e6 / count as f64;
    table.row("CPU of the server to open a session", cost, "us", Bar::None);
    Ok(())
}

/// What the sessions travel by.
#[derive(Debug, Clone, Copy)]
enum By {
    WebSocket,
    XhrPolling,
}

/// The sessions.
enum Crowd {
    Sockets(Sessions),
    Polls(Polls),
}

impl Crowd {
    fn open(
        net: &mut Net,
        scratch: &mut [u8],
        by: By,
        address: SocketAddr,
        count: usize,
        heart_beat: &'static str,
    ) -> anyhow::Result<Self> {
        Ok(match by {
            By::WebSocket => {
                let plan = Plan {
                    address,
                    count,
                    heart_beat,
                    ack: "client-individual",
                };
                Self::Sockets(Sessions::open(net, scratch, plan)?)
            }
            By::XhrPolling => {
                let plan = polls::Plan {
                    address,
                    count,
                    heart_beat,
                };
                Self::Polls(Polls::open(net, scratch, plan)?)
            }
        })
    }

    fn len(&self) -> usize {
        match self {
            Self::Sockets(sessions) => sessions.len(),
            Self::Polls(polls) => polls.len(),
        }
    }

    fn beat(&mut self, index: usize) -> anyhow::Result<()> {
        match self {
            Self::Sockets(sessions) => {
                let mut beat = Vec::new();
                wire::message(b"\n", &mut beat);
                sessions.send(index, &beat)
            }
            Self::Polls(polls) => polls.beat(index),
        }
    }

    fn ready(&mut self, number: usize, scratch: &mut [u8]) -> anyhow::Result<bool> {
        match self {
            Self::Sockets(sessions) => sessions.ready(number, scratch, |_, _| Ok(())),
            Self::Polls(polls) => polls.ready(number, scratch, |_, _| Ok(())),
        }
    }
}

/// Keeps the sessions alive: reads what comes, and beats in turn so that the beats are spread over the time.
fn stay(net: &mut Net, scratch: &mut [u8], sessions: &mut Crowd, seconds: Duration, beats: bool) -> anyhow::Result<()> {
    let mut ready = Vec::new();
    let start = Instant::now();
    let mut beaten = 0;
    while start.elapsed() < seconds {
        let due = (start.elapsed().as_secs_f64() / BEAT.as_secs_f64() * sessions.len() as f64) as usize;
        while beats && beaten < due {
            sessions.beat(beaten % sessions.len())?;
            beaten += 1;
        }
        net.wait(Duration::from_millis(10), &mut ready)?;
        for number in &ready {
            sessions.ready(*number, scratch)?;
        }
    }
    Ok(())
}
