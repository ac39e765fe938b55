//! How the server starts and ends: what it says, and its exit code.

use std::time::{Duration, Instant};

use super::{data_of, in_directory, run};
use crate::harness::{Server, Tab};

#[tokio::test]
async fn ctrl_c_drains_and_ends_with_success() {
    for signal in ["INT", "TERM"] {
        let mut server = Server::start().await;
        let mut tab = Tab::listen(&server, "test1", None).await;
        server.notify("test1", "x").await;
        tab.delivery().await;
        server.signal(signal);
        tab.closed().await;
        let (code, reason) = tab.close.clone().expect("a close frame");
        assert_eq!((code, reason.starts_with("draining")), (1001, true), "{reason}");
        assert_eq!(server.wait().await, Some(0), "{signal}");
        assert!(server.log().contains("Draining; a second signal stops at once."));
    }
}

/// A client that does not answer the close holds the drain up, for as long as it is configured to be waited for.
#[tokio::test]
async fn a_second_signal_stops_at_once_and_loses_nothing() {
    let mut server = Server::with(&[("edge.close_timeout_ms", "10000")]).await;
    let mut deaf = Tab::listen(&server, "test1", None).await;
    let id = server.notify("test1", "x").await;
    deaf.delivery().await;
    let begun = Instant::now();
    server.signal("INT");
    crate::harness::eventually("the drain", || async { server.log().contains("Draining") }).await;
    server.signal("INT");
    assert_eq!(server.wait().await, Some(1), "the drain was not done");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let log = server.log();
    let last = "quick-notify: stopped before the drain was done; nothing that was accepted is lost";
    assert!(log.ends_with(&format!("{last}\n")), "{log}");
    drop(deaf);
    server.restart().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    assert_eq!(tab.delivery().await.id, id);
}

#[tokio::test]
async fn a_start_that_can_not_be_says_why() {
    let server = Server::start().await;
    let taken = format!("app.listen={}", server.address());
    let data = data_of(server.data());
    let free = ["--set", "app.listen=127.0.0.1:0", "--set", "telemetry.listen="];
    let (code, _, err) = run(&in_directory(&data, &free), &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("queue.db: ")
            && err.ends_with("database is locked: another quick-notify uses this data directory\n"),
        "{err}"
    );
    let other = crate::harness::tempdir();
    let data = data_of(other.path());
    let (code, _, err) = run(
        &in_directory(&data, &["--set", &taken, "--set", "telemetry.listen="]),
        &[],
    );
    let said = format!(
        "quick-notify: app.listen: {} can't be bound: Address already in use (os error 98)\n",
        server.address()
    );
    assert_eq!((code, err), (Some(1), said));
    let (code, _, err) = run(&in_directory("app.data=/proc/nowhere", &free), &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("quick-notify: app.data: /proc/nowhere can't be made: "),
        "{err}"
    );
}
