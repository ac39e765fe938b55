//! Publish → delivery, and publish → outcome stored, at a constant rate: each session confirms with an ACK that asks for a receipt, and the
//! receipt of a confirmation leaves after its outcome is stored.
//!
//! Open loop: notification `i` is meant to leave at `start + i / rate`, and its times count from there, whether or not a connection was free
//! or this process came to it. So a server that stalls cannot hide the notifications that it kept from being sent.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::Options;
use crate::line::{self, Net};
use crate::machine;
use crate::producers::Producers;
use crate::server::Server;
use crate::sessions::{Plan, Sessions};
use crate::stats::{Bar, Samples, Table, ms};
use crate::wire;

/// More than the bound needs: at 2,000 a second and 10 ms an answer, 20 are busy.
const CONNECTIONS: usize = 64;

/// At first connections are cold; these are sent and not counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// How long the last ones may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Spreads neighbours over the sessions.
const STRIDE: u64 = 7_919;

pub fn run(options: &Options, table: &mut Table) -> anyhow::Result<()> {
    let seconds = options.time(20.0, 2.0);
    let rate = options.pick(options.rate, 2_000, 500);
    let plan = |server: &Server| Plan {
        address: server.address,
        count: options.pick(options.sessions, 1_000, 200),
        heart_beat: "10000,10000",
        ack: "client-individual",
    };
    let server = Server::start(options)?;
    let plan = plan(&server);
    table.section(&format!(
        "latency: {rate} a second to {} sessions for {} s",
        plan.count,
        seconds.as_secs_f64()
    ));
    let mut net = Net::new()?;
    let mut scratch = line::scratch();
    let sessions = Sessions::open(&mut net, &mut scratch, plan)?;
    let producers = Producers::open(&mut net, server.address, CONNECTIONS)?;
    let interval = Duration::from_secs(1) / u32::try_from(rate)?;
    let count = ((WARM_UP + seconds).as_secs_f64() * rate as f64) as usize;
    let mut bench = Bench {
        sessions,
        producers,
        start: Instant::now() + Duration::from_millis(100),
        interval,
        notes: vec![Note::default(); count],
        again: 0,
        acked: 0,
    };
    let (cpu, own) = (server.cpu()?, machine::cpu("self")?);
    let begun = Instant::now();
    bench.run(&mut net, &mut scratch)?;
    let took = begun.elapsed().as_secs_f64();
    let share = |now: Duration, before: Duration| (now - before).as_secs_f64() / took * 100.0;
    let (cpu, own) = (share(server.cpu()?, cpu), share(machine::cpu("self")?, own));

    let warm = (WARM_UP.as_secs_f64() * rate as f64) as usize;
    let measured = &bench.notes[warm..];
    const BAR: Bar = Bar::AtMost(50.0);
    row(table, "publish to delivery", measured, |note| note.delivered, BAR)?;
    row(table, "publish to ack stored", measured, |note| note.acked, Bar::None)?;
    row(
        table,
        "publish to receipt of the producer",
        measured,
        |note| note.accepted,
        Bar::None,
    )?;
    row(
        table,
        "sent later than meant, by this process",
        measured,
        |note| note.sent,
        Bar::None,
    )?;
    table.row(
        "deliveries that came again (5 s without ack)",
        bench.again as f64,
        "",
        Bar::None,
    );
    table.row("CPU of the server, of one core", cpu, "%", Bar::None);
    table.row("CPU of the generator, of one core", own, "%", Bar::None);
    let per_million = cpu / 100.0 * took / bench.notes.len() as f64 * 1e6;
    table.row("CPU of the server", per_million, "s/million", Bar::None);
    Ok(())
}

fn row(
    table: &mut Table,
    what: &str,
    notes: &[Note],
    time: fn(&Note) -> Option<Duration>,
    bar: Bar,
) -> anyhow::Result<()> {
    let mut samples = Samples::default();
    for note in notes {
        samples.push(time(note).context("something did not come")?);
    }
    samples.sort();
    table.row(&format!("{what}, p50"), ms(samples.percentile(0.5)), "ms", Bar::None);
    table.row(&format!("{what}, p99"), ms(samples.percentile(0.99)), "ms", bar);
    table.row(&format!("{what}, max"), ms(samples.max()), "ms", Bar::None);
    Ok(())
}

struct Bench {
    sessions: Sessions,
    producers: Producers,
    start: Instant,
    interval: Duration,
    notes: Vec<Note>,
    again: usize,
    acked: usize,
}

/// What became of one notification, and when, from the moment at which it was meant to leave.
#[derive(Debug, Clone, Default)]
struct Note {
    sent: Option<Duration>,
    accepted: Option<Duration>,
    delivered: Option<Duration>,
    acked: Option<Duration>,
}

impl Bench {
    fn run(&mut self, net: &mut Net, scratch: &mut [u8]) -> anyhow::Result<()> {
        let mut ready = Vec::new();
        let mut next = 0;
        let end = self.meant(self.notes.len()) + PATIENCE;
        while self.acked < self.notes.len() {
            while next < self.notes.len() && self.meant(next) <= Instant::now() && self.producers.has_idle() {
                let user = next as u64 * STRIDE % self.sessions.len() as u64;
                let body = wire::notification(&format!(r#""receiver":"test{user}""#), next as u64);
                self.producers.send(&wire::post(&body), next as u64)?;
                self.notes[next].sent = Some(self.since(next));
                next += 1;
            }
            let count = self.notes.len();
            ensure!(
                Instant::now() < end,
                "{} of {count} were not confirmed in {PATIENCE:?}",
                count - self.acked
            );
            let due = self.meant(next).saturating_duration_since(Instant::now());
            let full = !self.producers.has_idle() || next == count;
            net.wait(if full { Duration::from_millis(100) } else { due }, &mut ready)?;
            for number in &ready {
                self.ready(*number, scratch)?;
            }
        }
        Ok(())
    }

    fn ready(&mut self, number: usize, scratch: &mut [u8]) -> anyhow::Result<()> {
        let (start, interval, notes) = (self.start, self.interval, &mut self.notes);
        let since = |index: usize| start.elapsed().saturating_sub(interval * index as u32);
        let was_producer = self.producers.ready(number, scratch, |about| {
            let index = about as usize;
            notes[index].accepted = Some(since(index));
        })?;
        if was_producer {
            return Ok(());
        }
        let mut acks = Vec::new();
        let mut session = 0;
        let (again, acked) = (&mut self.again, &mut self.acked);
        self.sessions.ready(number, scratch, |index, frame| {
            session = index;
            if let Some(receipt) = wire::header(frame, "receipt-id") {
                let index: usize = receipt.parse()?;
                ensure!(
                    notes[index].acked.replace(since(index)).is_none(),
                    "a second receipt for {index}"
                );
                *acked += 1;
                return Ok(());
            }
            let index = wire::number(frame)? as usize;
            if notes[index].delivered.is_some() {
                *again += 1;
                return Ok(());
            }
            notes[index].delivered = Some(since(index));
            let id = wire::header(frame, "ack").context("a MESSAGE without ack")?;
            wire::frame("ACK", &[("id", id), ("receipt", &index.to_string())], &mut acks);
            Ok(())
        })?;
        if !acks.is_empty() {
            self.sessions.send(session, &acks)?;
        }
        Ok(())
    }

    /// When this notification is meant to leave.
    fn meant(&self, index: usize) -> Instant {
        self.start + self.interval * index as u32
    }

    fn since(&self, index: usize) -> Duration {
        self.meant(index).elapsed()
    }
}
