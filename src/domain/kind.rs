//! The type registry: which `type` names exist and what `data` each takes. Built once at start; checked at the door, before anything is kept.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Config;
use super::id::name_problem;
use super::notification::{Code, Rejection};

/// A text for a person; `data` is a string.
pub const STRING_MSG: &str = "STRING_MSG";
/// Other sessions of the user marked these as read; `data` is `{"ids":[string]}`.
pub const NOTIFY_VIEWED: &str = "NOTIFY_VIEWED";
/// Other sessions of the user deleted these; `data` is `{"ids":[string]}`.
pub const NOTIFY_DELETED: &str = "NOTIFY_DELETED";
/// Told by the server alone, to a session whose `last-seq` can't be resumed; `data` is `{"requested":N,"from":M}`.
pub const REPLAY_GAP: &str = "REPLAY_GAP";

/// A type that the configuration registers: a JSON Schema, written in place or in a file.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TypeConfig {
    /// The schema itself.
    pub schema: Option<Value>,
    /// A JSON file that holds the schema.
    pub schema_file: Option<PathBuf>,
}

/// All types that this server knows.
#[derive(Debug)]
pub struct Kinds {
    known: HashMap<String, Kind>,
    max_data: usize,
}

#[derive(Debug)]
enum Kind {
    Text,
    Ids,
    Schema(Box<jsonschema::Validator>),
}

impl Kinds {
    /// Compiles the registry, or says everything that is wrong with it as (path below `domain`, reason).
    pub fn compile(config: &Config) -> Result<Self, Vec<(String, String)>> {
        let mut known = HashMap::from([
            (STRING_MSG.to_owned(), Kind::Text),
            (NOTIFY_VIEWED.to_owned(), Kind::Ids),
            (NOTIFY_DELETED.to_owned(), Kind::Ids),
        ]);
        let mut problems = Vec::new();
        for (name, spec) in &config.types {
            let path = format!("types.{name}");
            if known.contains_key(name) || name == REPLAY_GAP {
                problems.push((path, "is a built-in type and can't be registered again".into()));
            } else if let Some(reason) = name_problem(name) {
                problems.push((path, reason));
            } else {
                match compile_schema(spec) {
                    Ok(schema) => {
                        known.insert(name.clone(), Kind::Schema(Box::new(schema)));
                    }
                    Err(reason) => problems.push((path, reason)),
                }
            }
        }
        if problems.is_empty() {
            Ok(Self {
                known,
                max_data: config.max_data,
            })
        } else {
            Err(problems)
        }
    }

    /// Checks `data` against the type `name`; what does not fit is refused with the path of the value that fails.
    pub fn check(&self, name: &str, data: &RawValue) -> Result<(), Rejection> {
        let Some(kind) = self.known.get(name) else {
            return Err(Rejection::new(Code::UnknownType, "type", self.unknown(name)));
        };
        if data.get().len() > self.max_data {
            let reason = format!(
                "is {} bytes long; at most {} are taken (domain.max_data)",
                data.get().len(),
                self.max_data
            );
            return Err(Rejection::new(Code::TooLarge, "data", reason));
        }
        match kind {
            // Raw JSON only looks like a text: an escape in it may stand for no character.
            Kind::Text if data.get().starts_with('"') => match serde_json::from_str::<String>(data.get()) {
                Ok(_) => Ok(()),
                Err(error) => Err(misfit("data", format!("is no text: {error}"))),
            },
            Kind::Text => Err(misfit("data", format!("{name} takes a string"))),
            Kind::Ids => match serde_json::from_str::<Ids>(data.get()) {
                // Serde would also read an array, by the order of the fields.
                Ok(_) if data.get().starts_with('{') => Ok(()),
                _ => Err(misfit("data", format!("{name} takes {{\"ids\": [string, ...]}}"))),
            },
            Kind::Schema(schema) => {
                let value: Value = serde_json::from_str(data.get()).map_err(|e| misfit("data", e.to_string()))?;
                schema.validate(&value).map_err(|error| {
                    let field = dotted(error.instance_path().as_str());
                    misfit(format!("data{field}"), bounded(error.to_string()))
                })
            }
        }
    }

    /// The names of all types, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.known.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn unknown(&self, name: &str) -> String {
        let name: String = name.chars().take(64).collect();
        format!("\"{name}\" is not a known type; known: {}", self.names().join(", "))
    }
}

/// `data` of [`NOTIFY_VIEWED`] and [`NOTIFY_DELETED`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    pub ids: Vec<String>,
}

fn compile_schema(spec: &TypeConfig) -> Result<jsonschema::Validator, String> {
    let schema = match (&spec.schema, &spec.schema_file) {
        (Some(schema), None) => schema.clone(),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|e| format!("schema_file {}: {e}", file.display()))?;
            serde_json::from_str(&text).map_err(|e| format!("schema_file {}: {e}", file.display()))?
        }
        _ => return Err("needs either `schema` or `schema_file`".into()),
    };
    jsonschema::validator_for(&schema).map_err(|e| {
        let place = dotted(e.instance_path().as_str());
        format!("is no valid JSON Schema: schema{place}: {}", bounded(e.to_string()))
    })
}

/// A JSON pointer as people write paths: `/lines/0/price` is `.lines.0.price`.
fn dotted(pointer: &str) -> String {
    pointer.replace('/', ".").replace("~1", "/").replace("~0", "~")
}

fn misfit(field: impl Into<String>, reason: impl Into<String>) -> Rejection {
    Rejection::new(Code::DataMismatch, field, reason)
}

/// The validator quotes the offending value; a long one would make the answer as long as the request.
fn bounded(reason: String) -> String {
    match reason.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason,
    }
}

/// Types for a registry without configuration, as tests and tools want it.
impl Default for Kinds {
    fn default() -> Self {
        let config = Config {
            types: BTreeMap::new(),
            ..Config::default()
        };
        Self::compile(&config).expect("the built-in types need no schema")
    }
}
