//! A frame: command, headers, body. What the parser gives and the encoder takes.

use std::fmt;

use bytes::Bytes;

/// One frame, of a client unless said otherwise. Its headers are as meant, not as on the wire: unescaped already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<C = Command> {
    pub command: C,
    pub headers: Headers,
    /// Empty for every command that must not have one. Often a slice of the chunk that brought it, which it keeps alive.
    pub body: Bytes,
}

/// What a client may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    Connect,
    /// The same as CONNECT under a name that no HTTP request begins with.
    Stomp,
    Send,
    Subscribe,
    Unsubscribe,
    Ack,
    Nack,
    Begin,
    Commit,
    Abort,
    Disconnect,
}

/// What a server may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerCommand {
    Connected,
    Message,
    Receipt,
    Error,
}

/// One side's commands, as the parser and the encoder need them.
pub trait CommandSet: Copy + fmt::Debug + Eq {
    /// The command that this line names, exactly: commands are case sensitive.
    fn read(word: &str) -> Option<Self>;

    fn as_str(self) -> &'static str;

    /// STOMP 1.2, Body: only SEND, MESSAGE and ERROR may have one.
    fn may_have_body(self) -> bool;

    /// CONNECT, STOMP and CONNECTED: their headers are never escaped, so that a 1.0 peer can read them (STOMP 1.2,
    /// Value Encoding). The text names only CONNECT and CONNECTED, but STOMP must be handled in the same manner.
    fn is_handshake(self) -> bool;
}

impl CommandSet for Command {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "CONNECT" => Command::Connect,
            "STOMP" => Command::Stomp,
            "SEND" => Command::Send,
            "SUBSCRIBE" => Command::Subscribe,
            "UNSUBSCRIBE" => Command::Unsubscribe,
            "ACK" => Command::Ack,
            "NACK" => Command::Nack,
            "BEGIN" => Command::Begin,
            "COMMIT" => Command::Commit,
            "ABORT" => Command::Abort,
            "DISCONNECT" => Command::Disconnect,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Command::Connect => "CONNECT",
            Command::Stomp => "STOMP",
            Command::Send => "SEND",
            Command::Subscribe => "SUBSCRIBE",
            Command::Unsubscribe => "UNSUBSCRIBE",
            Command::Ack => "ACK",
            Command::Nack => "NACK",
            Command::Begin => "BEGIN",
            Command::Commit => "COMMIT",
            Command::Abort => "ABORT",
            Command::Disconnect => "DISCONNECT",
        }
    }

    fn may_have_body(self) -> bool {
        self == Command::Send
    }

    fn is_handshake(self) -> bool {
        matches!(self, Command::Connect | Command::Stomp)
    }
}

impl CommandSet for ServerCommand {
    fn read(word: &str) -> Option<Self> {
        Some(match word {
            "CONNECTED" => ServerCommand::Connected,
            "MESSAGE" => ServerCommand::Message,
            "RECEIPT" => ServerCommand::Receipt,
            "ERROR" => ServerCommand::Error,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            ServerCommand::Connected => "CONNECTED",
            ServerCommand::Message => "MESSAGE",
            ServerCommand::Receipt => "RECEIPT",
            ServerCommand::Error => "ERROR",
        }
    }

    fn may_have_body(self) -> bool {
        matches!(self, ServerCommand::Message | ServerCommand::Error)
    }

    fn is_handshake(self) -> bool {
        self == ServerCommand::Connected
    }
}

impl Command {
    /// The word on the wire; here too, so that callers need not import [`CommandSet`].
    pub fn as_str(self) -> &'static str {
        CommandSet::as_str(self)
    }
}

impl ServerCommand {
    /// The word on the wire; here too, so that callers need not import [`CommandSet`].
    pub fn as_str(self) -> &'static str {
        CommandSet::as_str(self)
    }
}

/// The headers of a frame, in their order, repeated ones included.
///
/// All names and values stand in one string, with the places where each ends beside it: two allocations a frame
/// instead of two a header.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    text: String,
    ends: Vec<Ends>,
}

/// Where a header's name and value end in the text; the name begins where the header before it ended.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    name: usize,
    value: usize,
}

impl Headers {
    pub fn new() -> Headers {
        Headers::default()
    }

    /// None yet, with room for those that most frames have: a few short ones.
    pub(super) fn with_room() -> Headers {
        Headers {
            text: String::with_capacity(128),
            ends: Vec::with_capacity(4),
        }
    }

    /// The value of the first header of that name; names are case sensitive. A later one of the same name is history
    /// only (STOMP 1.2, Repeated Header Entries).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(candidate, _)| *candidate == name)
            .map(|(_, value)| value)
    }

    /// Name and value of each header, in the frame's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ends.iter().scan(0, |start, ends| {
            let header = (&self.text[*start..ends.name], &self.text[ends.name..ends.value]);
            *start = ends.value;
            Some(header)
        })
    }

    /// How many there are, repeated ones counted.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Adds a header behind the others.
    pub fn push(&mut self, name: &str, value: &str) {
        self.text.push_str(name);
        let name_end = self.text.len();
        self.text.push_str(value);
        self.ends.push(Ends {
            name: name_end,
            value: self.text.len(),
        });
    }

    /// Adds a header whose halves are written in place, without strings of their own. After an error half a header
    /// stands in the text: what is there may be read, but nothing may be added.
    pub(super) fn push_with<E>(
        &mut self,
        name: impl FnOnce(&mut String) -> Result<(), E>,
        value: impl FnOnce(&mut String) -> Result<(), E>,
    ) -> Result<(), E> {
        name(&mut self.text)?;
        let name_end = self.text.len();
        value(&mut self.text)?;
        self.ends.push(Ends {
            name: name_end,
            value: self.text.len(),
        });
        Ok(())
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in pairs {
            headers.push(name, value);
        }
        headers
    }
}

/// Frames find their way into logs and panics; what proves who somebody is must not.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|(name, value)| (name, if is_secret(name) { "***" } else { value })),
            )
            .finish()
    }
}

/// Whether the value of the header proves who somebody is. In any case of letters: a client that writes the name in a
/// way that we do not know has sent its token all the same.
pub(super) fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 6] = ["authorization", "passcode", "password", "token", "x-api-key", "cookie"];
    let name = name.trim();
    SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}
