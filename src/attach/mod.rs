//! Attached plugins: processes of their own, in any language, on NATS, which come and go while the server runs.
//!
//! A plugin is a NATS service (`$SRV.INFO`) that says by its metadata which hooks it serves; only those that the configuration names may attach
//! (`attach.plugins.NAME`). *Hooks* are questions with a deadline, and can change what happens: see [`Hooks`]. *Events* tell what happened, and can
//! hold nothing up. Without `attach.enabled`, or with nobody there, asking and telling cost a look at a pointer.

pub mod breaker;
pub mod config;
pub mod hooks;
pub mod line;
pub mod protocol;

pub use config::Config;
pub use hooks::Hooks;
