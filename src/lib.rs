//! A notification server: takes a notification over HTTP, keeps it, and delivers it over STOMP to a user's browser tabs until they confirm.
//!
//! The floors of the house, from the top. A module uses only what is on floors below its own; `tests/it/architecture.rs` keeps it so.
//!
//! | floor | modules | |
//! | --- | --- | --- |
//! | 8 | `cli` | the process: arguments, files, exit code |
//! | 7 | [`app`] | builds everything; owns the order of start and drain |
//! | 6 | [`config`] | the sum of every module's `Config` |
//! | 5 | [`ingest`] [`dispatch`] [`edge`] [`sweep`] [`api`] [`web`] | rooms: tasks and routes; they meet only through ports |
//! | 4 | [`queue`] [`store`] [`topic`] [`auth`] | ports: a trait and its adapters |
//! | 2 | [`session`], [`lifecycle`] [`telemetry`] [`http`] [`keys`] [`secret`] [`sqlite`] [`nats`] [`redis`] [`receipts`] | a session as a pure state machine; services that everybody may use |
//! | 1 | [`stomp`] [`sockjs`] | pure: bytes |
//! | 0 | [`domain`] [`subjects`] | the product's words; every NATS subject and Redis key |

#![forbid(unsafe_code)]

pub mod domain;
pub mod subjects;

pub mod sockjs;
pub mod stomp;

pub mod http;
pub mod keys;
pub mod lifecycle;
pub mod nats;
pub mod plugin;
pub mod receipts;
pub mod redis;
pub mod secret;
pub mod session;
pub mod sqlite;
pub mod telemetry;

pub mod attach;

pub mod auth;
pub mod queue;
pub mod store;
pub mod topic;

pub mod api;
pub mod dispatch;
pub mod edge;
pub mod ingest;
pub mod sweep;
pub mod web;

pub mod config;

pub mod app;

pub mod cli;
