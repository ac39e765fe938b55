//! A frame on its way in: what is known of it, and the rules by which lines become a frame.
//!
//! Which side was taken where the specifications leave room stands in [`parser`](super::parser).

use std::mem;

use bytes::Bytes;

use super::escape::{UndefinedEscape, encoding_of, unescape};
use super::fault::{EXCERPT, Fault, excerpt};
use super::parser::{Event, Limits};
use super::unread::{Line, OverLimit, Unread};
use super::{CommandSet, Frame, Headers, Version};

/// A frame of which some octets have come.
pub(super) enum Partial<C> {
    Command {
        line: Vec<u8>,
    },
    Headers {
        command: C,
        headers: Headers,
        line: Vec<u8>,
    },
    Body {
        command: C,
        headers: Headers,
        extent: Extent,
        held: Vec<u8>,
    },
}

/// Where a body ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Extent {
    /// After so many octets, which a NUL must follow.
    Counted(usize),
    /// At the first NUL, which must come after so many octets at most.
    UntilNul(usize),
}

impl<C> Default for Partial<C> {
    fn default() -> Partial<C> {
        Partial::Command { line: Vec::new() }
    }
}

impl<C: CommandSet> Partial<C> {
    /// Reads on until the frame is complete, or all that has come is read.
    pub fn advance(
        &mut self,
        unread: &mut Unread<'_>,
        limits: Limits,
        version: Option<Version>,
    ) -> Result<Option<Event<C>>, Fault> {
        loop {
            match self {
                Partial::Command { line } => {
                    let line = match unread.line(line, COMMAND_LINE) {
                        Line::Unfinished => return Ok(None),
                        Line::Whole(line) => line,
                        Line::OverLimit => return Err(Fault::unknown_command(line)),
                        Line::Nul => return Err(Fault::NulBeforeBody),
                    };
                    if line.is_empty() {
                        return Ok(Some(Event::HeartBeat));
                    }
                    // A command that is not UTF-8 is an unknown one.
                    let known = str::from_utf8(&line).ok().and_then(C::read);
                    let command = known.ok_or_else(|| Fault::unknown_command(&line))?;
                    *self = Partial::Headers {
                        command,
                        headers: Headers::with_room(),
                        line: Vec::new(),
                    };
                }
                Partial::Headers { command, headers, line } => {
                    let number = headers.len() + 1;
                    let line = match unread.line(line, limits.header_line) {
                        Line::Unfinished => return Ok(None),
                        Line::Whole(line) => line,
                        Line::OverLimit => {
                            return Err(Fault::LineOverLimit {
                                line: number,
                                limit: limits.header_line,
                            });
                        }
                        Line::Nul => return Err(Fault::NulBeforeBody),
                    };
                    if !line.is_empty() {
                        if number > limits.headers {
                            return Err(Fault::HeadersOverLimit { limit: limits.headers });
                        }
                        push_header(headers, number, &line, encoding_of(*command, version))?;
                        continue;
                    }
                    let extent = extent_of_body(*command, headers, limits, version)?;
                    *self = Partial::Body {
                        command: *command,
                        headers: mem::take(headers),
                        extent,
                        held: Vec::new(),
                    };
                }
                Partial::Body {
                    command,
                    headers,
                    extent,
                    held,
                } => {
                    let body = match *extent {
                        Extent::Counted(length) => unread.counted(held, length)?,
                        Extent::UntilNul(most) => unread.until_nul(held, most).map_err(|OverLimit| match most {
                            0 if !command.may_have_body() => Fault::BodyNotAllowed {
                                command: command.as_str(),
                            },
                            limit => Fault::BodyOverLimit { limit },
                        })?,
                    };
                    return Ok(body.map(|body| {
                        // Only 1.0 comes here with a body that its command must not have.
                        let body = if command.may_have_body() { body } else { Bytes::new() };
                        Event::Frame(Frame {
                            command: *command,
                            headers: mem::take(headers),
                            body,
                        })
                    }));
                }
            }
        }
    }

    /// The frame's `receipt` header, if it has come.
    pub fn receipt(&self) -> Option<&str> {
        match self {
            Partial::Command { .. } => None,
            Partial::Headers { headers, .. } | Partial::Body { headers, .. } => headers.get("receipt"),
        }
    }
}

/// The longest command has eleven letters; a line as long as what we would quote of it names none.
const COMMAND_LINE: usize = EXCERPT;

fn push_header(headers: &mut Headers, line: usize, octets: &[u8], encoding: Option<Version>) -> Result<(), Fault> {
    let text = str::from_utf8(octets).map_err(|_| Fault::NotUtf8 { line })?;
    let (name, value) = text.split_once(':').ok_or(Fault::NoColon {
        line,
        octets: octets.len(),
    })?;
    if name.is_empty() {
        return Err(Fault::NoName { line });
    }
    match encoding {
        None => headers.push(name, value),
        Some(Version::V1_0) => headers.push(name, value.trim_matches(' ')),
        Some(Version::V1_2) if text.contains('\r') => return Err(Fault::CarriageReturn { line }),
        Some(version @ (Version::V1_1 | Version::V1_2)) => headers
            .push_with(
                |into| unescape(version, name, into),
                |into| unescape(version, value, into),
            )
            .map_err(|UndefinedEscape(escaped)| Fault::undefined_escape(name, escaped, version))?,
    }
    Ok(())
}

/// Where the body ends, once all headers are known; refuses what its header already shows to be wrong or too large,
/// before any of it is waited for.
fn extent_of_body<C: CommandSet>(
    command: C,
    headers: &Headers,
    limits: Limits,
    version: Option<Version>,
) -> Result<Extent, Fault> {
    let allowed = command.may_have_body() || version == Some(Version::V1_0);
    let Some(declared) = headers.get("content-length") else {
        return Ok(Extent::UntilNul(if allowed { limits.body } else { 0 }));
    };
    // `str::parse` would take a plus sign.
    if declared.is_empty() || !declared.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(Fault::ContentLength {
            value: excerpt(declared),
        });
    }
    // All are digits, so what does not fit into a number is a large one.
    match declared.parse::<usize>() {
        Ok(length) if length > 0 && !allowed => Err(Fault::BodyNotAllowed {
            command: command.as_str(),
        }),
        Ok(length) if length <= limits.body => Ok(Extent::Counted(length)),
        _ => Err(Fault::ContentLengthOverLimit {
            declared: excerpt(declared),
            limit: limits.body,
        }),
    }
}
