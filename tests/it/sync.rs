//! No receipt leaves before the sync of its commit. The page cache survives kill -9, so a trace of the system calls has to show it.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::harness::{Server, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn no_receipt_leaves_before_the_sync_of_its_commit() {
    let (ids, trace) = traced("full").await;
    assert_eq!(early_receipts(&ids, &trace), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_is_red_without_syncs() {
    let (ids, trace) = traced("off").await;
    assert_eq!(
        early_receipts(&ids, &trace).len(),
        ids.len(),
        "every receipt leaves early with synchronous=off"
    );
}

/// Posts under strace; answers with the accepted ids and the trace.
async fn traced(synchronous: &str) -> (Vec<String>, String) {
    assert!(
        Command::new("strace")
            .arg("-V")
            .output()
            .is_ok_and(|output| output.status.success()),
        "strace is missing: run tests/run, which installs what is missing"
    );
    let mut server = Server::with(&[("queue.embedded.synchronous", synchronous)]).await;
    let log = server.data().join("trace");
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-y",
            "-s",
            "65536",
            "-e",
            "trace=fdatasync,fsync,pwrite64,write,writev,sendto,sendmsg",
            "-o",
        ])
        .arg(&log)
        .args(["-p", &server.pid().to_string()])
        .spawn()
        .expect("strace starts");
    // Attached when the first calls appear: readiness writes to the record.
    eventually("strace to be attached", || async {
        server.get("/health/ready", &[]).await;
        std::fs::metadata(&log).is_ok_and(|file| file.len() > 0)
    })
    .await;
    let mut ids = Vec::new();
    for n in 0..20 {
        let id = format!("traced_{synchronous}_{n}");
        let receipt = server
            .publish(json!({"receiver": "test1", "id": id, "data": "traced"}))
            .await;
        let durability = if synchronous == "full" { "fsynced" } else { "memory" };
        assert_eq!(receipt["durability"], durability);
        ids.push(id);
    }
    server.kill9().await;
    strace.wait().expect("strace ends with its process");
    (ids, read(&log))
}

/// The ids whose receipt was written before a sync of the queue's log that began after the id was written there.
fn early_receipts(ids: &[String], trace: &str) -> Vec<String> {
    let calls: Vec<&str> = trace.lines().collect();
    let early = |id: &&String| {
        let written = calls
            .iter()
            .position(|call| call.contains("pwrite64") && call.contains("queue.db-wal") && call.contains(&***id));
        let answered = calls
            .iter()
            .position(|call| call.contains("202 Accepted") && call.contains(&***id));
        let (Some(written), Some(answered)) = (written, answered) else {
            panic!("{id} is not in the trace: written {written:?}, answered {answered:?}");
        };
        !synced(&calls[written..answered.max(written)])
    };
    ids.iter().filter(early).cloned().collect()
}

/// Whether these calls hold a sync of the queue's log, from its begin to its end.
fn synced(calls: &[&str]) -> bool {
    calls.iter().enumerate().any(|(index, call)| {
        let begins = (call.contains("fdatasync(") || call.contains("fsync(")) && call.contains("queue.db-wal");
        let thread = call.split_whitespace().next();
        let ends = |later: &&&str| later.contains("sync resumed") && later.split_whitespace().next() == thread;
        begins && (call.contains("= 0") || calls[index..].iter().find(ends).is_some())
    })
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(log).expect("a trace")).into_owned()
}
