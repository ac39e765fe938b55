//! The configuration: the sum of every module's `Config`, each at its module's path.
//!
//! Defaults ← files, in their order ← `QN_SECTION__KEY` in the environment ← the command line. [`load`] reports every mistake at once, with
//! its path and, for a name that isn't known, the names that are. It dials nobody.

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::{Deserialize, Serialize};

use crate::{
    api, attach, auth, dispatch, domain, edge, http, ingest, nats, queue, redis, session, store, sweep, telemetry,
    topic,
};

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub app: App,
    pub http: http::Config,
    pub telemetry: telemetry::Config,
    pub nats: nats::Config,
    pub redis: redis::Config,
    pub domain: domain::Config,
    pub attach: attach::Config,
    pub auth: auth::Config,
    pub queue: queue::Config,
    pub store: store::Config,
    pub topic: topic::Config,
    pub ingest: ingest::Config,
    pub dispatch: dispatch::Config,
    pub session: session::Config,
    pub edge: edge::Config,
    pub sweep: sweep::Config,
    pub api: api::Config,
}

/// The process itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct App {
    /// Where HTTP and WebSocket are served.
    pub listen: String,
    /// Where the embedded adapters keep their files.
    pub data: PathBuf,
    /// Lets the process start with dev tokens on an address that others reach. Whoever reaches it can then be anybody.
    pub dev_tokens_for_everyone: bool,
    /// Longest drain, in milliseconds; what is not done by then is left to the next start.
    pub drain_timeout_ms: u64,
}

impl Default for App {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:2025".into(),
            data: "data".into(),
            dev_tokens_for_everyone: false,
            drain_timeout_ms: 30_000,
        }
    }
}

/// What is wrong with the configuration: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    pub reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

const PREFIX: &str = "QN_";

/// Reads and checks everything.
pub fn load(files: &[PathBuf], overrides: &[(String, String)]) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut figment = Figment::new();
    for file in files {
        if file.is_file() {
            figment = figment.merge(Toml::file_exact(file));
        } else {
            problems.push(Problem {
                path: file.display().to_string(),
                reason: "there is no such file".into(),
            });
        }
    }
    problems.extend(misspelt(
        std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
    ));
    // Other names with this prefix are the command line's, such as QN_TOKEN, or hold secrets that the configuration names.
    let settings = Env::prefixed(PREFIX).filter(|key| key.as_str().contains("__"));
    figment = figment.merge(settings.split("__"));
    for (path, value) in overrides {
        // Typed as the environment's values are: numbers, booleans and lists as such, all else as text.
        let value: Value = value.parse().unwrap_or_else(|never| match never {});
        figment = figment.merge(Serialized::default(path, value));
    }
    let config = match figment.extract::<Dict>() {
        Ok(said) => extract(said, &mut problems),
        Err(errors) => {
            problems.extend(errors.into_iter().map(|error| Problem {
                path: "configuration".into(),
                reason: error.to_string(),
            }));
            return Err(problems);
        }
    };
    problems.extend(config.problems());
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

impl Config {
    /// Whether anything talks to NATS.
    pub fn needs_nats(&self) -> bool {
        self.queue.needs_nats() || self.topic.needs_nats() || self.ingest.nats || self.attach.enabled
    }

    /// What can be wrong with values that are of the right type.
    pub fn problems(&self) -> Vec<Problem> {
        let modules = [
            ("http", self.http.problems()),
            ("telemetry", self.telemetry.problems()),
            ("domain", self.domain.problems()),
            ("attach", self.attach.problems()),
            ("auth", self.auth.problems()),
            (
                "nats",
                if self.needs_nats() {
                    self.nats.problems()
                } else {
                    Vec::new()
                },
            ),
            (
                "redis",
                if self.topic.needs_redis() {
                    self.redis.problems()
                } else {
                    Vec::new()
                },
            ),
            ("queue", self.queue.problems()),
            ("store", self.store.problems()),
            ("topic", self.topic.problems()),
            ("ingest", self.ingest.problems()),
            ("dispatch", self.dispatch.problems()),
            ("session", self.session.problems()),
            ("edge", self.edge.problems()),
            ("sweep", self.sweep.problems()),
            ("api", self.api.problems()),
            ("api", self.unknown_admins()),
            ("app", self.app.problems(self.auth.is_dev())),
            ("auth", self.unattached()),
            ("", self.dev_among_others()),
            ("edge", self.any_origin()),
            ("", self.contradictions()),
        ];
        modules
            .into_iter()
            .flat_map(|(module, problems)| {
                problems.into_iter().map(move |(path, reason)| Problem {
                    path: if module.is_empty() {
                        path
                    } else {
                        format!("{module}.{path}")
                    },
                    reason,
                })
            })
            .collect()
    }
}

