//! STOMP 1.0, 1.1 and 1.2 as bytes: chunks go in, frames come out, and frames become bytes again.
//!
//! Pure: no I/O, no clock, no logging. Nothing here knows of sessions, users or destinations; whether a frame is
//! allowed *now* (a SEND before CONNECT, a second CONNECT) is the session's to say.
//!
//! - [`Parser`] reads, one [`Event`] at a time, since the CONNECT frame decides how the frames behind it are read;
//! - [`FrameWriter`] and [`encode()`] write;
//! - [`HeartBeat`] knows when to beat and when the peer is dead.
//!
//! # Why two sets of commands
//! A server reads [`Command`] and writes [`ServerCommand`]; our own client does the opposite. They are two types, so
//! that a session never has to say what it would do with a MESSAGE that a client sent: such a frame does not parse.
//!
//! # Why escapes stand in one file
//! Reading and writing must be each other's inverse in each version; `escape` holds both directions side by side.

mod encode;
mod escape;
mod fault;
mod frame;
mod heartbeat;
mod parser;
mod partial;
mod unread;
mod version;

pub use encode::{FrameWriter, encode};
pub use fault::{Fault, Kind, ParseError};
pub use frame::{Command, CommandSet, Frame, Headers, ServerCommand};
pub use heartbeat::{Action, BadHeartBeat, HeartBeat, Offer};
pub use parser::{Event, Limits, Parser};
pub use version::Version;
