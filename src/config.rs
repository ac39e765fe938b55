//! The configuration: the sum of every module's `Config`, each at its module's path.
//!
//! Defaults ← files, in their order ← `QN_SECTION__KEY` in the environment ← the command line. [`load`] reports every mistake at once, with
//! its path and, for a name that isn't known, the names that are. It dials nobody.

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::value::{Dict, Value};
use serde::{Deserialize, Serialize};

use crate::{api, auth, dispatch, domain, edge, ingest, queue, session, store, sweep, telemetry, topic};

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub app: App,
    pub telemetry: telemetry::Config,
    pub domain: domain::Config,
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
    figment = figment.merge(Env::prefixed("QN_").split("__"));
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
    /// What can be wrong with values that are of the right type.
    pub fn problems(&self) -> Vec<Problem> {
        let modules = [
            ("telemetry", self.telemetry.problems()),
            ("domain", self.domain.problems()),
            ("auth", self.auth.problems()),
            ("queue", self.queue.problems()),
            ("store", self.store.problems()),
            ("ingest", self.ingest.problems()),
            ("dispatch", self.dispatch.problems()),
            ("session", self.session.problems()),
            ("edge", self.edge.problems()),
            ("sweep", self.sweep.problems()),
            ("api", self.api.problems()),
            ("app", self.app.problems(self.auth.is_dev())),
        ];
        modules
            .into_iter()
            .flat_map(|(module, problems)| {
                problems.into_iter().map(move |(path, reason)| Problem {
                    path: format!("{module}.{path}"),
                    reason,
                })
            })
            .collect()
    }
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
            let reason = match &error.kind {
                Kind::UnknownField(name, known) => {
                    if path.last().is_none_or(|last| last != name) {
                        path.push(name.clone());
                    }
                    format!("is not known here; known: {}", known.join(", "))
                }
                kind => kind.to_string(),
            };
            problems.push(Problem {
                path: path.join("."),
                reason,
            });
            if !strike(&mut said, &path) {
                return Config::default();
            }
        }
    }
    Config::default()
}

/// Takes the value at `path` out; a path that leads into an array takes the array.
fn strike(said: &mut Dict, path: &[String]) -> bool {
    match path {
        [] => false,
        [key] => said.remove(key).is_some(),
        [key, rest @ ..] => {
            if let Some(Value::Dict(_, inner)) = said.get_mut(key)
                && strike(inner, rest)
            {
                return true;
            }
            said.remove(key).is_some()
        }
    }
}
