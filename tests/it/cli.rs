//! The command line: its help, its commands, their mistakes, and how the server ends.

mod client;
mod dead;
mod ending;
mod plugins;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Server, Tab, tempdir};

/// The program to its end: exit code, standard output, standard error.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quick-notify"))
        .args(arguments)
        .envs(environment.iter().copied())
        .env_remove("QN_API_KEY")
        .env_remove("QN_TOKEN")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn in_directory<'a>(data: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--set", data]].concat()
}

fn data_of(directory: &Path) -> String {
    format!("app.data={}", directory.display())
}

#[test]
fn help_says_what_there_is_and_how_it_is_used() {
    let table: [(&[&str], &[&str]); 11] = [
        (
            &["--help"],
            &[
                "Without a command: `serve`",
                "serve",
                "check",
                "token",
                "publish",
                "listen",
                "health",
                "migrate",
                "--config <FILE>",
                "--set <PATH=VALUE>",
            ],
        ),
        (&["serve", "--help"], &["Run the server", "--config <FILE>"]),
        (
            &["check", "--help"],
            &["report every mistake, dial nobody", "--set <PATH=VALUE>"],
        ),
        (
            &["token", "--help"],
            &[
                "--sub <SUB>",
                "30s, 15m, 1h, 7d [default: 1h]",
                "--read <PATTERN>",
                "--write <PATTERN>",
            ],
        ),
        (
            &["publish", "--help"],
            &[
                "<--to <USER>|--topic <TOPIC>|--everyone>",
                "<TEXT|--data <JSON>>",
                "--type <TYPE>",
                "--idempotency-key <KEY>",
                "[env: QN_API_KEY]",
            ],
        ),
        (
            &["listen", "--help"],
            &[
                "--token <TOKEN>",
                "[env: QN_TOKEN]",
                "--no-confirm",
                "[default: ws://127.0.0.1:2025/stomp-ws]",
            ],
        ),
        (
            &["health", "--help"],
            &["whether it is ready", "[default: http://127.0.0.1:2025]", "--live"],
        ),
        (
            &["dead", "replay", "--help"],
            &["[NUMBER]...", "--all", "--reason <REASON>", "--config <FILE>"],
        ),
        (
            &["plugins", "--help"],
            &["list", "inspect", "disable", "enable", "Outlives restarts"],
        ),
        (
            &["plugins", "disable", "--help"],
            &["<NAME>", "--json", "--url <URL>", "[env: QN_API_KEY]", "api.admins"],
        ),
        (
            &["migrate", "--help"],
            &[
                "Bring the record's schema and the queue's streams up to date",
                "--config <FILE>",
            ],
        ),
    ];
    for (arguments, words) in table {
        let (code, out, err) = run(arguments, &[("QN_TOKEN", "sesame"), ("QN_API_KEY", "sesame")]);
        assert_eq!((code, &*err), (Some(0), ""), "{arguments:?}");
        for word in words {
            assert!(out.contains(word), "{arguments:?} doesn't say {word}:\n{out}");
        }
        assert!(!out.contains("sesame"), "help shows what the environment holds");
    }
    let (_, out, _) = run(&["publish", "--help"], &[]);
    assert!(!out.contains("--config"), "publish takes no configuration");
    assert_eq!(
        run(&["--version"], &[]).1,
        format!("quick-notify {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn what_was_typed_wrongly_is_explained() {
    let table: [(&[&str], i32, &str); 12] = [
        (&["serv"], 2, "unrecognized subcommand 'serv'"),
        (
            &["--set", "app.listen"],
            2,
            "say PATH=VALUE, such as app.listen=127.0.0.1:3000",
        ),
        (&["token"], 2, "--sub <SUB>"),
        (
            &["token", "--sub", "a", "--ttl", "5x"],
            2,
            "\"x\" is no unit; say s, m, h or d, as in 1h",
        ),
        (
            &["token", "--sub", "a", "--ttl", "h"],
            2,
            "say a number and a unit, as in 1h",
        ),
        (
            &["token", "--sub", "a", "--ttl", "0"],
            2,
            "must be at least a second, and no more than a clock can count",
        ),
        (
            &["token", "--sub", "a", "--ttl", "99999999999999999999d"],
            2,
            "say a number and a unit, as in 1h",
        ),
        (
            &["--set", "app.listen=x", "publish", "--to", "a", "x"],
            1,
            "publish, listen and health take no configuration, only the server's URL",
        ),
        (
            &["publish", "--to", "a", "--everyone", "x"],
            2,
            "the argument '--to <USER>' cannot be used with '--everyone'",
        ),
        (&["publish", "--to", "a", "x", "--data", "1"], 2, "cannot be used with"),
        (
            &["--set", "app.listen=x", "plugins", "list"],
            1,
            "list, inspect, disable and enable take no configuration: which server to ask is said with --url URL",
        ),
        (
            &["plugins", "disable", "../../api/sessions/revoke"],
            1,
            "is no plugin's name: those have letters, digits, - and _",
        ),
    ];
    for (arguments, code, words) in table {
        let (got, out, err) = run(arguments, &[]);
        assert_eq!((got, &*out), (Some(code), ""), "{arguments:?}\n{err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
}

/// Claims of a token, unverified: the server verifies them.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let part = token.trim().split('.').nth(1).expect("three parts");
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn a_minted_token_opens_a_session_of_the_same_configuration() {
    let server = Server::start().await;
    let data = data_of(server.data());
    let mint = |arguments: &[&str]| {
        let (code, out, err) = run(
            &in_directory(&data, &[&["token", "--sub", "alice"], arguments].concat()),
            &[],
        );
        assert_eq!((code, &*err), (Some(0), ""));
        out.trim_end().to_owned()
    };
    for (ttl, seconds) in [("90", 90), ("30s", 30), ("15m", 900), ("1h", 3_600), ("7d", 604_800)] {
        let claims = claims(&mint(&["--ttl", ttl]));
        assert_eq!(
            claims["exp"]
                .as_i64()
                .zip(claims["iat"].as_i64())
                .map(|(exp, iat)| exp - iat),
            Some(seconds),
            "{ttl}"
        );
    }
    let token = mint(&["--read", "/topic/a", "--read", "/topic/b.*", "--write", "/topic/c"]);
    let claims = claims(&token);
    assert_eq!(
        claims["topics"],
        json!({"read": ["/topic/a", "/topic/b.*"], "write": ["/topic/c"]})
    );
    assert_eq!(claims["sub"], "alice");
    let mut tab = Tab::listen(&server, &token, None).await;
    tab.subscribe("b", "/topic/b.1").await;
    server.notify("alice", "hello").await;
    assert_eq!(tab.delivery().await.data(), "hello");
    let refused = tab
        .write(quick_notify::stomp::Command::Subscribe)
        .header("id", "d")
        .header("destination", "/topic/d")
        .end();
    tab.send(refused).await;
    let (code, message) = tab.error().await;
    assert_eq!(
        (&*code, &*message),
        (
            "forbidden-destination",
            "SUBSCRIBE to /topic/d: this token does not allow it"
        )
    );
}

#[test]
fn a_token_that_can_not_be_is_not_made() {
    let directory = tempdir();
    let data = data_of(directory.path());
    let long = "x".repeat(65);
    for (arguments, reason) in [
        (
            ["--sub", "", "--ttl", "1h"],
            "the subject can't be a user id: it is absent or empty",
        ),
        (
            ["--sub", &long, "--ttl", "1h"],
            "the subject can't be a user id: it is longer than 64 characters",
        ),
        (
            ["--sub", "a", "--read", "orders"],
            "--read orders: a pattern begins with `/topic/` and says more after it",
        ),
        (
            ["--sub", "a", "--ttl", "99999999d"],
            "a token lives for a second at least, and ends before the year 10000",
        ),
    ] {
        let (code, out, err) = run(&in_directory(&data, &[&["token"], &arguments[..]].concat()), &[]);
        assert_eq!(
            (code, &*out, &*err),
            (Some(1), "", &*format!("quick-notify: {reason}\n"))
        );
    }
    let public = directory.path().join("public.pem");
    let made = Command::new("sh")
        .args([
            "-c",
            "openssl genpkey -algorithm ED25519 | openssl pkey -pubout -out \"$0\"",
        ])
        .arg(&public)
        .status();
    assert!(made.expect("openssl is there").success());
    let keys = format!("auth.jwt.keys=[{{file=\"{}\",algorithm=\"EdDSA\"}}]", public.display());
    let arguments = ["token", "--sub", "a", "--set", "auth.adapter=jwt", "--set", &keys];
    let (code, _, err) = run(&in_directory(&data, &arguments), &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("quick-notify: auth.jwt.signing_key_file: only public keys are known, and they can't sign"),
        "{err}"
    );
}

#[test]
fn migrate_brings_the_record_up_to_date_and_may_be_repeated() {
    let directory = tempdir();
    let data = data_of(&directory.path().join("new/data"));
    let said = format!(
        "The record (sqlite) in {} is up to date.\n",
        directory.path().join("new/data").display()
    );
    for _ in 0..2 {
        assert_eq!(
            run(&in_directory(&data, &["migrate"]), &[]),
            (Some(0), said.clone(), String::new())
        );
    }
    std::fs::write(
        directory.path().join("new/data/record.db"),
        "no database, but long enough to be taken for one".repeat(40),
    )
    .expect("written");
    let (code, _, err) = run(&in_directory(&data, &["migrate"]), &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("record.db: ") && err.contains("file is not a database"),
        "{err}"
    );
}