impl Config {
    /// A node with dev tokens beside others on one NATS or Redis would take their producers' requests, and anybody could end their sessions.
    fn dev_among_others(&self) -> Vec<(String, String)> {
        if !self.auth.is_dev() || self.app.dev_tokens_for_everyone {
            return Vec::new();
        }
        let nats = self.needs_nats().then_some(("nats", &self.nats.servers));
        let redis = (self.topic.adapter == topic::Adapter::Redis).then_some(("redis", &self.redis.servers));
        let others = [nats, redis].into_iter().flatten().flat_map(|(module, servers)| {
            let named = servers.iter().enumerate();
            named
                .filter(|(_, server)| !is_loopback(server))
                .map(move |(index, _)| (format!("{module}.servers[{index}]"), DEV_AMONG_OTHERS.to_owned()))
        });
        others.collect()
    }

    /// Outside dev mode a page of any site must not act for its visitors.
    fn any_origin(&self) -> Vec<(String, String)> {
        if self.auth.is_dev() {
            return Vec::new();
        }
        let origins = self.edge.origins.iter().enumerate();
        origins
            .filter(|(_, origin)| *origin == "*")
            .map(|(index, _)| (format!("origins[{index}]"), ANY_ORIGIN.to_owned()))
            .collect()
    }

    /// Bounds of one module that make no sense beside those of another.
    fn contradictions(&self) -> Vec<(String, String)> {
        let (tickets, admission) = (&self.auth.tickets, &self.edge.admission);
        let used = u64::from(tickets.seconds) * u64::from(admission.per_second);
        let question = self.domain.max_data.saturating_add(attach::config::AROUND);
        // Tokens are asked about by the adapter of plugins alone.
        let judge_ms = match self.auth.adapter {
            auth::Adapter::Hook => self.attach.authenticator_deadline_ms().unwrap_or_default(),
            auth::Adapter::Dev | auth::Adapter::Jwt => 0,
        };
        let patience = format!(
            "must be more than the {judge_ms} ms that the plugin that knows tokens has for its answer (deadline_ms): nobody would wait for it any more"
        );
        let found = [
            (
                self.attach.may_review() && self.attach.hooks.max_request < question,
                "attach.hooks.max_request",
                format!(
                    "must be at least domain.max_data and {} for what is around it, which is {question}: a notification that fits into no question \
                     would pass by the plugins that review, or never be stored",
                    attach::config::AROUND
                ),
            ),
            (judge_ms > 0 && self.edge.ask_timeout_ms <= judge_ms, "edge.ask_timeout_ms", patience.clone()),
            (judge_ms > 0 && self.api.ask_timeout_ms <= judge_ms, "api.ask_timeout_ms", patience),
            (
                admission.wait_ms >= u64::from(tickets.seconds) * 1_000,
                "edge.admission.wait_ms",
                "must be less than auth.tickets.seconds: a ticket would end while its bearer waits for the turn".to_owned(),
            ),
            (
                used > tickets.max_used as u64,
                "auth.tickets.max_used",
                format!(
                    "must be at least auth.tickets.seconds × edge.admission.per_second, which is {used}: so many may be used before the first of \
                     them ends"
                ),
            ),
            (
                self.http.write_timeout_ms < self.edge.write_timeout_ms,
                "http.write_timeout_ms",
                "must be at least edge.write_timeout_ms: a slow client of a session over HTTP would be cut off before the session gives it up"
                    .to_owned(),
            ),
        ];
        let found = found.into_iter().filter(|(is_wrong, ..)| *is_wrong);
        found.map(|(_, path, reason)| (path.to_owned(), reason)).collect()
    }

    /// An adapter may need a plugin that says who a token speaks for.
    fn unattached(&self) -> Vec<(String, String)> {
        let lack = self.auth.lacks(&self.attach);
        lack.into_iter().map(|reason| ("adapter".to_owned(), reason)).collect()
    }

    /// Admins are known by their keys, which are the door's.
    fn unknown_admins(&self) -> Vec<(String, String)> {
        let unknown = |(_, name): &(usize, &String)| !self.ingest.keys.contains_key(*name);
        let admins = self.api.admins.iter().enumerate().filter(unknown);
        admins
            .map(|(index, name)| (format!("admins[{index}]"), format!("there is no ingest.keys.{name}")))
            .collect()
    }
}

const ANY_ORIGIN: &str = "lets every page of the web connect in its visitors' names; that is for auth.adapter = \"dev\" alone. \
    Name the pages, such as https://shop.example";
const DEV_AMONG_OTHERS: &str = "others may use this server, and auth.adapter is \"dev\": a node with dev tokens would take part in their traffic. \
    Name one on this machine, set auth.adapter = \"jwt\", or say app.dev_tokens_for_everyone = true if that is what you want";

