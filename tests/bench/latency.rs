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
    let array = options.array.unwrap_or(1) as usize;
    let plan = |server: &Server| Plan {
        address: server.edge(),
        count: options.pick(options.sessions, 1_000, 200),
        heart_beat: "10000,10000",
        ack: "client-individual",
    };
    let server = Server::start(options)?;
    let plan = plan(&server);
    table.section(&format!(
        "latency: {rate} a second, {array} a request, to {} sessions for {} s",
        plan.count,
        seconds.as_secs_f64()
    ));
    let mut net = Net::new()?;
    let mut scratch = line::scratch();
    let sessions = Sessions::open(&mut net, &mut scratch, plan)?;
    let producers = Producers::open(&mut net, server.door(), CONNECTIONS)?;
    let interval = Duration::from_secs(1) / u32::try_from(rate)?;
    let count = ((WARM_UP + seconds).as_secs_f64() * rate as f64) as usize / array * array;
    let mut bench = Bench {
        sessions,
        producers,
        start: Instant::now() + Duration::from_millis(100),
        interval,
        array,
        notes: vec![Note::default(); count],
        again: 0,
        acked: 0,
    };
    let (shares, own) = (server.shares()?, machine::cpu("self")?);
    let begun = Instant::now();
    bench.run(&mut net, &mut scratch)?;
    let took = begun.elapsed().as_secs_f64();
    let share = |now: Duration, before: Duration| (now - before).as_secs_f64() / took * 100.0;
    let own = share(machine::cpu("self")?, own);
    let shares: Vec<_> = server
        .shares()?
        .into_iter()
        .zip(shares)
        .map(|((name, now), (_, before))| (name, share(now, before)))
        .collect();

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
    for (name, cpu) in &shares {
        table.row(&format!("CPU of {name}, of one core"), *cpu, "%", Bar::None);
    }
    table.row("CPU of the generator, of one core", own, "%", Bar::None);
    let all: f64 = shares.iter().map(|(_, cpu)| cpu).sum();
    let per_million = all / 100.0 * took / bench.notes.len() as f64 * 1e6;
    table.row("CPU of all servers", per_million, "s/million", Bar::None);
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
    /// Notifications in a request, for as many users; all of them are meant to leave with the first.
    array: usize,
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
                let item = |index: usize| {
                    let user = index as u64 * STRIDE % self.sessions.len() as u64;
                    wire::notification(&format!(r#""receiver":"test{user}""#), index as u64)
                };
                let body = match self.array {
                    1 => item(next),
                    _ => format!(
                        "[{}]",
                        (next..next + self.array).map(item).collect::<Vec<_>>().join(",")
                    ),
                };
                self.producers.send(&wire::post(&body), next as u64)?;
                let sent = Some(self.since(next));
                self.notes[next..next + self.array].fill_with(|| Note {
                    sent,
                    ..Note::default()
                });
                next += self.array;
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
        let (start, interval, array, notes) = (self.start, self.interval, self.array, &mut self.notes);
        let since = |index: usize| {
            start
                .elapsed()
                .saturating_sub(interval * (index / array * array) as u32)
        };
        let was_producer = self.producers.ready(number, scratch, |about| {
            let index = about as usize;
            for note in &mut notes[index..index + array] {
                note.accepted = Some(since(index));
            }
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
        self.start + self.interval * (index / self.array * self.array) as u32
    }

    fn since(&self, index: usize) -> Duration {
        self.meant(index).elapsed()
    }
}
