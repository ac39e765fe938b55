//! A server that dies, freezes, or is not the one that was meant.

use std::time::{Duration, Instant};

use quick_notify::store::{Confirmation, Placed, StoreError};

use super::{batch, config, open, try_open};
use crate::harness::servers::MariaDb;
use crate::harness::{eventually, tempdir};

#[tokio::test]
async fn what_was_stored_survives_a_killed_server_and_verbs_work_again() {
    let mut server = MariaDb::start().await;
    let url = server.database().await.url;
    let store = open(&url).await;
    let epoch = store.claim(0).await.expect("the lane");
    let first = batch(0, epoch, &[(1, "alice", "a1"), (2, "alice", "a2")]);
    store.insert(&first).await.expect("stored");
    // Several connections, so that several are dead.
    let confirm = |id: &str| {
        [Confirmation {
            user: "alice".into(),
            id: id.into(),
            look_only: false,
        }]
    };
    let (a, b) = (confirm("a1"), confirm("nothing"));
    futures_util::try_join!(
        store.confirm(&a, 2_000),
        store.confirm(&b, 2_000),
        store.unread("alice")
    )
    .expect("answers");

    server.kill9().await;
    let second = batch(0, epoch, &[(3, "alice", "a3")]);
    let refused = store.insert(&second).await;
    assert!(refused.as_ref().is_err_and(StoreError::is_retryable), "{refused:?}");
    let refused = store.ping().await;
    assert!(refused.as_ref().is_err_and(StoreError::is_retryable), "{refused:?}");

    server.restart().await;
    eventually("the record's return", || async { store.ping().await.is_ok() }).await;
    eventually("every connection's return", || async {
        futures_util::try_join!(store.unread("alice"), store.unread("alice"), store.unread("alice")).is_ok()
    })
    .await;
    assert_eq!(
        store.insert(&first).await.expect("no harm"),
        [1, 2].map(|seq| Placed::Duplicate { seq })
    );
    assert_eq!(
        store.insert(&second).await.expect("stored"),
        [Placed::Stored { seq: 3 }]
    );
    let lane = store.lanes().await.expect("lanes")[0].clone();
    assert_eq!((lane.stored, lane.settled, lane.open), (3, 3, 2));
}

#[tokio::test]
async fn a_frozen_server_costs_no_more_than_the_deadline() {
    let server = MariaDb::start().await;
    let mut settings = config(&server.database().await.url);
    settings.mysql.timeout_ms = 500;
    settings.mysql.max_connections = 2;
    let store = try_open(&settings).await.expect("the record opens");
    store.unread("alice").await.expect("a number");
    server.stop();
    let start = Instant::now();
    for _ in 0..4 {
        let refused = store.unread("alice").await;
        assert!(matches!(refused, Err(StoreError::TimedOut(_))), "{refused:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    server.cont();
    eventually("the record's return", || async { store.unread("alice").await.is_ok() }).await;
}

#[tokio::test]
async fn a_record_that_can_not_be_opened_is_named_and_its_password_is_not() {
    const SECRET: &str = "sesame-open-sesame";
    let url = MariaDb::shared().await.url;
    let directory = tempdir();
    let file = directory.path().join("password");
    std::fs::write(&file, format!("{SECRET}\n")).expect("a file");
    let mut settings = config(&url);
    settings.mysql.password.secret_file = Some(file);
    let database = url.rsplit_once('/').expect("a database").1;
    let denied = refusal(&settings).await;
    assert!(denied.contains("127.0.0.1:") && denied.contains(database), "{denied}");
    assert!(
        denied.contains("Access denied") && denied.contains("store.mysql.password"),
        "{denied}"
    );
    assert!(!denied.contains(SECRET), "{denied}");

    let gone = refusal(&config(&format!("{url}_gone"))).await;
    assert!(
        gone.contains(&format!("{database}_gone")) && gone.contains("create the database first"),
        "{gone}"
    );

    let mut nobody = config("mysql://root@127.0.0.1:1/notify");
    nobody.mysql.timeout_ms = 2_000;
    let nobody = refusal(&nobody).await;
    assert!(nobody.contains("mysql at 127.0.0.1:1, database notify"), "{nobody}");
}

#[test]
fn mistakes_in_the_configuration_are_told_without_the_password() {
    let mut settings = config("mysql://root:sesame@db.example/notify");
    settings.mysql.password.secret_env = Some("NO_SUCH_VARIABLE".into());
    settings.mysql.max_connections = 1;
    settings.mysql.timeout_ms = 1;
    settings.mysql.idle_transaction_seconds = 0;
    settings.mysql.upgrade_timeout_ms = 0;
    let problems: Vec<_> = settings
        .problems()
        .into_iter()
        .map(|(path, reason)| format!("{path}: {reason}"))
        .collect();
    assert_eq!(
        problems,
        [
            "mysql.url: holds a password; say it in `password`, by secret_env or secret_file",
            "mysql.password: secret_env NO_SUCH_VARIABLE: is not set",
            "mysql.max_connections: must lie between 2 and 1000",
            "mysql.timeout_ms: must lie between 100 and 600000",
            "mysql.idle_transaction_seconds: must lie between 1 and 600",
            "mysql.upgrade_timeout_ms: must lie between 100 and 86400000",
        ]
    );
    for (url, reason) in [
        (
            "postgres://db.example/notify",
            "is not an address such as mysql://notify@db.example:3306/notify",
        ),
        (
            "mysql://ro ot@:x",
            "is not an address such as mysql://notify@db.example:3306/notify",
        ),
        (
            "mysql://root@db.example",
            "names no database; say an address such as mysql://notify@db.example:3306/notify",
        ),
    ] {
        assert_eq!(
            config(url).problems(),
            [("mysql.url".to_owned(), reason.to_owned())],
            "{url}"
        );
    }
}

async fn refusal(settings: &quick_notify::store::Config) -> String {
    match try_open(settings).await {
        Err(StoreError::Refused(reason)) => reason,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it opened"),
    }
}
