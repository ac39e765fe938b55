//! MariaDB, without a password for root from this machine; an account of its own runs it where the tests are root's.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{ConnectOptions, Connection};
use tokio::sync::OnceCell;

use super::process::{Data, Process, Recipe, as_account, give, program};
use super::{Database, template};

const ACCOUNT: Option<&str> = Some("mysql");

/// At the making as at the start: MariaDB refuses a log of another size.
const SIZES: [&str; 2] = ["--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M"];

pub struct MariaDb(Process);

impl MariaDb {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With arguments of its own, such as `["--max-connections=10"]`.
    pub async fn with(extra: &[&str]) -> Self {
        Self::on(Data::fresh(), extra).await
    }

    /// An empty database in the one server of this test process; for tests that leave the server alone.
    pub async fn shared() -> Database {
        static SERVER: OnceCell<MariaDb> = OnceCell::const_new();
        let start = || Self::on(Data::of_the_run("mariadb"), &["--max-connections=400"]);
        SERVER.get_or_init(start).await.database().await
    }

    /// Another empty database in this server.
    pub async fn database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("qn{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let server = format!("mysql://root@127.0.0.1:{}", self.port());
        let options: sqlx::mysql::MySqlConnectOptions = server.parse().expect("a URL");
        let mut connection = options
            .disable_statement_logging()
            .connect()
            .await
            .expect("MariaDB answers");
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut connection).await.expect("a database");
        connection.close().await.expect("a close");
        Database {
            url: format!("{server}/{name}"),
        }
    }

    async fn on(data: Data, extra: &[&str]) -> Self {
        let places = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
        let server = program("mariadbd", "TEST_MARIADBD", &places);
        let install = program("mariadb-install-db", "TEST_MARIADB_INSTALL_DB", &places);
        template::copy(&template::version(&server), ACCOUNT, &data, |into| {
            let mut command = as_account(&install, ACCOUNT);
            command.args([
                "--no-defaults",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ]);
            command.args(SIZES).arg(format!("--datadir={}", into.display()));
            command
        });
        give(&data.store(), ACCOUNT);
        let own: Vec<String> = extra.iter().map(|word| (*word).to_owned()).collect();
        let recipe = Recipe {
            name: "mariadbd",
            program: server,
            arguments: Box::new(move |store, port| {
                let (store, port) = (format!("--datadir={}", store.display()), format!("--port={port}"));
                // A short path for the socket: below the data directory, where the server runs.
                let fixed = [
                    "--no-defaults",
                    &store,
                    &port,
                    "--bind-address=127.0.0.1",
                    "--socket=s.sock",
                ];
                let fixed = fixed.into_iter().chain(SIZES).map(str::to_owned);
                fixed.chain(own.clone()).collect()
            }),
            account: ACCOUNT,
            // It greets first: a packet numbered 0, protocol 10.
            greeting: (b"", |answer| answer.get(3..5) == Some(&[0, 10])),
        };
        Self(Process::start(recipe, data).await)
    }
}

impl Deref for MariaDb {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

impl DerefMut for MariaDb {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.0
    }
}
