//! The inline Dockerfile: what it copies is enough, and what it runs is there.

use std::process::Command;

use super::file::{Compose, root, text, words};
use crate::harness::{Server, tempdir};

fn dockerfile() -> String {
    let compose = Compose::read();
    let nodes = compose.nodes();
    assert_eq!(nodes.len(), 3);
    for (name, node) in &nodes {
        assert_eq!(node["build"], nodes[0].1["build"], "{name} is another image");
        assert_eq!(node["image"], nodes[0].1["image"], "{name} is another image");
    }
    assert_eq!(nodes[0].1["build"]["context"], ".");
    let text = nodes[0].1["build"]["dockerfile_inline"].as_str().expect("a Dockerfile");
    text.replace("\\\n", " ")
}

/// The lines of an instruction, without its name.
fn lines<'a>(dockerfile: &'a str, instruction: &'a str) -> Vec<&'a str> {
    dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '))
        .collect()
}

/// What is copied from the repository.
fn sources(dockerfile: &str) -> Vec<&str> {
    let copies = lines(dockerfile, "COPY")
        .into_iter()
        .filter(|line| !line.starts_with("--from="));
    let mut sources = Vec::new();
    for copy in copies {
        let mut words: Vec<_> = copy.split(' ').collect();
        let to = words.pop().expect("a target");
        assert!(to == "./" || words == [to], "COPY {copy}");
        sources.extend(words);
    }
    sources
}

#[test]
fn what_the_image_is_built_from_is_there_and_is_enough() {
    let dockerfile = dockerfile();
    let sources = sources(&dockerfile);
    let let_in: Vec<_> = text(".dockerignore")
        .lines()
        .filter_map(|line| line.strip_prefix('!').map(str::to_owned))
        .collect();
    assert_eq!(sources, ["Cargo.toml", "Cargo.lock", "src", "migrations"]);
    for source in &sources {
        assert!(root().join(source).exists(), "{source} is not there");
    }
    assert_eq!(
        sources, let_in,
        ".dockerignore lets in other files than the image is built from"
    );

    // Cargo takes the package without its tests, and has nothing to lock anew.
    let directory = tempdir();
    for source in &sources {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(root().join(source))
            .arg(directory.path())
            .status();
        assert!(copied.expect("cp runs").success());
    }
    let cargo = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(&directory)
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    // What the code takes in while it is compiled.
    let code = Command::new("grep")
        .args(["-rhoE", r#"(migrate!|include_[a-z]+!|include_dir!)\("[^"]+""#, "src"])
        .current_dir(root())
        .output();
    let code = String::from_utf8(code.expect("grep runs").stdout).expect("text");
    for line in code.lines() {
        let file = line.split('"').nth(1).expect("in quotes");
        let kept = match line.starts_with("migrate!") {
            true => file.starts_with("migrations/"),
            false => !file.contains("../"),
        };
        assert!(kept, "{line}) is not in the image's sources");
    }
    assert!(code.contains("migrate!"), "{code}");
}

#[test]
fn the_image_is_small_and_not_roots() {
    let dockerfile = dockerfile();
    let from = lines(&dockerfile, "FROM");
    let rust = text("Cargo.toml")
        .lines()
        .find_map(|line| Some(line.strip_prefix("rust-version = \"")?.trim_end_matches('"').to_owned()));
    assert_eq!(from.len(), 2);
    assert_eq!(
        from[0],
        format!("rust:{}-slim-bookworm AS build", rust.expect("a version"))
    );
    // Bookworm's libc, as that of the builder; no shell, and the user `nonroot`.
    assert_eq!(from[1], "gcr.io/distroless/cc-debian12:nonroot");
    let user = lines(&dockerfile, "USER");
    assert!(user.is_empty(), "{user:?}");
}

/// The probe is the program itself: there is no other in the image.
#[test]
fn the_health_check_is_a_command_that_there_is() {
    let dockerfile = dockerfile();
    let program = words(&serde_json::from_str(lines(&dockerfile, "ENTRYPOINT")[0]).expect("a list"));
    let copied = lines(&dockerfile, "COPY")
        .into_iter()
        .find_map(|line| line.strip_prefix("--from=build /quick-notify "));
    assert_eq!(program, [copied.expect("the program is copied")]);
    let probe = lines(&dockerfile, "HEALTHCHECK")[0]
        .split_once(" CMD ")
        .expect("a command")
        .1;
    let probe = words(&serde_json::from_str(probe).expect("a list"));
    assert_eq!(probe[0], program[0]);
    let arguments: Vec<_> = probe[1..].iter().map(String::as_str).collect();
    let help = Server::program(&[&arguments[..], &["--help"]].concat());
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    let help = String::from_utf8(help.stdout).expect("text");
    assert!(
        help.contains("[default: http://127.0.0.1:2025]"),
        "it asks elsewhere than where the node listens: {help}"
    );
}
