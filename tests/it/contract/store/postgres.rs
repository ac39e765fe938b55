//! PostgreSQL: a server that goes away and comes back, nodes that start together, and the table of today's users.

mod upgrade;

use std::time::{Duration, Instant};

use quick_notify::store::{self, Adapter, Placed, Store, StoreError};

use super::{batch, confirm, page};
use crate::harness::servers::Postgres;
use crate::harness::{eventually, within};

pub fn config(url: &str) -> store::Config {
    store::Config {
        adapter: Adapter::Postgres,
        postgres: store::postgres::Config {
            url: url.to_owned(),
            ..Default::default()
        },
        ..Default::default()
    }
}

async fn open(config: &store::Config) -> Result<store::postgres::Postgres, StoreError> {
    store::postgres::Postgres::open(&config.postgres).await
}

#[tokio::test]
async fn verbs_work_again_after_the_server_was_away() {
    let mut server = Postgres::start().await;
    let store = open(&config(&server.url())).await.expect("the record opens");
    let epoch = store.claim(0).await.expect("the lane");
    store
        .insert(&batch(epoch, &[(1, "alice", "a1", "x")]))
        .await
        .expect("stored");
    let second = batch(epoch, &[(2, "alice", "a2", "x")]);
    for _ in 0..2 {
        server.kill9().await;
        let away = [
            store.insert(&second).await.map(drop),
            store.ping().await,
            store.marks().await.map(drop),
        ];
        for error in away.into_iter().map(|answer| answer.expect_err("it is away")) {
            assert!(error.is_retryable(), "{error}");
        }
        server.restart().await;
        eventually("the record answers", async || store.ping().await.is_ok()).await;
        let placed = store.insert(&second).await.expect("no harm");
        assert!(matches!(
            placed[..],
            [Placed::Stored { seq: 2 } | Placed::Duplicate { seq: 2 }]
        ));
    }
    assert_eq!(page(&store, "alice", 0, None, 10).await.rows.len(), 2);
    assert_eq!(confirm(&store, "alice", "a1").await.seq(), Some(1));
}

/// Connections stay open and nothing answers: only the deadline ends that.
#[tokio::test]
async fn a_frozen_server_holds_nobody_beyond_the_deadline() {
    let server = Postgres::start().await;
    let mut config = config(&server.url());
    config.postgres.lock_timeout_ms = 100;
    config.postgres.statement_timeout_ms = 200;
    config.postgres.connect_timeout_ms = 200;
    config.postgres.timeout_ms = 400;
    let store = open(&config).await.expect("the record opens");
    store.ping().await.expect("it answers");
    server.stop();
    let began = Instant::now();
    for _ in 0..2 {
        let error = store.marks().await.expect_err("it is frozen");
        assert!(error.is_retryable(), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    server.cont();
    eventually("the record answers", async || store.marks().await.is_ok()).await;
}

#[tokio::test]
async fn nodes_that_start_together_make_one_schema() {
    let database = Postgres::shared().await;
    let config = config(&database.url);
    let nodes = within(
        "three starts",
        futures_util::future::join_all((0..3).map(|_| open(&config))),
    )
    .await;
    for (node, lane) in nodes.into_iter().zip(0..) {
        let node = node.expect("it starts");
        assert_eq!(node.claim(lane).await.expect("the lane"), 1);
    }
}

#[tokio::test]
async fn a_start_says_what_is_wrong_and_where_without_the_password() {
    const PASSWORD: &str = "sesame-open";
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), PASSWORD).expect("it is written");
    let database = Postgres::shared().await;
    let place = database.url.strip_prefix("postgres://quick@").expect("a URL");
    let (host, name) = place.split_once('/').expect("a database");
    let refusal = async |url: String| {
        let mut config = config(&url);
        config.postgres.password.secret_file = Some(file.path().to_owned());
        let error = open(&config).await.err().expect("it doesn't start");
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        let text = format!("{error} {error:?}");
        assert!(!text.contains(PASSWORD), "{text}");
        error.to_string()
    };
    assert_eq!(
        refusal(format!("postgres://nobody@{place}")).await,
        format!("PostgreSQL at {host}, database {name}: role \"nobody\" does not exist")
    );
    assert_eq!(
        refusal(format!("postgres://quick@{host}/gone")).await,
        format!("PostgreSQL at {host}, database gone: database \"gone\" does not exist")
    );
    let refused = refusal("postgres://quick@127.0.0.1:1/gone".into()).await;
    assert!(
        refused.starts_with("PostgreSQL at 127.0.0.1:1, database gone: ") && refused.contains("refused"),
        "{refused}"
    );
}

#[test]
fn a_password_in_the_url_is_a_mistake_that_is_not_repeated() {
    const HELP: &str = "holds a password: name it in `password`, as { secret_env = NAME } or { secret_file = PATH }";
    let problems = |url: &str| config(url).problems();
    let url = |reason: &str| vec![("postgres.url".to_owned(), reason.to_owned())];
    for right in [
        "postgres://db:5432/notify",
        "postgresql://quick@db/notify?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgres:///notify?host=/run/postgresql",
    ] {
        assert_eq!(problems(right), [], "{right}");
    }
    for wrong in [
        "postgres://quick:sesame@db/notify",
        "postgres://quick:se@same@db/notify",
        "postgres://:sesame@db/notify",
        "postgres://quick@db/notify?password=sesame",
    ] {
        assert_eq!(problems(wrong), url(HELP));
    }
    assert_eq!(
        problems("mysql://db/notify"),
        url("begins with postgres://, as in postgres://HOST:PORT/DATABASE")
    );
    assert_eq!(
        problems("postgres://db"),
        url("names no database, as in postgres://HOST:PORT/DATABASE")
    );
    assert_eq!(
        problems("postgres://db/notify?pasword=sesame"),
        url("says what is not known here; known: sslmode, sslrootcert, sslcert, sslkey, host, application_name")
    );
    let mut config = config("postgres://quick@db/notify");
    config.postgres.user = Some("quick".into());
    config.postgres.max_connections = 1;
    config.postgres.lock_timeout_ms = 9_000;
    config.postgres.statement_timeout_ms = 20_000;
    config.postgres.connect_timeout_ms = 0;
    config.postgres.password.secret_env = Some("QN_NO_SUCH_VARIABLE".into());
    let told: Vec<_> = config
        .problems()
        .into_iter()
        .map(|(path, reason)| format!("{path}: {reason}"))
        .collect();
    assert_eq!(
        told,
        [
            "postgres.user: is said twice: here and in the URL",
            "postgres.password: secret_env QN_NO_SUCH_VARIABLE: is not set",
            "postgres.max_connections: must lie between 2 and 1000",
            "postgres.connect_timeout_ms: must lie between 100 and 600000",
            "postgres.statement_timeout_ms: must be at most timeout_ms",
        ]
    );
}
