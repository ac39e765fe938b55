//! The house: a room imports only from floors below; rooms on one floor never import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Groups from the bottom: floor, modules, and whether the modules of the group may use each other (without circles).
const HOUSE: &[(u8, &[&str], bool)] = &[
    (0, &["domain", "subjects"], false),
    (1, &["stomp", "sockjs"], false),
    (2, &["session"], false),
    (
        2,
        &[
            "lifecycle",
            "telemetry",
            "http",
            "keys",
            "secret",
            "sqlite",
            "nats",
            "plugin",
            "redis",
            "receipts",
        ],
        true,
    ),
    (3, &["attach"], false),
    (4, &["queue", "store", "topic", "auth"], false),
    (5, &["ingest", "dispatch", "edge", "sweep", "api", "web"], false),
    (6, &["config"], false),
    (7, &["app"], false),
    (8, &["cli"], false),
];

#[test]
fn the_house_has_its_floors() {
    let imports = imports();
    let group = |module: &str| {
        HOUSE
            .iter()
            .position(|(_, modules, _)| modules.contains(&module))
            .unwrap_or_else(|| panic!("src/{module} is on no floor: say in tests/it/architecture.rs where it lives"))
    };
    let mut wrong = Vec::new();
    for (module, used) in &imports {
        for other in used {
            let (from, to) = (group(module), group(other));
            let (floor, below) = (HOUSE[from].0, HOUSE[to].0);
            if below > floor || (below == floor && !(from == to && HOUSE[from].2)) {
                wrong.push(format!("{module} (floor {floor}) uses {other} (floor {below})"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that go up or sideways:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn neighbours_make_no_circles() {
    let imports = imports();
    for start in imports.keys() {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&String> = imports[start].iter().collect();
        while let Some(module) = open.pop() {
            assert_ne!(module, start, "{start} is in a circle");
            if seen.insert(module) {
                open.extend(imports.get(module).into_iter().flatten());
            }
        }
    }
}

#[test]
fn nobody_climbs_out_of_a_module() {
    for (path, text) in sources() {
        assert!(
            !text.contains("super::super"),
            "{path} says super::super; name the path from crate::"
        );
    }
}

/// The rules that the text of a file shows: pure floors ask no clock and log nothing; metrics are counted in one place.
#[test]
fn pure_floors_are_pure_and_metrics_have_one_home() {
    for (path, text) in sources() {
        let module = module_of(&path);
        if matches!(module, "domain" | "stomp" | "session") {
            for word in ["Instant::now", "SystemTime::now", "tracing::", "tokio::"] {
                assert!(!text.contains(word), "{path} is on a pure floor and says {word}");
            }
        }
        if module != "telemetry" {
            for word in ["counter!(", "gauge!(", "histogram!("] {
                assert!(
                    !text.contains(word),
                    "{path} counts with {word}; telemetry/events.rs does that"
                );
            }
        }
    }
}

/// Which modules each module uses, from every `crate::` path, inline ones and grouped ones too.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if matches!(module, "lib" | "main") {
            continue;
        }
        let used = imports.entry(module.to_owned()).or_default();
        for (index, _) in text.match_indices("crate::") {
            let rest = &text[index + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(group) => group[..group.find("};").expect("a group ends")]
                    .split(',')
                    .map(str::trim)
                    .collect(),
                None => vec![rest],
            };
            for name in names {
                let end = name
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(name.len());
                if !name[..end].is_empty() && name[..end] != *module {
                    used.insert(name[..end].to_owned());
                }
            }
        }
    }
    assert!(imports.len() > 10, "the sources were not found");
    imports
}

fn module_of(path: &str) -> &str {
    path.split('/').next().expect("a path").trim_end_matches(".rs")
}

/// Every source file, by its path below `src`, without comments and its own tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut open = vec![root.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let text = text.split("#[cfg(test)]").next().unwrap_or_default();
                let code: Vec<_> = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .collect();
                let name = path.strip_prefix(&root).expect("below src").display().to_string();
                sources.push((name, code.join("\n")));
            }
        }
    }
    sources
}
