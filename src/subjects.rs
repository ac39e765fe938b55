//! Every NATS subject and every Redis key, and nowhere else.
//!
//! NATS subjects begin with the installation's prefix (`nats.prefix`, `notify` unless said otherwise), so that several may share a server:
//!
//! | subject | what |
//! | --- | --- |
//! | `PREFIX.publish` | request/reply: a draft or an array of drafts in, receipts out |
//! | `PREFIX.in.user.TOKEN` | a plain JetStream publish for one user; the body is a draft for that very user |
//! | `PREFIX.in.topic.TOKEN`, `PREFIX.in.everyone.TOKEN` | the same for a topic (its name) and for everyone (any token, such as an id) |
//! | `PREFIX.door.user.TOKEN` … | the nodes' own: what their doors accepted. Producers must not be allowed to publish there |
//! | `PREFIX.dead.REASON` | dead letters |
//! | `PREFIX.topic.all`, `PREFIX.topic.user.TOKEN` | the nodes' own, where NATS is the topic: what every node must hear, and what is for one user |
//! | `PREFIX.hook.PLUGIN.HOOK` | request/reply: what the nodes ask an attached plugin; nobody else may listen there |
//! | `PREFIX.event.KIND.TOKEN` | what happened, to attached plugins; TOKEN is the receiver's or the user's |
//! | `PREFIX.receipt.NODE` | the nodes' own: what became of a notification for which a producer waits at the door of that node |
//! | `PREFIX.topic.echo.NODE` | the nodes' own: what a node tells itself, to learn that the server has got all before it |
//!
//! A TOKEN is a name that NATS takes as one subject token, see [`token`].

use std::fmt::Write;

/// Whether a name can be one token of a subject as it is: 1 to 64 letters, digits, `-` and `_`.
pub fn is_word(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

/// Where requests to publish go.
pub fn publish(prefix: &str) -> String {
    format!("{prefix}.publish")
}

/// Today's channel: what every node must hear. A user's own is below it, see [`user_channel`].
pub const NOTIFY_CHANNEL: &str = "stomp::ws_notify_topic";

/// The Redis channel that the nodes subscribe to which hold a session of `user`.
pub fn user_channel(user: &str) -> String {
    format!("{NOTIFY_CHANNEL}:{user}")
}

/// The user of a channel that [`user_channel`] made.
pub fn user_of_channel(channel: &str) -> Option<&str> {
    channel.strip_prefix(NOTIFY_CHANNEL)?.strip_prefix(':')
}

/// The sorted set of a user's sessions: `node:number` by the time of entering.
pub fn roll(user: &str) -> String {
    format!("stomp::roll:{user}")
}

/// The sorted set of the nodes that are alive, by the end of their lease.
pub const NODES: &str = "stomp::nodes";

/// What every node must hear, where NATS is the topic.
pub fn topic_all(prefix: &str) -> String {
    format!("{prefix}.topic.all")
}

/// What the nodes hear that hold a session of `user`.
pub fn topic_user(prefix: &str, user: &str) -> String {
    format!("{prefix}.topic.user.{}", token(user))
}

/// What a node tells itself.
pub fn topic_echo(prefix: &str, node: &str) -> String {
    format!("{prefix}.topic.echo.{node}")
}

/// The key-value bucket of the nodes' leases, by their names.
pub fn nodes_bucket(prefix: &str) -> String {
    format!("{prefix}-nodes")
}

/// The key-value bucket of the users' sessions, by the users' tokens.
pub fn roll_bucket(prefix: &str) -> String {
    format!("{prefix}-roll")
}

/// Where a node hears what its doors wait for.
pub fn receipt(prefix: &str, node: &str) -> String {
    format!("{prefix}.receipt.{node}")
}

/// Where the nodes ask a plugin.
pub fn hook(prefix: &str, plugin: &str, hook: &str) -> String {
    format!("{prefix}.hook.{plugin}.{hook}")
}

/// Where something that happened to `name`, a receiver or a user, is told; without a name at `=`, which is nobody's token.
pub fn event(prefix: &str, kind: &str, name: &str) -> String {
    let token = if name.is_empty() { "=".to_owned() } else { token(name) };
    format!("{prefix}.event.{kind}.{token}")
}

/// All events of a kind.
pub fn events(prefix: &str, kind: &str) -> String {
    format!("{prefix}.event.{kind}.>")
}

/// The stream that keeps events.
pub fn events_stream(prefix: &str) -> String {
    format!("{prefix}-events")
}

/// The key-value bucket of what operators decided about plugins, by their names.
pub fn plugins_bucket(prefix: &str) -> String {
    format!("{prefix}-plugins")
}

/// `name` as one subject token: letters, digits, `-` and `_` stand for themselves, every other octet of its UTF-8 is `=` and two hex digits.
///
/// So a receiver with dots, spaces or wildcards is as legal as any, and two names never share a token.
pub fn token(name: &str) -> String {
    let mut token = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            token.push(byte.into());
        } else {
            let _ = write!(token, "={byte:02X}");
        }
    }
    token
}

