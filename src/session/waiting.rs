//! Confirmations whose outcome somebody waits for.

/// The tickets that are open. Bounded by the session, which reads no further while there are many.
#[derive(Debug, Default)]
pub struct Waiting {
    tickets: Vec<Ticket>,
    last: u32,
    /// Confirmations are under way that nobody asked to hear of.
    unheard: bool,
}

#[derive(Debug)]
struct Ticket {
    number: u32,
    /// Confirmations that have not been answered.
    open: usize,
    receipt: Option<String>,
}

impl Waiting {
    /// A new ticket for `receipt`, for which `open` answers will come.
    pub fn issue(&mut self, receipt: Option<String>, open: usize) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.tickets.push(Ticket {
            number: self.last,
            open,
            receipt,
        });
        self.last
    }

    /// Notes a confirmation without a ticket.
    pub fn unheard(&mut self) {
        self.unheard = true;
    }

    /// Whether there were confirmations without a ticket since this was last asked.
    pub fn take_unheard(&mut self) -> bool {
        std::mem::take(&mut self.unheard)
    }

    /// One answer came. With the last one the receipt is due.
    pub fn answered(&mut self, number: u32) -> Option<String> {
        let index = self.find(number)?;
        self.tickets[index].open -= 1;
        if self.tickets[index].open > 0 {
            return None;
        }
        self.tickets.remove(index).receipt
    }

    /// Gives a ticket up, whatever is still open, and hands out its receipt.
    pub fn forget(&mut self, number: u32) -> Option<String> {
        let index = self.find(number)?;
        self.tickets.remove(index).receipt
    }

    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    fn find(&self, number: u32) -> Option<usize> {
        self.tickets.iter().position(|ticket| ticket.number == number)
    }
}
