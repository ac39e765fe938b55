//! A client in Java: Spring's `WebSocketStompClient` with `SockJsClient` (`tests/java`). Only where there is a JDK with Maven.

use std::io::Write;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::harness::Server;
use crate::programs::{SETTINGS, found, run};

#[tokio::test]
async fn spring_takes_confirms_by_app_ack_reconnects_and_gets_what_it_missed_over_each_transport() {
    if !found("java").await || !found("mvn").await {
        // Past the test runner, which shows what a test prints only when it fails.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no JDK with Maven for the client in Java"
        );
        return;
    }
    let built = built().await;
    for transport in ["websocket", "xhr-streaming", "xhr-polling"] {
        let mut server = Server::with(&SETTINGS).await;
        let mut command = Command::new("java");
        let classes = format!("{}:{}/*", built.join("classes").display(), built.join("lib").display());
        command.args(["-cp", &classes, "SpringClient"]);
        run(&mut server, command, &["test1", transport]).await.survived_a_kill();
    }
}

/// Where the program is. It is built anew only when its files have changed: what Maven does takes longer than the story.
async fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (project, out) = (root.join("tests/java"), root.join("target/java"));
    let files = ["pom.xml", "src/SpringClient.java"].map(|file| std::fs::read_to_string(project.join(file)));
    let wanted: String = files.map(|text| text.expect("a file of tests/java")).concat();
    let stamp = out.join("built");
    if std::fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        return out;
    }
    // First with what Maven has: nobody is asked for packages that are there.
    if let Err(said) = maven(&project, &out, &["--offline"]).await {
        let said_then = maven(&project, &out, &[]).await;
        assert!(said_then.is_ok(), "mvn: {said}\n{said_then:?}");
    }
    std::fs::write(stamp, wanted).expect("a file");
    out
}

async fn maven(project: &Path, out: &Path, options: &[&str]) -> Result<(), String> {
    let done = Command::new("mvn")
        .args(["--batch-mode", "--quiet"])
        .args(options)
        .arg(format!("-Dout={}", out.display()))
        .arg("compile")
        .current_dir(project)
        .output()
        .await
        .expect("mvn runs");
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned()),
    }
}
