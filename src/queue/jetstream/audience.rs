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

/// `None`: nobody can tell.
pub fn read(address: Address<'_>) -> Option<Audience> {
    match address.kind {
        "user" => subjects::name_of_token(address.token).map(Audience::User),
        "topic" => {
            let name = subjects::name_of_token(address.token)?;
            topic_destination(&name).ok().map(Audience::Topic)
        }
        "everyone" => Some(Audience::Everyone),
        _ => None,
    }
}
