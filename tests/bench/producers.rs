//! Keep-alive connections that publish over HTTP.

use std::net::SocketAddr;

use anyhow::ensure;

use crate::line::{Line, Net};
use crate::wire;

pub struct Producers {
    first: usize,
    lines: Vec<Producer>,
    idle: Vec<usize>,
}

struct Producer {
    line: Line,
    /// What the request under way is about.
    about: u64,
}

impl Producers {
    pub fn open(net: &mut Net, address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let first = net.next_number();
        let lines: Vec<_> = (0..count)
            .map(|_| {
                Ok(Producer {
                    line: net.connect(address)?,
                    about: 0,
                })
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            first,
            lines,
            idle: (0..count).collect(),
        })
    }

    /// Whether a request can be sent now.
    pub fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    pub fn all_idle(&self) -> bool {
        self.idle.len() == self.lines.len()
    }

    /// Sends a request on a connection that waits for no answer; there must be one.
    pub fn send(&mut self, request: &[u8], about: u64) -> anyhow::Result<()> {
        let index = self.idle.pop().expect("the caller looked");
        let producer = &mut self.lines[index];
        producer.about = about;
        Ok(producer.line.send(request)?)
    }

    /// Something happened to the line with this number. Every answer must be 202: `accepted` gets what its request was about. Answers whether
    /// the line was one of these.
    pub fn ready(&mut self, number: usize, scratch: &mut [u8], mut accepted: impl FnMut(u64)) -> anyhow::Result<bool> {
        let Some(index) = number.checked_sub(self.first).filter(|index| *index < self.lines.len()) else {
            return Ok(false);
        };
        let producer = &mut self.lines[index];
        producer.line.resume()?;
        let (about, idle) = (producer.about, &mut self.idle);
        producer.line.receive(scratch, |bytes| {
            let Some(answer) = wire::answer(bytes)?.filter(|answer| answer.end <= bytes.len()) else {
                return Ok(0);
            };
            let body = String::from_utf8_lossy(&bytes[answer.body..answer.end]);
            ensure!(
                answer.status == 202,
                "a notification was answered with {}: {body}",
                answer.status
            );
            accepted(about);
            idle.push(index);
            Ok(answer.end)
        })?;
        Ok(true)
    }
}
