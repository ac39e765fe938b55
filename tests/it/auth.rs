//! Who is let in: tokens of every algorithm, every way to refuse one, topic patterns, dev mode and minting.
//!
//! Keys are made by `openssl` when the tests run; none is committed. Time is an argument, so nothing here waits.

mod config;
mod dev;
mod good;
mod keys;
mod mint;
mod refused;
mod topics;

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use keys::{Dir, hs, jwks, keys, signed};
use quick_notify::attach::Hooks;
use quick_notify::auth::{self, Auth, BuildError, Config, Given, Grant, MintError, Refusal};
use quick_notify::domain::facts::Facts;
use quick_notify::domain::identity::{BadUser, Identity, Pattern, Topics};
use serde_json::{Value, json};

/// The server's clock in these tests, epoch milliseconds.
const NOW: i64 = 1_800_000_000_000;
/// The same in a token's seconds.
const NOW_S: i64 = NOW / 1000;
const SECRET: &str = "a secret of thirty-two bytes, ok?";
const OTHER_SECRET: &str = "another secret of the same length";

fn ask(auth: &Arc<dyn Auth>, token: &str) -> Result<Identity, Refusal> {
    ready(auth.authenticate(token, &Facts::default(), NOW))
}

/// Neither jwt nor dev waits for anything, so one poll gives the answer.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

fn jwt(table: Value) -> Arc<dyn Auth> {
    build(&config(json!({"adapter": "jwt", "jwt": table})), Path::new("/nowhere")).unwrap()
}

fn build(config: &Config, data: &Path) -> Result<Arc<dyn Auth>, BuildError> {
    auth::build(config, &given(data))
}

fn given(data: &Path) -> Given<'_> {
    static NOBODY: std::sync::LazyLock<Hooks> = std::sync::LazyLock::new(Hooks::none);
    Given { data, hooks: &NOBODY }
}

fn mint(config: &Config, data: &Path, grant: &Grant, now_ms: i64) -> Result<String, MintError> {
    auth::mint(config, &given(data), grant, now_ms)
}

/// JWT, unless the table says otherwise.
fn config(mut table: Value) -> Config {
    if table["adapter"].is_null() {
        table["adapter"] = "jwt".into();
    }
    serde_json::from_value(table).unwrap()
}

fn dev_config() -> Config {
    config(json!({"adapter": "dev"}))
}

fn grant(user: &str, ttl_s: u64) -> Grant {
    Grant {
        user: user.into(),
        ttl: Duration::from_secs(ttl_s),
        read: None,
        write: None,
    }
}

fn topics(read: &[&str], write: &[&str]) -> Topics {
    let parse = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
    Topics::new(parse(read), parse(write)).unwrap()
}