/// Whether a server's address, with or without a scheme, is on this machine.
fn is_loopback(address: &str) -> bool {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or_default();
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl App {
    fn problems(&self, dev: bool) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        match self.listen.parse::<SocketAddr>() {
            Err(_) => problems.push((
                "listen".into(),
                format!("\"{}\" is no address such as 127.0.0.1:2025", self.listen),
            )),
            Ok(address) if dev && !address.ip().is_loopback() && !self.dev_tokens_for_everyone => {
                let reason = format!(
                    "{address} can be reached by others, and auth.adapter is \"dev\": anybody could be anyone. Set auth.adapter = \"jwt\" \
                     with a key, or listen on 127.0.0.1, or say app.dev_tokens_for_everyone = true if that is what you want"
                );
                problems.push(("listen".into(), reason));
            }
            Ok(_) => {}
        }
        if !(1..=3_600_000).contains(&self.drain_timeout_ms) {
            problems.push(("drain_timeout_ms".into(), "must lie between 1 and 3600000".into()));
        }
        problems
    }
}

/// Types what was said. A value that doesn't fit is noted and left out, and the rest is tried again: so all mistakes are found, not only the first.
fn extract(mut said: Dict, problems: &mut Vec<Problem>) -> Config {
    const MOST_MISTAKES: usize = 100;
    for _ in 0..MOST_MISTAKES {
        let errors = match Figment::from(Serialized::defaults(&said)).extract::<Config>() {
            Ok(config) => return config,
            Err(errors) => errors,
        };
        for error in errors {
            let mut path = error.path.clone();
            if let Kind::UnknownField(name, _) = &error.kind
                && path.last().is_none_or(|last| last != name)
            {
                path.push(name.clone());
            }
            problems.push(Problem {
                path: written(&path),
                reason: reason(error.kind),
            });
            if !strike(&mut said, &path) {
                return Config::default();
            }
        }
    }
    Config::default()
}

/// A mistake in words. A text that was said isn't repeated: it may be a secret in the wrong place.
fn reason(kind: Kind) -> String {
    let known = |names: &[&str]| format!("is not known here; known: {}", names.join(", "));
    match kind {
        Kind::UnknownField(_, names) => known(names),
        Kind::UnknownVariant(_, names) => known(names),
        Kind::InvalidType(said, wanted) | Kind::InvalidValue(said, wanted) => {
            let said = match said {
                Actual::Str(_) | Actual::Char(_) | Actual::Bytes(_) => "a text".to_owned(),
                Actual::Map => "a table".to_owned(),
                Actual::Seq => "a list".to_owned(),
                Actual::Unsigned(number) => number.to_string(),
                Actual::Signed(number) => number.to_string(),
                Actual::Float(number) => number.to_string(),
                Actual::Bool(value) => value.to_string(),
                _ => "something else".to_owned(),
            };
            format!("must be {}, not {said}", in_words(&wanted))
        }
        kind => kind.to_string(),
    }
}

/// What serde asks for, for people who don't write Rust.
fn in_words(wanted: &str) -> &str {
    match wanted {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number from 0 on",
        "a string" | "path string" => "a text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        _ if wanted.starts_with("struct ") => "a table",
        _ if wanted.starts_with("enum ") || wanted == "string" => "one of its names, as a text",
        other => other,
    }
}

/// `auth.jwt.keys[0].file`
fn written(path: &[String]) -> String {
    let mut text = String::new();
    for part in path {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            text += &format!("[{part}]");
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text += part;
        }
    }
    text
}

/// Variables that were meant to be settings: `QN_APP_LISTEN` for `QN_APP__LISTEN`.
fn misspelt(names: impl Iterator<Item = String>) -> Vec<Problem> {
    let known = Figment::from(Serialized::defaults(Config::default()));
    let meant = |name: &str| {
        let (section, key) = name.strip_prefix(PREFIX)?.split_once('_')?;
        let path = format!("{section}.{key}").to_lowercase();
        (!key.contains("__") && known.find_value(&path).is_ok()).then(|| format!("{PREFIX}{section}__{key}"))
    };
    names
        .filter_map(|name| {
            let meant = meant(&name)?;
            Some(Problem {
                path: name,
                reason: format!("is no setting; with two underscores it is: {meant}"),
            })
        })
        .collect()
}

/// Takes the value at `path` out; of a list, the whole of it unless the path leads on into a table in it.
fn strike(said: &mut Dict, path: &[String]) -> bool {
    let [key, rest @ ..] = path else { return false };
    let struck = match (said.get_mut(key), rest) {
        (Some(Value::Dict(_, inner)), [_, ..]) => strike(inner, rest),
        (Some(Value::Array(_, items)), [index, rest @ ..]) => {
            match index.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                Some(Value::Dict(_, inner)) => strike(inner, rest),
                _ => false,
            }
        }
        _ => false,
    };
    struck || said.remove(key).is_some()
}
