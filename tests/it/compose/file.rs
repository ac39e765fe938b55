//! `compose.yaml`, read and interpolated as Compose does it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the Python packages that `tests/run` installs.
pub fn venv(program: &str) -> PathBuf {
    let path = root().join("target/venv/bin").join(program);
    assert!(
        path.exists(),
        "there is no {program}: run tests/run, which installs what is missing"
    );
    path
}

pub fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// YAML with its anchors and merges resolved. A key that stands twice in a table is a mistake.
pub fn yaml(text: &str) -> Value {
    const PROGRAM: &str =
        "import json, sys; from ruamel.yaml import YAML; json.dump(YAML(typ='safe').load(sys.stdin), sys.stdout)";
    let mut python = Command::new(venv("python"))
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python runs");
    let mut stdin = python.stdin.take().expect("stdin is piped");
    stdin.write_all(text.as_bytes()).expect("it reads");
    drop(stdin);
    let read = python.wait_with_output().expect("it ends");
    assert!(read.status.success(), "it is no YAML");
    serde_json::from_slice(&read.stdout).expect("JSON")
}

pub fn names(table: &Value) -> BTreeSet<String> {
    table.as_object().expect("a table").keys().cloned().collect()
}

/// What a service mounts from outside: source and target.
pub fn mounts(service: &Value) -> Vec<(String, String)> {
    let volumes = service["volumes"].as_array().into_iter().flatten();
    let split = |volume: &Value| {
        let mut parts = volume.as_str().expect("the short form").split(':');
        let mut part = || parts.next().expect("source:target").to_owned();
        (part(), part())
    };
    volumes.map(split).collect()
}

/// The words of a list, as they are given to a program.
pub fn words(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    list.iter()
        .map(|word| word.as_str().expect("a text").to_owned())
        .collect()
}

/// A duration of Compose's that is whole seconds.
pub fn seconds(value: &Value) -> u64 {
    let text = value.as_str().expect("a duration");
    text.strip_suffix('s')
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{text}: say seconds"))
}

/// A variable as the file names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variable {
    /// `${NAME:?reason}`
    Required,
    /// `${NAME:-default}`
    Default(String),
}

/// Every variable of a text, each with how it is named there.
pub fn variables(text: &str) -> BTreeMap<String, BTreeSet<Variable>> {
    let mut found: BTreeMap<String, BTreeSet<Variable>> = BTreeMap::new();
    interpolate(text, &mut |name, how| {
        found.entry(name.to_owned()).or_default().insert(how);
        String::new()
    });
    found
}

/// Replaces `${NAME:?reason}` and `${NAME:-default}`; anything else with a `$` is a mistake.
fn interpolate(text: &str, value: &mut dyn FnMut(&str, Variable) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        let inner = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let (inner, after) =
            inner.unwrap_or_else(|| panic!("write ${{NAME:?why}} or ${{NAME:-default}}: ${after:.40}"));
        out += &match (inner.split_once(":?"), inner.split_once(":-")) {
            (Some((name, reason)), None) if !reason.is_empty() => value(name, Variable::Required),
            (None, Some((name, default))) => value(name, Variable::Default(default.to_owned())),
            _ => panic!("write ${{NAME:?why}} or ${{NAME:-default}}: ${{{inner}}}"),
        };
        rest = after;
    }
    out + rest
}

/// The settings of an `.env` file.
pub fn settings(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line}: NAME=value")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Values as the documented line makes them, one a secret. All digits: what is most easily taken for a number.
fn filled(number: usize) -> String {
    format!("{}{number:040}", number + 1)
}

pub struct Compose {
    pub whole: Value,
}

impl Compose {
    /// With every required variable set, and the others left to their defaults.
    pub fn read() -> Self {
        let raw = text("compose.yaml");
        let required: Vec<_> = variables(&without_comments(&raw)).into_keys().collect();
        let mut whole = yaml(&raw);
        each_text(&mut whole, &mut |text| {
            interpolate(text, &mut |name, how| match how {
                Variable::Default(default) => default,
                Variable::Required => filled(required.iter().position(|known| known == name).expect("found before")),
            })
        });
        Self { whole }
    }

    pub fn services(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.table().iter()
    }

    pub fn service(&self, name: &str) -> &Value {
        self.table()
            .get(name)
            .unwrap_or_else(|| panic!("there is no service {name}"))
    }

    /// The services of this project's own image.
    pub fn nodes(&self) -> Vec<(&String, &Value)> {
        self.services()
            .filter(|(_, service)| service.get("build").is_some())
            .collect()
    }

    pub fn is_probed(&self, name: &str) -> bool {
        let service = self.service(name);
        let image = service["build"]["dockerfile_inline"].as_str().unwrap_or_default();
        service.get("healthcheck").is_some() || image.contains("\nHEALTHCHECK ")
    }

    pub fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let environment = self.service(name)["environment"].as_object().into_iter().flatten();
        environment
            .map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned()))
            .collect()
    }

    /// The repository's file that the service sees at `target`.
    pub fn mounted(&self, service: &str, target: &str) -> PathBuf {
        let configs = self.service(service)["configs"].as_array().into_iter().flatten();
        let source = configs.clone().find(|config| config["target"] == target);
        let source = source.unwrap_or_else(|| panic!("{service} mounts nothing at {target}"))["source"]
            .as_str()
            .expect("a name");
        root().join(self.whole["configs"][source]["file"].as_str().expect("a file"))
    }

    fn table(&self) -> &Map<String, Value> {
        self.whole["services"].as_object().expect("services")
    }
}

/// Comments hold lines for a shell, whose variables are none of Compose's.
pub fn without_comments(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn each_text(value: &mut Value, change: &mut dyn FnMut(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(list) => list.iter_mut().for_each(|value| each_text(value, change)),
        Value::Object(table) => table.values_mut().for_each(|value| each_text(value, change)),
        _ => {}
    }
}
