//! Turns chunks of bytes into STOMP frames, however the frames were split and glued on their way.
//!
//! Never blocks, never looks at an octet twice, and never holds more of an unfinished frame than [`Limits`] allow (the
//! allocator may round the headers up, to twice that). Between frames it holds no heap memory at all: idle sessions
//! are what a notification server mostly has. After the first fault it yields nothing more.
//!
//! # Why one event at a time
//! CONNECT decides the version, and the version decides how the frame behind it is read, which may lie in the same
//! chunk. So the caller takes CONNECT, calls [`Parser::set_version`], and pulls on.
//!
//! # Where the specifications leave room
//! - **Line ends.** `\r\n` ends a line in every version, although 1.0 and 1.1 know `\n` only: clients that frame with
//!   `\r\n` do so whatever they negotiated. A carriage return elsewhere is part of the text in 1.0 and 1.1, and
//!   refused in 1.2, whose grammar excludes it.
//! - **EOLs between frames** are heart-beats, each an event. So are those behind a frame's NUL: nobody can tell.
//! - **Escapes** as in [`escape`](super::escape). Names are unescaped as values are. Before the version is set nothing
//!   is unescaped: only CONNECT has any business there.
//! - **A bare colon in a value** is taken as it is, although 1.1 and 1.2 ask for `\c`: stompjs 2.3.3 never escapes,
//!   and the first colon ends the name without doubt.
//! - **Padding.** 1.1 and 1.2 forbid to trim. 1.0's own examples pad (`destination: /queue/foo`), so in 1.0 spaces
//!   around a value go. Those of CONNECT stay, as its version is not known yet and a passcode may begin with a space.
//! - **Bodies** stand on SEND, MESSAGE and ERROR only; on another frame they are a fault. 1.0 has no such rule and has
//!   the body of SUBSCRIBE ignored: there, such bodies are read and dropped.
//! - **NUL in a command or a header** is a fault, though the grammar would allow it: what it means in practice is that
//!   the empty line is missing, and waiting for it would join two frames to one.
//! - **Commands** are one set for all versions: a NACK or STOMP from a 1.0 session is harmless.

use std::{fmt, mem};

use bytes::{Buf, Bytes};

use super::partial::Partial;
use super::unread::Unread;
use super::{Command, CommandSet, Frame, ParseError, ServerCommand, Version};

/// How large a frame may be (STOMP 1.2, Size Limits). Each is refused as soon as it is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a body.
    pub body: usize,
    /// Headers of a frame.
    pub headers: usize,
    /// Octets of one header line as on the wire: name, colon and value, without the line's end.
    pub header_line: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body: 64 * 1024,
            headers: 64,
            header_line: 8 * 1024,
        }
    }
}

/// What the peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<C = Command> {
    Frame(Frame<C>),
    /// An end-of-line between frames.
    HeartBeat,
}

/// Reads one side of a connection; that of the client unless said otherwise.
///
/// Feed a chunk, then pull until there is nothing:
/// ```
/// # use quick_notify::stomp::{Event, Limits, Parser, Version};
/// let mut parser = Parser::new(Limits::default());
/// parser.feed("CONNECT\naccept-version:1.2\n\n\0".into());
/// while let Some(event) = parser.next()? {
///     let Event::Frame(connect) = event else { continue };
///     parser.set_version(Version::negotiate(connect.headers.get("accept-version")).unwrap());
/// }
/// # Ok::<(), quick_notify::stomp::ParseError>(())
/// ```
pub struct Parser<C = Command> {
    /// What was fed and not read yet. `Bytes::new()` when all was read, so that the chunk can be freed.
    input: Bytes,
    state: State<C>,
    limits: Limits,
    version: Option<Version>,
}

enum State<C> {
    BetweenFrames,
    Within(Box<Partial<C>>),
    /// There was a fault. What follows it has no known beginning, so nothing of it is processed.
    Poisoned,
}

impl Parser {
    /// For a server: reads what a client sends.
    pub fn new(limits: Limits) -> Parser {
        Parser::of(limits)
    }
}

impl Parser<ServerCommand> {
    /// For a client: reads what a server sends.
    pub fn of_server(limits: Limits) -> Parser<ServerCommand> {
        Parser::of(limits)
    }
}

impl<C: CommandSet> Parser<C> {
    fn of(limits: Limits) -> Parser<C> {
        Parser {
            input: Bytes::new(),
            state: State::BetweenFrames,
            limits,
            version: None,
        }
    }

    /// How the frames behind the one that was just pulled are to be read.
    pub fn set_version(&mut self, version: Version) {
        self.version = Some(version);
    }

    /// Takes what came from the network. Pull with [`next`](Parser::next) until `None` before feeding again: chunks
    /// that pile up are joined, which costs a copy, and no limit holds for them.
    pub fn feed(&mut self, chunk: Bytes) {
        if matches!(self.state, State::Poisoned) {
            return;
        }
        if self.input.is_empty() {
            self.input = chunk;
            return;
        }
        let unread = mem::take(&mut self.input);
        let mut joined = unread.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
        joined.extend_from_slice(&chunk);
        self.input = joined.freeze();
    }

    /// The next event, or `None` when more bytes are needed. After an error, `None` for ever.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would be borrowed while the version has to be set"
    )]
    pub fn next(&mut self) -> Result<Option<Event<C>>, ParseError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        if matches!(self.state, State::BetweenFrames) && self.input[0] == b'\n' {
            // The usual heart-beat; a message may hold a million of them.
            self.read(1);
            return Ok(Some(Event::HeartBeat));
        }
        // Poisoned until the step is found to have gone well.
        let mut partial = match mem::replace(&mut self.state, State::Poisoned) {
            State::BetweenFrames => Box::default(),
            State::Within(partial) => partial,
            State::Poisoned => return Ok(None),
        };

        let mut unread = Unread {
            chunk: &self.input,
            at: 0,
        };
        let step = partial.advance(&mut unread, self.limits, self.version);
        let read = unread.at;
        let event = match step {
            Ok(event) => event,
            Err(fault) => {
                self.input = Bytes::new();
                return Err(ParseError::new(fault, partial.receipt()));
            }
        };

        self.read(read);
        self.state = match event {
            Some(_) => State::BetweenFrames,
            None => State::Within(partial),
        };
        Ok(event)
    }

    fn read(&mut self, octets: usize) {
        self.input.advance(octets);
        if self.input.is_empty() {
            // An empty rest of a chunk would keep all of the chunk in memory.
            self.input = Bytes::new();
        }
    }
}

/// Without what was fed: it may be half a token.
impl<C> fmt::Debug for Parser<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::BetweenFrames => "between frames",
            State::Within(_) => "within a frame",
            State::Poisoned => "poisoned",
        };
        f.debug_struct("Parser")
            .field("state", &state)
            .field("unread", &self.input.len())
            .field("limits", &self.limits)
            .field("version", &self.version)
            .finish()
    }
}
