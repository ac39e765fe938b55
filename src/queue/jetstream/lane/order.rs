//! Which of the messages that arrive are the next ones of the lane. Pure.
//!
//! The server numbers a consumer's deliveries; a reset begins again at 1, with the first entry that is not settled. So a delivery is the next
//! one if its number is, and whatever else happens (a message lost with a connection, a redelivery behind newer ones, another node's reset, a
//! server that forgot) shows as another number, and is answered by a reset: order is kept, and nothing is left out.

/// How far a lane has come on this node.
#[derive(Debug, Default)]
pub struct Order {
    /// The number of the next delivery; `None` right after a reset, when only the first will do.
    expected: Option<u64>,
    /// The last entry that was taken, by its sequence in the stream.
    taken: u64,
    /// The last entry that was settled here.
    settled: u64,
    /// A reset has to be asked for; until it is answered whatever comes is from before.
    wants_reset: bool,
}

/// What to do with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next entry.
    Take,
    /// The entry is here already: leave it.
    Have,
    /// The entry was settled; its ack was lost.
    AckAgain,
    /// It is from before a reset, or something before it was lost: it comes again.
    Drop,
}

impl Order {
    /// A delivery, by its number and its entry's sequence.
    pub fn arrived(&mut self, delivery: u64, sequence: u64) -> Verdict {
        if self.wants_reset {
            return Verdict::Drop;
        }
        match self.expected {
            // Someone, perhaps this node, has reset the consumer.
            _ if delivery == 1 => {}
            Some(expected) if delivery == expected => {}
            Some(_) => {
                self.wants_reset = true;
                return Verdict::Drop;
            }
            None => return Verdict::Drop,
        }
        self.expected = Some(delivery + 1);
        if sequence > self.taken {
            self.taken = sequence;
            Verdict::Take
        } else if sequence <= self.settled {
            Verdict::AckAgain
        } else {
            Verdict::Have
        }
    }

    /// Forgets everything, as a new holder; goes on with the delivery `first` if it is the first there is, and wants a reset otherwise.
    pub fn begin(&mut self, first: u64) {
        *self = Self {
            expected: Some(first),
            wants_reset: first != 1,
            ..Self::default()
        };
    }

    /// Forgets everything and begins at the first entry that is not settled.
    pub fn begin_again(&mut self) {
        *self = Self {
            wants_reset: true,
            ..Self::default()
        };
    }

    pub fn settled(&mut self, through: u64) {
        self.settled = self.settled.max(through);
    }

    pub fn wants_reset(&self) -> bool {
        self.wants_reset
    }

    pub fn want_reset(&mut self) {
        self.wants_reset = true;
    }

    /// A reset is about to be asked for.
    pub fn resetting(&mut self) {
        self.expected = None;
    }

    /// The server has done it: what comes from here on, from the first delivery, is in order.
    pub fn was_reset(&mut self) {
        self.wants_reset = false;
        self.expected = None;
    }

    /// The number of the last delivery that was seen in order.
    pub fn delivered(&self) -> u64 {
        self.expected.map_or(0, |expected| expected - 1)
    }
}
