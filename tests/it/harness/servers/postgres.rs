//! PostgreSQL that syncs for real, without a password; it refuses to run as root, so an account of its own runs it.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions, Connection};
use tokio::sync::OnceCell;

use super::process::{Data, Process, Recipe, as_account, give, program};
use super::{Database, template};

const ACCOUNT: Option<&str> = Some("postgres");

pub struct Postgres(Process);

impl Postgres {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With settings of its own, such as `["max_connections=10"]`.
    pub async fn with(settings: &[&str]) -> Self {
        Self::on(Data::fresh(), settings).await
    }

    /// An empty database in the one server of this test process; for tests that leave the server alone.
    pub async fn shared() -> Database {
        static SERVER: OnceCell<Postgres> = OnceCell::const_new();
        let start = || Self::on(Data::of_the_run("postgres"), &["max_connections=400"]);
        SERVER.get_or_init(start).await.database().await
    }

    /// Another empty database in this server.
    pub async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("qn{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let options: sqlx::postgres::PgConnectOptions = self.url().parse().expect("a URL");
        let mut connection = options
            .disable_statement_logging()
            .connect()
            .await
            .expect("PostgreSQL answers");
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        sqlx::query(create).execute(&mut connection).await.expect("a database");
        connection.close().await.expect("a close");
        Database {
            url: format!("postgres://quick@127.0.0.1:{}/{name}", self.port()),
        }
    }

    /// The database that is there from the start, empty too.
    pub fn url(&self) -> String {
        format!("postgres://quick@127.0.0.1:{}/postgres", self.port())
    }

    async fn on(data: Data, settings: &[&str]) -> Self {
        let initdb = binary("initdb");
        let name = template::version(&initdb);
        template::copy(&name, ACCOUNT, &data, |into| {
            let mut command = as_account(&initdb, ACCOUNT);
            command.args([
                "--no-sync",
                "--locale=C.UTF-8",
                "--encoding=UTF8",
                "--auth=trust",
                "--username=quick",
            ]);
            command.args(["--wal-segsize=4", "--pgdata"]).arg(into);
            command
        });
        give(&data.store(), ACCOUNT);
        let own: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let recipe = Recipe {
            name: "postgres",
            program: binary("postgres"),
            arguments: Box::new(move |store, port| arguments(store, port, &own)),
            account: ACCOUNT,
            // A start message of protocol 3.0 for user and database: R is the request to authenticate, here "done".
            greeting: (STARTUP, |answer| answer.starts_with(b"R")),
        };
        Self(Process::start(recipe, data).await)
    }
}

const STARTUP: &[u8] = b"\0\0\0\x26\0\x03\0\0user\0quick\0database\0postgres\0\0";

fn arguments(store: &Path, port: u16, own: &[String]) -> Vec<String> {
    let mut words = vec!["-D".to_owned(), store.display().to_string()];
    let port = format!("port={port}");
    let fixed = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=on",
        "shared_buffers=64MB",
        &port,
    ];
    for setting in fixed.into_iter().chain(own.iter().map(String::as_str)) {
        words.extend(["-c".to_owned(), setting.to_owned()]);
    }
    words
}

/// Debian keeps PostgreSQL's programs off the path, in a directory for each version: the newest.
fn binary(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .map(|entry| entry.path())
        .max_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    let places: Vec<PathBuf> = newest.into_iter().map(|path| path.join("bin")).collect();
    program(name, &format!("TEST_{}", name.to_uppercase()), &places)
}

impl Deref for Postgres {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for Postgres {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
