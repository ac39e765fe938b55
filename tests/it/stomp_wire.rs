//! STOMP over a real WebSocket to a real server: what the session's stories can't show.

mod framing;
mod handshake;
mod limits;
mod messages;
mod receipts;
mod resend;
mod roll;
