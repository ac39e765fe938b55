//! A fresh database directory costs a second or two to make and a tenth to copy: it is made once for each version of
//! the server, and copied for each server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::{Data, base, give};

/// Copies the template of this name into `data`; `make` makes it in the directory given, where it is missing.
pub fn copy(name: &str, account: Option<&str>, data: &Data, make: impl Fn(&Path) -> Command) {
    let template = base().join(format!("template-{name}"));
    if !template.is_dir() {
        make_once(&template, account, make);
    }
    run(Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(&template)
        .arg(data.store()));
}

/// The version of a server, for the template's name: a new one doesn't start on the old one's directory.
pub fn version(program: &Path) -> String {
    let output = Command::new(program)
        .arg("--version")
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect::<String>()
}

/// Several test processes may come here at once: each makes its own, and the first to finish names it.
fn make_once(template: &Path, account: Option<&str>, make: impl Fn(&Path) -> Command) {
    let workshop = Data::fresh();
    give(&workshop.path, account);
    let made: PathBuf = workshop.store();
    run(&mut make(&made));
    if std::fs::rename(&made, template).is_err() {
        assert!(template.is_dir(), "{} cannot be made", template.display());
    }
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
}
