//! Many non-blocking sockets on one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Waits for sockets. Each has a number, given in the order of their coming.
pub struct Net {
    poll: Poll,
    events: Events,
    lines: usize,
}

impl Net {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            lines: 0,
        })
    }

    /// The number that the next line gets.
    pub fn next_number(&self) -> usize {
        self.lines
    }

    pub fn connect(&mut self, address: SocketAddr) -> io::Result<Line> {
        self.adopt(std::net::TcpStream::connect(address)?)
    }

    pub fn adopt(&mut self, stream: std::net::TcpStream) -> io::Result<Line> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut stream, Token(self.lines), interest)?;
        self.lines += 1;
        Ok(Line {
            stream,
            partial: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Waits, then puts the numbers of the lines that something happened to into `ready`.
    pub fn wait(&mut self, limit: Duration, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        match self.poll.poll(&mut self.events, Some(limit)) {
            Ok(()) => ready.extend(self.events.iter().map(|event| event.token().0)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Room for what one socket has to say; one for all lines of a thread.
pub fn scratch() -> Vec<u8> {
    vec![0; 64 * 1024]
}

/// One socket. Holds no memory between whole messages.
pub struct Line {
    stream: TcpStream,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl Line {
    /// Sends, and keeps what the socket doesn't take until [`Line::resume`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend(bytes);
            return Ok(());
        }
        let sent = write(&mut self.stream, bytes)?;
        self.unsent.extend(&bytes[sent..]);
        Ok(())
    }

    /// Goes on with what was not sent.
    pub fn resume(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let sent = write(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(())
    }

    /// Reads all there is. `take` gets what is not taken yet, and answers how much of it makes whole messages.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]) -> anyhow::Result<usize>,
    ) -> anyhow::Result<()> {
        loop {
            let count = match self.stream.read(scratch) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if self.partial.is_empty() {
                let taken = take(&scratch[..count])?;
                self.partial.extend(&scratch[taken..count]);
            } else {
                self.partial.extend(&scratch[..count]);
                let taken = take(&self.partial)?;
                self.partial.drain(..taken);
                if self.partial.is_empty() {
                    self.partial = Vec::new();
                }
            }
            if count < scratch.len() {
                // The socket is empty (epoll(7)); what comes now is another event.
                return Ok(());
            }
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
