//! SockJS as bytes (protocol 0.3.3): the frames that a server sends, how each transport wraps them, and the messages that a client sends. Pure, and
//! knows nothing of what the messages mean.

mod format;
pub mod frame;
pub mod message;

pub use format::{BadCallback, Callback, Format};
