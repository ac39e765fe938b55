#![forbid(unsafe_code)]

pub mod api;
pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod dispatch;
pub mod domain;
pub mod edge;
pub mod ingest;
pub mod lifecycle;
pub mod queue;
pub mod session;
pub mod stomp;
pub mod store;
pub mod sweep;
pub mod telemetry;
pub mod topic;
pub mod web;
