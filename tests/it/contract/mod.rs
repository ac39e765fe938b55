//! The contract of each port, over all its adapters.

mod auth;
mod queue;
mod store;
mod topic;

use quick_notify::domain::id;
use quick_notify::domain::kind::Kinds;
use quick_notify::domain::notification::{Audience, Draft, Notification};

/// An accepted notification for `user` under `id`.
pub fn notification(user: &str, id: &str, text: &str) -> Notification {
    let draft = Draft {
        id: Some(id.to_owned()),
        ..Draft::text(Audience::User(user.to_owned()), text)
    };
    draft
        .accept(id::generate, 1_000, &Kinds::default())
        .expect("a right draft")
}
