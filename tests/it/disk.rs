//! A full disk and a read-only database: producers are told what is wrong and when to come back, the server stays up and says so, and when
//! the disk is right again everything goes on and nothing accepted is lost.
//!
//! A disk of its own is a small tmpfs in a mount namespace of its own, which goes with the process. A file is read-only through `chattr +i`,
//! which also stops who has it open, as a disk that went read-only does; it takes root.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, Tab, eventually, tempdir};

const OWN_DISK: &str = "mount -t tmpfs -o size=2m none \"$0\" && exec \"$@\"";
const FULL: &str = "database or disk is full: free some space on its disk";
const READ_ONLY: &str =
    "disk I/O error: its disk fails, is full or went read-only; check its mount and the kernel's log";
const OPENED_READ_ONLY: &str =
    "attempt to write a readonly database: it can't be written to; check its permissions and mount";

#[tokio::test]
async fn a_full_disk_sends_producers_away_and_loses_nothing() {
    let data = tempdir();
    let path = data.path().display().to_string();
    let wrapper = ["unshare", "-Urm", "sh", "-c", OWN_DISK, &path];
    let mut server = Server::wrapped(data, &[], &[], &wrapper).await;
    let ballast = Ballast::on(&server);
    let mut tab = Tab::listen(&server, "test1", None).await;
    let mut accepted = vec![server.notify("test1", "before").await];

    // What a log has room for in its file is still taken; sooner or later it has none.
    let mut refused = None;
    while refused.is_none() {
        ballast.fill();
        let answer = post(&server, &"x".repeat(20_000)).await;
        match answer.status {
            202 => accepted.push(id(&answer)),
            _ => refused = Some(answer),
        }
        assert!(accepted.len() < 200, "the disk is never full");
    }
    refuses(
        &refused.expect("it was refused"),
        &format!("the queue is unavailable: queue.db: error returned from database: (code: 13) {FULL}"),
    );
    eventually("not to be ready", || async {
        ballast.fill();
        let ready = server.get("/health/ready", &[]).await;
        let told = [&ready.json()["record"], &ready.json()["queue"]].map(Value::to_string);
        ready.status == 503 && told.iter().any(|told| told.contains(FULL))
    })
    .await;
    assert_eq!(server.get("/health/live", &[]).await.status, 200);

    ballast.drop();
    eventually("to be ready again", || async {
        server.get("/health/ready", &[]).await.status == 200
    })
    .await;
    accepted.push(server.notify("test1", "after").await);
    let got = tab.deliveries(accepted.len()).await;
    for ((seq, id), delivery) in (1..).zip(&accepted).zip(&got) {
        assert_eq!(
            (&delivery.id, delivery.seq),
            (id, Some(seq)),
            "all that was accepted, in order"
        );
    }
    tab.is_quiet().await;
    tab.leave().await;
    assert_eq!(server.terminate().await, Some(0));
}

#[tokio::test]
async fn a_queue_that_went_read_only_refuses_until_it_is_back() {
    let server = Server::start().await;
    server.notify("test1", "before").await;
    let locked = Immutable::make(server.data().join("queue.db-wal"));
    let reason = format!("the queue is unavailable: queue.db: error returned from database: (code: 778) {READ_ONLY}");
    for _ in 0..3 {
        refuses(&post(&server, "during").await, &reason);
    }
    let array = json!([{"receiver": "test1", "data": "a"}, {"receiver": "test1", "data": "b"}]).to_string();
    let answer = server.post("/api/notify", &[], array).await;
    assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (503, true));
    assert_eq!(answer.json()["items"][1]["error"]["reason"], reason);
    assert_eq!(not_ready(&server).await["queue"], reason);

    drop(locked);
    server.notify("test1", "after").await;
    assert_eq!(server.get("/health/ready", &[]).await.status, 200);
    let mut tab = Tab::listen(&server, "test1", None).await;
    let got: Vec<_> = tab
        .deliveries(2)
        .await
        .iter()
        .map(|delivery| (delivery.seq, delivery.data()))
        .collect();
    assert_eq!(got, [(Some(1), "before".to_owned()), (Some(2), "after".to_owned())]);
    tab.is_quiet().await;
}

