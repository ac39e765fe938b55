//! Frames that wait for their COMMIT, within bounds (STOMP 1.2, BEGIN).

use bytes::Bytes;

use crate::stomp::Frame;

/// The open transactions of a session, with all their frames. Holds no memory while there are none.
#[derive(Debug, Default)]
pub struct Transactions {
    open: Vec<(Box<str>, Vec<Frame>)>,
    frames: usize,
    bytes: usize,
}

/// How much may wait, over all transactions of a session.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub transactions: usize,
    pub frames: usize,
    pub bytes: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    Exists,
    Unknown,
    /// The bound of this name is exceeded.
    Full(&'static str, usize),
}

impl Transactions {
    pub fn begin(&mut self, name: &str, bounds: &Bounds) -> Result<(), Fault> {
        if self.find(name).is_some() {
            return Err(Fault::Exists);
        }
        if self.open.len() >= bounds.transactions {
            return Err(Fault::Full("session.max_transactions", bounds.transactions));
        }
        self.open.push((name.into(), Vec::new()));
        Ok(())
    }

    pub fn add(&mut self, name: &str, mut frame: Frame, bounds: &Bounds) -> Result<(), Fault> {
        let index = self.find(name).ok_or(Fault::Unknown)?;
        let bytes = weight(&frame);
        if self.frames + 1 > bounds.frames {
            return Err(Fault::Full("session.max_transaction_frames", bounds.frames));
        }
        if self.bytes + bytes > bounds.bytes {
            return Err(Fault::Full("session.max_transaction_bytes", bounds.bytes));
        }
        // The body may be a slice of a large chunk, all of which it would keep for as long as the transaction is open.
        frame.body = Bytes::copy_from_slice(&frame.body);
        self.frames += 1;
        self.bytes += bytes;
        self.open[index].1.push(frame);
        Ok(())
    }

    /// Ends a transaction, by COMMIT or ABORT, and hands out its frames in order.
    pub fn end(&mut self, name: &str) -> Result<Vec<Frame>, Fault> {
        let index = self.find(name).ok_or(Fault::Unknown)?;
        let (_, frames) = self.open.remove(index);
        self.frames -= frames.len();
        self.bytes -= frames.iter().map(weight).sum::<usize>();
        Ok(frames)
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.open.iter().position(|(open, _)| &**open == name)
    }
}

fn weight(frame: &Frame) -> usize {
    let headers: usize = frame.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    headers + frame.body.len()
}