/// The name that a token stands for; `None` when it stands for none. Takes other spellings than [`token`]'s, too.
pub fn name_of_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let [first, more @ ..] = rest {
        rest = more;
        if *first != b'=' {
            bytes.push(*first);
            continue;
        }
        let [high, low, more @ ..] = rest else { return None };
        let digit = |digit: &u8| (*digit as char).to_digit(16);
        bytes.push((digit(high)? * 16 + digit(low)?) as u8);
        rest = more;
    }
    String::from_utf8(bytes).ok()
}

/// What the ingest stream takes: from producers, and from the doors.
pub fn ingest(prefix: &str) -> Vec<String> {
    vec![format!("{prefix}.in.*.*"), format!("{prefix}.door.*.*")]
}

/// Where a door publishes what it accepted for `kind` (`user`, `topic`, `everyone`) and `name`.
pub fn door(prefix: &str, kind: &str, name: &str) -> String {
    format!("{prefix}.door.{kind}.{}", token(name))
}

/// Where a producer publishes past the doors.
pub fn direct(prefix: &str, kind: &str, name: &str) -> String {
    format!("{prefix}.in.{kind}.{}", token(name))
}

/// Puts the lane in front, as the server computes it from the receiver's token: source and destination of the stream's subject transform.
pub fn into_lanes(prefix: &str, lanes: u32) -> (String, String) {
    (
        format!("{prefix}.*.*.*"),
        format!(
            "{prefix}.lane.{{{{partition({lanes},3)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{{{{wildcard(3)}}}}"
        ),
    )
}

/// What the consumer of a lane takes.
pub fn lane(prefix: &str, lane: u32) -> String {
    format!("{prefix}.lane.{lane}.*.*.*")
}

/// The subject that was published to, of one that [`into_lanes`] made.
pub fn before_lane(prefix: &str, subject: &str) -> Option<String> {
    let rest = subject.strip_prefix(prefix)?.strip_prefix(".lane.")?;
    let (_, rest) = rest.split_once('.')?;
    Some(format!("{prefix}.{rest}"))
}

/// Who published to a subject of the ingest stream, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// Whether a door did.
    pub door: bool,
    pub kind: &'a str,
    pub token: &'a str,
}

/// Reads a subject that [`door`] or [`direct`] made.
pub fn address<'a>(prefix: &str, subject: &'a str) -> Option<Address<'a>> {
    let mut tokens = subject.strip_prefix(prefix)?.strip_prefix('.')?.split('.');
    let door = match tokens.next()? {
        "door" => true,
        "in" => false,
        _ => return None,
    };
    let (kind, token) = (tokens.next()?, tokens.next()?);
    tokens.next().is_none().then_some(Address { door, kind, token })
}

/// Where a dead letter goes; the reason is a token.
pub fn dead(prefix: &str, reason: &str) -> String {
    format!("{prefix}.dead.{reason}")
}

/// What the stream of dead letters takes.
pub fn dead_letters(prefix: &str) -> String {
    format!("{prefix}.dead.>")
}

/// What the ingest stream takes while its lanes are counted anew: nothing that anybody publishes.
pub fn closed(prefix: &str) -> String {
    format!("{prefix}.closed")
}
