//! `dead`: what can never pass is looked at and tried again.

use std::path::Path;

use quick_notify::lifecycle::wall_clock;
use serde_json::{Value, json};

use super::{data_of, in_directory, run};
use crate::checker;
use crate::contract::notification;
use crate::harness::{Server, Tab, eventually, tempdir};

/// Puts entries into the queue of a server that has stopped, as a door of another version might have.
async fn plant(data: &Path, entries: &[(&str, Vec<u8>)]) {
    let mut file = checker::open(data, "queue.db").await;
    for (id, payload) in entries {
        sqlx::query("insert into entry (id, hash, payload) values (?, ?, ?)")
            .bind(id)
            .bind(&[7u8; 16][..])
            .bind(&payload[..])
            .execute(&mut file)
            .await
            .expect("planted");
    }
}

async fn died(server: &Server, count: f64) {
    eventually("the dead letters", || async {
        server.metric("quick_notify_dead_letters_total").await == count
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_listed_shown_and_replayed() {
    let mut server = Server::alone(&[]).await;
    let data = data_of(server.data());
    let dead = |arguments: &[&str]| run(&in_directory(&data, &[&["dead"], arguments].concat()), &[]);
    server
        .publish(json!({"receiver": "test1", "data": "first", "id": "a"}))
        .await;
    assert_eq!(server.terminate().await, Some(0));
    assert_eq!(
        dead(&["list"]),
        (Some(0), String::new(), "There are no dead letters.\n".into())
    );
    let mut second = notification("test1", "a", "second");
    // Of today: the sweep that follows the start would remove an old one.
    second.created = wall_clock();
    let second = serde_json::to_vec(&second).expect("JSON");
    plant(
        server.data(),
        &[("a", second.clone()), ("b", b"not JSON \x1b[31m".into())],
    )
    .await;
    server.restart().await;
    died(&server, 2.0).await;

    let (code, _, err) = dead(&["list"]);
    assert_eq!(code, Some(1));
    for word in [
        "can be reached while its server is stopped",
        "another quick-notify uses this data directory",
    ] {
        assert!(err.contains(word), "{err}");
    }
    assert_eq!(server.terminate().await, Some(0));

    let (code, out, err) = dead(&["list"]);
    assert_eq!((code, &*err), (Some(0), ""));
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NUMBER", "DIED", "REASON", "ID", "DETAIL"]);
    assert_eq!((lines[1][0], lines[1][2], lines[1][3]), ("2", "conflict", "a"));
    assert!(out.contains("the id was given to another notification before"), "{out}");
    assert!(lines[1][1].starts_with("20") && lines[1][1].ends_with('Z'), "{out}");
    assert_eq!((lines[2][0], lines[2][2], lines.len()), ("3", "unreadable", 3));
    let (_, out, err) = dead(&["list", "--limit", "1"]);
    assert_eq!((out.lines().count(), &*err), (2, "There are more: --after 2\n"));
    let (_, out, err) = dead(&["list", "--after", "2", "--limit", "1", "--json"]);
    let letter: Value = serde_json::from_str(&out).expect("a line of JSON");
    assert_eq!(
        (&letter["number"], &letter["reason"], &letter["payload"], &*err),
        (&json!(3), &json!("unreadable"), &json!("not JSON \u{1b}[31m"), "")
    );

    let (code, out, _) = dead(&["show", "2"]);
    assert_eq!(code, Some(0));
    for line in [
        "number   2\n",
        "reason   conflict\n",
        "id       a\n",
        &format!("body     {} bytes\n", second.len()),
    ] {
        assert!(out.contains(line), "{line} in\n{out}");
    }
    assert!(
        out.ends_with(&format!("\n\n{}\n", String::from_utf8_lossy(&second))),
        "{out}"
    );
    let (_, out, _) = dead(&["show", "3"]);
    assert!(out.ends_with("with escapes\n\nnot JSON \\u{1b}[31m\n"), "{out}");
    assert_eq!(dead(&["show", "1"]).2, "quick-notify: there is no dead letter 1\n");

    // The first one leaves the record, so that nothing stands against the second.
    let mut record = checker::open(server.data(), "record.db").await;
    sqlx::query("delete from notify_log where id = 'a'")
        .execute(&mut record)
        .await
        .expect("deleted");
    drop(record);
    let (code, out, err) = dead(&["replay", "2", "9"]);
    assert_eq!((code, &*out), (Some(1), "2: queued anew\n"));
    assert_eq!(
        err,
        "9: there is no such dead letter\nquick-notify: 1 of 2 dead letters were not replayed\n"
    );
    assert_eq!(
        dead(&["replay", "--all", "--reason", "conflict"]).2,
        "There is nothing to replay.\n"
    );
    assert_eq!(
        dead(&["replay", "--all"]),
        (Some(0), "3: queued anew\n".into(), String::new())
    );
    server.restart().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    assert_eq!(tab.delivery().await.data(), "second");
    died(&server, 1.0).await;
    assert_eq!(server.terminate().await, Some(0));
    let (_, out, _) = dead(&["list"]);
    let again: Vec<_> = out
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(again, ["5"], "what nobody can read died again:\n{out}");
}

#[test]
fn what_can_not_be_asked_of_dead_letters_is_explained() {
    let data = tempdir();
    let here = data_of(data.path());
    let table: [(&[&str], i32, &str); 5] = [
        (&["dead"], 2, "Usage: quick-notify dead"),
        (&["dead", "list"], 1, "there is no queue in "),
        (&["dead", "replay"], 2, "<NUMBER>..."),
        (&["dead", "replay", "1", "--all"], 2, "cannot be used with"),
        (
            &["dead", "replay", "1", "--reason", "conflict"],
            2,
            "cannot be used with",
        ),
    ];
    for (arguments, expected, words) in table {
        let arguments = match expected {
            1 => in_directory(&here, arguments),
            _ => arguments.to_vec(),
        };
        let (code, _, err) = run(&arguments, &[]);
        assert!(
            code == Some(expected) && err.contains(words),
            "{arguments:?}: {code:?} {err}"
        );
    }
    assert_eq!(
        std::fs::read_dir(data.path()).expect("a directory").count(),
        0,
        "looking leaves nothing behind"
    );
}
