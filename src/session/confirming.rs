//! Confirmations: what a client says that it has, and what the record says to that.

use super::disconnect::{Disconnect, Reason};
use super::frames::{Turn, excerpt, required};
use super::output::{Confirm, Output, Purpose};
use super::personal;
use crate::domain::id::name_problem;
use crate::stomp::{Frame, Version};

impl Turn<'_> {
    /// `/app/ack`: what is not this user's, or not known, changes nothing.
    pub fn confirm_by_send(&mut self, id: &str) -> Option<Confirm> {
        if let Some(personal) = &mut self.connected.personal
            && let Some(parcel) = personal.outbox.remove(id)
        {
            return parcel.seq().map(|_| Confirm::write(vec![id.to_owned()]));
        }
        if self.connected.recent.find(id).is_some() || name_problem(id).is_some() {
            return None;
        }
        Some(Confirm::write(vec![id.to_owned()]))
    }

    /// ACK and NACK. In mode `client` they speak for all deliveries before, too (STOMP 1.2, ACK); as far as this session holds them: what it has
    /// given up before comes again with the next one.
    pub fn acknowledge(&mut self, frame: &Frame, acked: bool) -> Result<Option<Confirm>, Disconnect> {
        let id = match self.connected.dialect.version() {
            Version::V1_2 => required(frame, "id")?,
            Version::V1_1 => {
                required(frame, "subscription")?;
                required(frame, "message-id")?
            }
            Version::V1_0 => required(frame, "message-id")?,
        };
        let outbox = self.connected.personal.as_mut().map(|personal| &mut personal.outbox);
        let held = outbox.as_ref().and_then(|outbox| outbox.find(id));
        let Some(number) = held.or_else(|| self.connected.recent.find(id)) else {
            if name_problem(id).is_some() {
                return Err(unknown_message(id));
            }
            return Ok(Some(Confirm::recognise(id, acked)));
        };
        let named = frame.headers.get("subscription");
        let cumulative = self.connected.subscriptions.is_cumulative(personal::DESTINATION, named);
        let settled = match outbox {
            Some(outbox) if cumulative => outbox.remove_through(number),
            Some(outbox) => outbox.remove(id).into_iter().collect(),
            None => Vec::new(),
        };
        let persisted = settled.iter().filter(|parcel| parcel.seq().is_some());
        let ids: Vec<_> = persisted.map(|parcel| parcel.id().to_owned()).collect();
        // A NACK ends the re-sends; the rows stay open for the next session.
        Ok((acked && !ids.is_empty()).then(|| Confirm::write(ids)))
    }

    /// Hands confirmations on; the receipt comes when all of them are stored.
    pub fn settle(&mut self, confirms: Vec<Confirm>, receipt: Option<String>) {
        let questions = confirms.iter().filter(|confirm| confirm.is_question()).count();
        self.connected.recognising += questions;
        if confirms.is_empty() {
            self.receipt(receipt);
        } else if receipt.is_some() || questions > 0 {
            let ticket = Some(self.connected.waiting.issue(receipt, confirms.len()));
            for confirm in confirms {
                self.outputs.push(Output::Confirm(Confirm { ticket, ..confirm }));
            }
        } else {
            self.connected.waiting.unheard();
            confirms
                .into_iter()
                .for_each(|confirm| self.outputs.push(Output::Confirm(confirm)));
        }
        // There may be room in the window now.
        self.read_more();
    }

    /// The record answered: `seq` is the place of the (first) id in this user's inbox.
    pub fn confirmed(&mut self, confirm: &Confirm, seq: Option<u64>) -> Result<(), Disconnect> {
        let Some(ticket) = confirm.ticket else {
            return Ok(());
        };
        if let Purpose::Recognise { acked } = confirm.purpose {
            self.connected.recognising -= 1;
            let was_told = seq.is_some_and(|seq| self.connected.told.has(seq));
            // What has no record, and came so long ago that it is forgotten.
            let may_be_told = seq.is_none() && self.connected.recent.forgot();
            if !was_told && !may_be_told {
                let receipt = self.connected.waiting.forget(ticket);
                let id = confirm.ids.first().map_or("", |id| id);
                return Err(unknown_message(id).with_receipt(receipt.as_deref()));
            }
            if was_told && acked {
                self.outputs.push(Output::Confirm(Confirm {
                    ticket: Some(ticket),
                    ..Confirm::write(confirm.ids.clone())
                }));
                return Ok(());
            }
        }
        let receipt = self.connected.waiting.answered(ticket);
        self.receipt(receipt);
        self.leave_if_settled()
    }
}

fn unknown_message(id: &str) -> Disconnect {
    let detail = format!("{}: no MESSAGE with this id was delivered to this session", excerpt(id));
    Disconnect::new(Reason::UnknownMessage, detail)
}