/// The queue takes over while the record is away; who asks the record is told.
#[tokio::test]
async fn a_record_that_went_read_only_is_caught_up_when_it_is_back() {
    let mut server = Server::start().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let first = server.notify("test1", "before").await;
    assert_eq!(tab.delivery().await.id, first);
    let locked = Immutable::make(server.data().join("record.db-wal"));
    // Before anything failed: readiness finds out by itself.
    assert_eq!(not_ready(&server).await["queue"], Value::Null);
    let mut accepted = Vec::new();
    for n in 0..5 {
        accepted.push(server.notify("test1", &n.to_string()).await);
    }
    // A file that was open already fails to be written; one that is opened now is known to be read-only.
    let named = |told: &str| {
        told.contains("record.db: ") && [READ_ONLY, OPENED_READ_ONLY].iter().any(|words| told.ends_with(words))
    };
    for _ in 0..3 {
        let told = not_ready(&server).await;
        assert!(told["record"].as_str().is_some_and(named), "{told}");
        let viewed = server
            .post(
                "/api/notify/viewed",
                &[("Authorization", "test1")],
                json!([first]).to_string(),
            )
            .await;
        assert_eq!(
            (viewed.status, viewed.headers["retry-after"].to_str().expect("text")),
            (503, "1")
        );
        assert!(named(&viewed.refusal()), "{}", viewed.refusal());
    }
    // A container's health check finds out, too, and says why.
    let health = Server::program(&["health", &server.url()]);
    let told = String::from_utf8_lossy(&health.stderr);
    assert_eq!(health.status.code(), Some(1));
    assert!(
        told.starts_with("quick-notify: 503 Service Unavailable: ") && told.contains("record.db: "),
        "{told}"
    );
    assert_eq!(
        server
            .get("/api/notify/history", &[("Authorization", "test1")])
            .await
            .status,
        200,
        "it can be read"
    );

    drop(locked);
    let got = tab.deliveries(accepted.len()).await;
    for ((n, id), delivery) in (0..).zip(&accepted).zip(&got) {
        assert_eq!((&delivery.id, delivery.data()), (id, format!("{n}")));
        tab.ack(id).await;
    }
    assert_eq!(server.get("/health/ready", &[]).await.status, 200);
    tab.ack(&first).await;
    tab.leave().await;
    assert_eq!(server.terminate().await, Some(0));
    let record = crate::checker::Record::read(server.data()).await;
    assert_eq!((record.tally.stored, record.tally.ended), (6, 6));
    assert_eq!(record.check(&[], &[]), Vec::<String>::new());
}

/// At the start there is nobody to serve yet: the process says what is wrong, and ends.
#[test]
fn a_disk_that_is_read_only_or_full_stops_the_start() {
    let table = [
        (
            "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"",
            ["readonly", "Read-only", "unable to open"].as_slice(),
        ),
        (
            "mount -t tmpfs -o size=16k none \"$0\" && exec \"$@\"",
            &[FULL, READ_ONLY],
        ),
    ];
    for (script, words) in table {
        let data = tempdir();
        let path = data.path().display().to_string();
        let output = Command::new("unshare")
            .args(["-Urm", "sh", "-c", script, &path, env!("CARGO_BIN_EXE_quick-notify")])
            .args(["--set", "app.listen=127.0.0.1:0", "--set", "telemetry.listen=", "--set"])
            .arg(format!("app.data={path}"))
            .output()
            .expect("unshare starts");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(
            told.contains(&path) && words.iter().any(|word| told.contains(word)),
            "{told}"
        );
    }
}

async fn post(server: &Server, text: &str) -> Answer {
    let draft = json!({"receiver": "test1", "data": text});
    server.post("/api/notify", &[], draft.to_string()).await
}

fn id(answer: &Answer) -> String {
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn refuses(answer: &Answer, reason: &str) {
    assert_eq!(
        answer.json(),
        json!({"error": {"code": "unavailable", "reason": reason}})
    );
    assert_eq!(
        (answer.status, answer.headers["retry-after"].to_str().ok()),
        (503, Some("1"))
    );
}

async fn not_ready(server: &Server) -> Value {
    let ready = server.get("/health/ready", &[]).await;
    assert_eq!(
        (ready.status, &ready.json()["ready"]),
        (503, &json!(false)),
        "{}",
        ready.text
    );
    ready.json()
}

/// What takes up the room on a server's own disk, reached through the process's root.
struct Ballast(PathBuf);

impl Ballast {
    fn on(server: &Server) -> Self {
        let data = server.data().strip_prefix("/").expect("an absolute path");
        Self(
            Path::new("/proc")
                .join(server.pid().to_string())
                .join("root")
                .join(data)
                .join("ballast"),
        )
    }

    fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&self.0)
            .expect("the ballast opens");
        while file.write(&[0; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn drop(&self) {
        std::fs::remove_file(&self.0).expect("the ballast goes");
    }
}

/// A file that nobody can write to, not even who has it open.
struct Immutable(PathBuf);

impl Immutable {
    fn make(path: PathBuf) -> Self {
        chattr("+i", &path);
        Self(path)
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

fn chattr(change: &str, path: &Path) {
    let status = Command::new("chattr")
        .arg(change)
        .arg(path)
        .status()
        .expect("chattr is there");
    assert!(status.success(), "chattr {change} takes root and a disk that knows it");
}
