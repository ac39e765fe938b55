//! The lowest step of reading: takes lines and bodies out of a chunk, and holds what is not complete yet.
//!
//! Looks at each octet once. What it finds, faults too, does not depend on where the chunks were cut: it never looks
//! further than a reader of single octets would have come.

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;

use super::fault::Fault;

/// The chunk, and how far it is read.
pub(super) struct Unread<'a> {
    pub chunk: &'a Bytes,
    pub at: usize,
}

pub(super) enum Line<'a> {
    /// Without its end.
    Whole(Cow<'a, [u8]>),
    /// What came of it is held.
    Unfinished,
    /// What came of it, a little more than the limit, is held.
    OverLimit,
    /// A NUL stands in it.
    Nul,
}

/// The body goes on behind the most that it may have.
pub(super) struct OverLimit;

impl<'a> Unread<'a> {
    /// Reads to the end of the line whose beginning is held.
    pub fn line(&mut self, held: &mut Vec<u8>, limit: usize) -> Line<'a> {
        let rest = &self.chunk[self.at..];
        // Behind `limit` octets there may be a carriage return and a line feed.
        let window = limit.saturating_add(2).saturating_sub(held.len()).min(rest.len());
        let end = rest[..window].iter().position(|octet| matches!(octet, b'\n' | 0));
        let text = &rest[..end.unwrap_or(window)];

        let ends_with_return = text.last().or(held.last()) == Some(&b'\r');
        let length = held.len() + text.len() - usize::from(ends_with_return);
        if length > limit {
            held.extend_from_slice(text);
            return Line::OverLimit;
        }
        let Some(end) = end else {
            held.extend_from_slice(text);
            self.at += window;
            return Line::Unfinished;
        };
        if rest[end] == 0 {
            return Line::Nul;
        }
        self.at += end + 1;
        if held.is_empty() {
            return Line::Whole(Cow::Borrowed(&text[..length]));
        }
        held.extend_from_slice(text);
        held.truncate(length);
        Line::Whole(Cow::Owned(mem::take(held)))
    }

    /// Reads a body of so many octets and the NUL behind it; `None` while some are missing.
    pub fn counted(&mut self, held: &mut Vec<u8>, length: usize) -> Result<Option<Bytes>, Fault> {
        let rest = &self.chunk[self.at..];
        let missing = length - held.len();
        match rest.get(missing) {
            None => {
                hold(held, rest, length);
                self.at += rest.len();
                Ok(None)
            }
            Some(0) => Ok(Some(self.body(held, missing))),
            Some(_) => Err(Fault::NoNulAfterBody { length }),
        }
    }

    /// Reads a body to its NUL; `None` while that has not come.
    pub fn until_nul(&mut self, held: &mut Vec<u8>, most: usize) -> Result<Option<Bytes>, OverLimit> {
        let rest = &self.chunk[self.at..];
        // The octet behind the most that is allowed has to be the NUL.
        let window = (most - held.len()).saturating_add(1).min(rest.len());
        match rest[..window].iter().position(|octet| *octet == 0) {
            Some(end) => Ok(Some(self.body(held, end))),
            None if held.len() + window > most => Err(OverLimit),
            None => {
                hold(held, rest, most);
                self.at += rest.len();
                Ok(None)
            }
        }
    }

    /// The body, of which these octets of the chunk are the rest. A slice of the chunk where all of it is there.
    fn body(&mut self, held: &mut Vec<u8>, rest: usize) -> Bytes {
        let rest_of_body = self.at..self.at + rest;
        self.at = rest_of_body.end + 1;
        if held.is_empty() {
            return self.chunk.slice(rest_of_body);
        }
        held.reserve_exact(rest);
        held.extend_from_slice(&self.chunk[rest_of_body]);
        Bytes::from(mem::take(held))
    }
}

/// Keeps a part of a body. Grows by doubling, so that single octets cost no more than a chunk; but never beyond the
/// most that the body can have, and not before the octets are there: a content-length alone allocates nothing.
fn hold(held: &mut Vec<u8>, part: &[u8], most: usize) {
    if held.capacity() - held.len() < part.len() {
        held.reserve_exact(part.len().max(held.len().min(most - held.len())));
    }
    held.extend_from_slice(part);
}
