//! STOMP sessions over SockJS's xhr-polling: a connection each on which a request always waits, and a few that bring what the clients send, as a
//! proxy's would.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::line::{Line, Net};
use crate::wire;

/// How sessions are opened.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub address: SocketAddr,
    /// How many; session `i` is the only one of user `test{i}`.
    pub count: usize,
    /// The header of CONNECT.
    pub heart_beat: &'static str,
}

pub struct Polls {
    first: usize,
    all: Vec<Poll>,
    senders: Senders,
}

struct Poll {
    line: Line,
    phase: Phase,
    /// The request that waits; sent anew after each answer.
    request: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Connecting,
    Subscribing,
    Ready,
}

struct Senders {
    first: usize,
    lines: Vec<Line>,
    idle: Vec<usize>,
    waiting: VecDeque<Vec<u8>>,
}

const AT_ONCE: usize = 128;
const SENDERS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(120);

impl Polls {
    /// Opens them all, and returns when all are subscribed.
    pub fn open(net: &mut Net, scratch: &mut [u8], plan: Plan) -> anyhow::Result<Self> {
        let senders = Senders::open(net, plan.address)?;
        let mut polls = Self {
            first: net.next_number(),
            all: Vec::with_capacity(plan.count),
            senders,
        };
        let mut ready = Vec::new();
        let mut open = 0;
        let deadline = Instant::now() + PATIENCE;
        while open < plan.count {
            ensure!(
                Instant::now() < deadline,
                "{open} of {} sessions came to be in {PATIENCE:?}",
                plan.count
            );
            while polls.all.len() < plan.count && polls.all.len() - open < AT_ONCE {
                let mut line = net.connect(plan.address)?;
                let request = post(polls.all.len(), "xhr", "");
                line.send(&request)?;
                polls.all.push(Poll {
                    line,
                    phase: Phase::Opening,
                    request,
                });
            }
            net.wait(Duration::from_secs(1), &mut ready)?;
            for number in &ready {
                polls.advance(*number, scratch, plan.heart_beat, |_| open += 1, |_, _| Ok(()))?;
            }
        }
        Ok(polls)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Something happened to the line with this number: hands every STOMP frame of a session that is ready, and its index, to `each`.
    pub fn ready(
        &mut self,
        number: usize,
        scratch: &mut [u8],
        each: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        self.advance(number, scratch, "", |_| {}, each)
    }

    /// Sends a session's heart-beat.
    pub fn beat(&mut self, index: usize) -> anyhow::Result<()> {
        self.senders.send(message(index, "\n"))
    }

    fn advance(
        &mut self,
        number: usize,
        scratch: &mut [u8],
        heart_beat: &str,
        mut opened: impl FnMut(usize),
        mut each: impl FnMut(usize, &[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        if self.senders.ready(number, scratch)? {
            return Ok(true);
        }
        let Some(index) = number.checked_sub(self.first).filter(|index| *index < self.all.len()) else {
            return Ok(false);
        };
        let Poll { line, phase, request } = &mut self.all[index];
        line.resume()?;
        let senders = &mut self.senders;
        let mut answered = false;
        line.receive(scratch, |bytes| {
            let Some(answer) = wire::answer(bytes)?.filter(|answer| answer.end <= bytes.len()) else {
                return Ok(0);
            };
            ensure!(answer.status == 200, "a poll was answered with {}", answer.status);
            let frame = std::str::from_utf8(&bytes[answer.body..answer.end])?.trim_end();
            answered = true;
            if frame == "o" {
                let head = format!("CONNECT\naccept-version:1.2\nhost:bench\nheart-beat:{heart_beat}\nAuthorization:test{index}\n\n\0");
                senders.send(message(index, &head))?;
                *phase = Phase::Connecting;
                return Ok(answer.end);
            }
            let Some(array) = frame.strip_prefix('a') else {
                ensure!(frame == "h", "session {index} got {frame}");
                return Ok(answer.end);
            };
            for chunk in serde_json::from_str::<Vec<String>>(array).context("no array of strings")? {
                for frame in chunk.split('\0').map(str::trim_start).filter(|frame| !frame.is_empty()) {
                    match *phase {
                        Phase::Connecting if frame.starts_with("CONNECTED") => {
                            let head = "SUBSCRIBE\nid:0\ndestination:/user/queue/msg\nack:client-individual\nreceipt:subscribed\n\n\0";
                            senders.send(message(index, head))?;
                            *phase = Phase::Subscribing;
                        }
                        Phase::Subscribing if frame.starts_with("RECEIPT") => {
                            *phase = Phase::Ready;
                            opened(index);
                        }
                        Phase::Ready if !frame.starts_with("ERROR") => each(index, frame.as_bytes())?,
                        phase => bail!("session {index}, {phase:?}, got {frame}"),
                    }
                }
            }
            Ok(answer.end)
        })?;
        if answered {
            line.send(request)?;
        }
        Ok(true)
    }
}

impl Senders {
    fn open(net: &mut Net, address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            first: net.next_number(),
            lines: (0..SENDERS).map(|_| net.connect(address)).collect::<Result<_, _>>()?,
            idle: (0..SENDERS).collect(),
            waiting: VecDeque::new(),
        })
    }

    fn send(&mut self, request: Vec<u8>) -> anyhow::Result<()> {
        match self.idle.pop() {
            Some(index) => Ok(self.lines[index].send(&request)?),
            None => {
                self.waiting.push_back(request);
                Ok(())
            }
        }
    }

    fn ready(&mut self, number: usize, scratch: &mut [u8]) -> anyhow::Result<bool> {
        let Some(index) = number.checked_sub(self.first).filter(|index| *index < self.lines.len()) else {
            return Ok(false);
        };
        let line = &mut self.lines[index];
        line.resume()?;
        let mut answered = false;
        line.receive(scratch, |bytes| {
            let Some(answer) = wire::answer(bytes)? else {
                return Ok(0);
            };
            ensure!(answer.status == 204, "xhr_send was answered with {}", answer.status);
            answered = true;
            Ok(answer.end)
        })?;
        if answered {
            self.idle.push(index);
            if let Some(request) = self.waiting.pop_front() {
                self.send(request)?;
            }
        }
        Ok(true)
    }
}

fn message(index: usize, text: &str) -> Vec<u8> {
    post(index, "xhr_send", &serde_json::json!([text]).to_string())
}

fn post(index: usize, verb: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST /stomp-ws/000/bench{index}/{verb} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}
