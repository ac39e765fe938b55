//! For whom a subject says that its message is.

use crate::domain::notification::{Audience, topic_destination};
use crate::subjects::{self, Address};

/// The subject that a door publishes to. For everyone it is told apart by the id, so that broadcasts are spread over the lanes.
pub fn door(prefix: &str, to: &Audience, id: &str) -> String {
    match to {
        Audience::User(user) => subjects::door(prefix, "user", user),
        Audience::Topic(destination) => {
            let name = destination.strip_prefix("/topic/").unwrap_or(destination);
            subjects::door(prefix, "topic", name)
        }
        Audience::Everyone => subjects::door(prefix, "everyone", id),
    }
}

/// `None`: nobody can tell. A name that is written in another way than [`subjects::token`] writes it counts as none: the server computes the
/// lane from what is written, and a receiver in two lanes would have no order.
pub fn read(address: Address<'_>) -> Option<Audience> {
    let name = || subjects::name_of_token(address.token).filter(|name| subjects::token(name) == address.token);
    match address.kind {
        "user" => name().map(Audience::User),
        "topic" => topic_destination(&name()?).ok().map(Audience::Topic),
        "everyone" => Some(Audience::Everyone),
        _ => None,
    }
}
