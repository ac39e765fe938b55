//! The configuration: where a setting comes from, and how mistakes are told, all of them at once.

mod defaults;

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::harness::{Server, tempdir};

/// `quick-notify` with arguments and variables, in a directory of its own: exit code, standard output, standard error.
fn run(directory: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_quick-notify"))
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (status.code(), text(stdout), text(stderr))
}

fn check(file: &str, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let directory = tempdir();
    std::fs::write(directory.path().join("my.toml"), file).expect("the file is written");
    let arguments = [&["check", "--config", "my.toml"], arguments].concat();
    let answer = run(&directory, &arguments, environment);
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("it is there").collect();
    assert_eq!(left.len(), 1, "`check` made files: {left:?}");
    answer
}

/// The mistakes that `check` finds, a line each.
fn mistakes(file: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
    let (code, out, err) = check(file, arguments, environment);
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    let mut lines = err.lines();
    let first = lines.next().expect("it says how many");
    let lines: Vec<_> = lines.map(|line| line.trim().to_owned()).collect();
    assert_eq!(
        first,
        format!("quick-notify: the configuration has {} mistake(s):", lines.len())
    );
    lines
}

#[test]
fn a_right_configuration_is_said_to_be_right() {
    let (code, out, err) = check("[app]\nlisten = \"127.0.0.1:3000\"\n", &[], &[]);
    assert_eq!((code, &*err), (Some(0), ""));
    assert_eq!(
        out,
        "The configuration is right: 127.0.0.1:3000 with dev tokens, data in data.\n"
    );
}

/// Nothing listens at these addresses, and no file is made: it only reads.
#[test]
fn every_mistake_is_told_at_once_with_its_path_and_the_known_names() {
    let file = r#"
        [app]
        lisen = "127.0.0.1:3000"
        drain_timeout_ms = 0

        [session]
        window = "many"
        heartbeat_ms = -1
        resend_most = 1.5

        [queue]
        adapter = "kafka"

        [edge]
        origins = "https://shop.example"
        mailbox = 0

        [telemetry]
        log_filter = "quick_notify=loud"

        [domain.types.ORDER]
        schema = { properties = { price = { type = "money" } } }
        [domain.types.BOTH]
        [domain.types.STRING_MSG]
        schema = true
        [domain.types.GONE]
        schema_file = "gone.json"

        [ingest.keys]
        none = {}
        short = { secret_env = "SHORT" }
        gone = { secret_file = "gone.key" }
        one = { secret_env = "SAME" }
        two = { secret_env = "SAME" }

        [api]
        admins = ["one", "nobody"]

        [auth.jwt]
        issuers = [1]
        [[auth.jwt.keys]]
        secret_file = "a"
        algoritm = "HS256"

        [nonsense]
        a = 1
    "#;
    let found = mistakes(
        file,
        &["--set", "sweep.batch=0"],
        &[
            ("SHORT", "0123456789"),
            ("SAME", "a key of sixteen bytes"),
            ("QN_API__MAX_PAGES", "5"),
        ],
    );
    let expected = [
        "api.admins[1]: there is no ingest.keys.nobody",
        "api.max_pages: is not known here; known: max_page, max_ids, max_users, read_timeout_ms, ask_timeout_ms, admins, max_revocations, revocation_seconds",
        "app.drain_timeout_ms: must lie between 1 and 3600000",
        "app.lisen: is not known here; known: listen, data, dev_tokens_for_everyone, drain_timeout_ms",
        "auth.jwt.issuers[0]: must be a text in quotes, not 1",
        "auth.jwt.keys[0].algoritm: is not known here; known: algorithm, kid, file, jwks, secret_file, secret_env",
        "domain.types.BOTH: needs either `schema` or `schema_file`",
        "domain.types.GONE: schema_file gone.json: No such file or directory (os error 2)",
        "domain.types.ORDER: is no valid JSON Schema: schema.properties.price.type: \"money\" is not valid under any of the schemas listed in the 'anyOf' keyword",
        "domain.types.STRING_MSG: is a built-in type and can't be registered again",
        "edge.mailbox: must lie between 1 and 1000000",
        "edge.origins: must be a list in brackets, not a text",
        "ingest.keys.gone: secret_file gone.key: No such file or directory (os error 2)",
        "ingest.keys.none: needs exactly one of `secret_env` and `secret_file`",
        "ingest.keys.short: secret_env SHORT: a key has 16 to 4096 bytes",
        "ingest.keys.two: is the same key as one's",
        "nonsense: is not known here; known: app, http, telemetry, nats, redis, domain, attach, auth, queue, store, topic, ingest, dispatch, session, edge, sweep, api",
        "queue.adapter: is not known here; known: embedded, jetstream",
        "session.heartbeat_ms: must be a whole number from 0 on, not -1",
        "session.resend_most: must be a whole number from 0 on, not 1.5",
        "session.window: must be a whole number from 0 on, not a text",
        "sweep.batch: must lie between 1 and 10000",
        "telemetry.log_filter: error parsing level filter: expected one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or a number 0-5",
    ];
    let mut found = found;
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn files_that_can_not_be_read_are_mistakes_too() {
    let found = mistakes("", &["--config", "gone.toml"], &[]);
    assert_eq!(found, ["gone.toml: there is no such file"]);
    let (code, _, err) = check("[app\nlisten = 1", &[], &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("configuration: TOML parse error at line 1, column 5") && err.contains("my.toml"),
        "{err}"
    );
}

#[test]
fn a_setting_comes_from_the_last_that_says_it() {
    let of = |arguments: &[&str], environment: &[(&str, &str)]| {
        let (code, out, err) = check(
            "[app]\nlisten = \"127.0.0.1:1001\"\ndata = \"file\"\n",
            arguments,
            environment,
        );
        assert_eq!(code, Some(0), "{err}");
        out.trim_end().to_owned()
    };
    let said =
        |listen: &str, data: &str| format!("The configuration is right: {listen} with dev tokens, data in {data}.");
    assert_eq!(of(&[], &[]), said("127.0.0.1:1001", "file"));
    let environment = [("QN_APP__LISTEN", "127.0.0.1:1002")];
    assert_eq!(of(&[], &environment), said("127.0.0.1:1002", "file"));
    let set = ["--set", "app.listen=127.0.0.1:1003"];
    assert_eq!(of(&set, &environment), said("127.0.0.1:1003", "file"));
    let twice = [
        "--set",
        "app.listen=127.0.0.1:1003",
        "--set",
        "app.listen=127.0.0.1:1004",
    ];
    assert_eq!(of(&twice, &environment), said("127.0.0.1:1004", "file"));

    let directory = tempdir();
    for (name, text) in [
        ("one.toml", "[app]\nlisten = \"127.0.0.1:1\"\ndata = \"one\"\n"),
        ("two.toml", "[app]\ndata = \"two\"\n"),
    ] {
        std::fs::write(directory.path().join(name), text).expect("the file is written");
    }
    let (_, out, _) = run(&directory, &["-c", "one.toml", "check", "-c", "two.toml"], &[]);
    assert_eq!(
        out.trim_end(),
        said("127.0.0.1:1", "two"),
        "files in their order, the later one wins"
    );
}

/// The command line's own variables, and those that hold secrets, are no settings; a misspelt setting is told.
#[test]
fn variables_that_are_no_settings_are_left_alone() {
    let (code, _, err) = check(
        "",
        &[],
        &[("QN_TOKEN", "test1"), ("QN_API_KEY", "k"), ("QN_SHOP_KEY", "s")],
    );
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(
        mistakes("", &[], &[("QN_APP_LISTEN", "127.0.0.1:1"), ("QN_APP__LISTN", "x")]),
        [
            "QN_APP_LISTEN: is no setting; with two underscores it is: QN_APP__LISTEN",
            "app.listn: is not known here; known: listen, data, dev_tokens_for_everyone, drain_timeout_ms",
        ]
    );
}

/// A page of any site would act in its visitors' names; and what is no origin would never be equal to one.
#[test]
fn origins_are_named_one_by_one_outside_dev_mode() {
    let file = r#"
        [edge]
        origins = ["*", "https://shop.example", "https://shop.example/", "null", "shop.example", "https://*.example", "http://localhost:3000", "http://[::1]:80", ""]
        [auth]
        adapter = "jwt"
        [[auth.jwt.keys]]
        secret_env = "TOKEN_SECRET"
        "#;
    let mut found = mistakes(file, &[], &[("TOKEN_SECRET", "a secret of more than thirty-two bytes")]);
    found.sort();
    let no_origin = "is no origin such as https://shop.example or http://localhost:3000: no path, no slash at its end";
    let any = "lets every page of the web connect in its visitors' names; that is for auth.adapter = \"dev\" alone. \
               Name the pages, such as https://shop.example";
    let expected = [
        (0, any),
        (2, no_origin),
        (3, no_origin),
        (4, no_origin),
        (5, no_origin),
        (8, no_origin),
    ];
    assert_eq!(
        found,
        expected.map(|(index, reason)| format!("edge.origins[{index}]: {reason}"))
    );
    let (code, _, err) = check("[edge]\norigins = [\"*\"]\n", &[], &[]);
    assert_eq!(code, Some(0), "in dev mode any may anyway: {err}");
}

/// Each is right alone.
#[test]
fn bounds_that_contradict_each_other_are_mistakes() {
    let file = "[edge]\nwrite_timeout_ms = 30_001\n[edge.admission]\nwait_ms = 20_000\nper_second = 1_000\n\
                [auth.tickets]\nseconds = 20\nmax_used = 19_999\n";
    let expected = [
        "edge.admission.wait_ms: must be less than auth.tickets.seconds: a ticket would end while its bearer waits for the turn",
        "auth.tickets.max_used: must be at least auth.tickets.seconds × edge.admission.per_second, which is 20000: so many may be used before \
         the first of them ends",
        "http.write_timeout_ms: must be at least edge.write_timeout_ms: a slow client of a session over HTTP would be cut off before the session \
         gives it up",
    ];
    assert_eq!(mistakes(file, &[], &[]), expected);

    let file = "[domain]\nmax_data = 60_000\n[auth]\nadapter = \"hook\"\n[edge]\nask_timeout_ms = 800\n[api]\nask_timeout_ms = 801\n\
                [attach]\nenabled = true\n[attach.hooks]\nmax_request = 64_095\n\
                [attach.plugins]\nsso = { hooks = [\"authenticate\"], deadline_ms = 800 }\ncensor = { hooks = [\"review\"] }\n";
    let expected = [
        "attach.hooks.max_request: must be at least domain.max_data and 4096 for what is around it, which is 64096: a notification that fits into \
         no question would pass by the plugins that review, or never be stored",
        "edge.ask_timeout_ms: must be more than the 800 ms that the plugin that knows tokens has for its answer (deadline_ms): nobody would wait \
         for it any more",
    ];
    assert_eq!(mistakes(file, &[], &[]), expected);
}

#[test]
fn admission_and_http_have_their_bounds() {
    let file = "[edge.admission]\nper_second = 0\nburst = 0\nwait_ms = 600_001\nreturn_most_ms = 999\n[http]\nwrite_timeout_ms = 99\nmin_rate = 0\nbacklog = 0\n[edge.sockjs]\nmax_opening = 0\n";
    let expected = [
        "http.write_timeout_ms: must lie between 100 and 600000",
        "http.min_rate: must lie between 1 and 1000000000",
        "http.backlog: must lie between 1 and 65535",
        "edge.sockjs.max_opening: must lie between 1 and 10000000",
        "edge.admission.per_second: must lie between 1 and 1000000",
        "edge.admission.burst: must lie between 1 and 1000000",
        "edge.admission.wait_ms: must lie between 0 and 600000",
        "edge.admission.return_most_ms: must lie between 1000 and 300000",
        "edge.admission.wait_ms: must be less than auth.tickets.seconds: a ticket would end while its bearer waits for the turn",
        "http.write_timeout_ms: must be at least edge.write_timeout_ms: a slow client of a session over HTTP would be cut off before the session \
         gives it up",
    ];
    assert_eq!(mistakes(file, &[], &[]), expected);
}

const DANGER: &str = "can be reached by others, and auth.adapter is \"dev\": anybody could be anyone. Set auth.adapter = \"jwt\" with a key, \
                      or listen on 127.0.0.1, or say app.dev_tokens_for_everyone = true if that is what you want";

#[tokio::test]
async fn dev_tokens_are_for_this_machine_unless_told_in_so_many_words() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let directory = tempdir();
        let (code, out, err) = run(&directory, &["--set", &format!("app.listen={listen}")], &[]);
        assert_eq!((code, &*out), (Some(1), ""));
        assert_eq!(
            err,
            format!("quick-notify: the configuration has 1 mistake(s):\n  app.listen: {listen} {DANGER}\n")
        );
    }
    for listen in ["127.0.0.1:0", "127.1.2.3:0", "[::1]:0"] {
        let (code, _, err) = check("", &["--set", &format!("app.listen={listen}")], &[]);
        assert_eq!(code, Some(0), "{listen}: {err}");
    }
    let everyone = [("app.listen", "0.0.0.0:0"), ("app.dev_tokens_for_everyone", "true")];
    let server = Server::with(&everyone).await;
    assert!(server.address().starts_with("0.0.0.0:"));
    assert_eq!(server.get("/health/ready", &[]).await.status, 200);
}

#[test]
fn dev_tokens_stay_off_servers_that_others_use() {
    let nats = ["--set", "ingest.nats=true", "--set"];
    let redis = ["--set", "topic.adapter=redis", "--set"];
    let check = |adapter: [&str; 3], servers: &str| {
        let (code, _, err) = check("", &[&adapter[..], &[servers]].concat(), &[]);
        assert!(
            code == Some(0) || err.contains("others may use this server"),
            "{servers}: {err}"
        );
        code
    };
    for server in ["nats://127.0.0.1:4222", "localhost", "nats://[::1]:4222"] {
        assert_eq!(
            check(nats, &format!("nats.servers=[\"{server}\"]")),
            Some(0),
            "{server}"
        );
    }
    for server in ["nats://nats-1:4222", "192.0.2.1:4222", "127.0.0.1.example.com"] {
        assert_eq!(
            check(nats, &format!("nats.servers=[\"{server}\"]")),
            Some(1),
            "{server}"
        );
    }
    assert_eq!(check(redis, "redis.servers=[\"redis://127.0.0.1:6379/3\"]"), Some(0));
    assert_eq!(check(redis, "redis.servers=[\"redis://redis/3\"]"), Some(1));
}

/// Wherever it was put by mistake, and whatever was said about it.
#[test]
fn a_secret_is_never_repeated() {
    const SECRET: &str = "sesame-open-sesame-open-sesame-open";
    let file = format!(
        r#"
        [ingest.keys]
        one = "{SECRET}"
        two = {{ secret = "{SECRET}" }}
        three = {{ secret_env = ["{SECRET}"] }}
        [auth]
        adapter = "jwt"
        [[auth.jwt.keys]]
        secret = "{SECRET}"
        [[auth.jwt.keys]]
        secret_env = "TOKEN_SECRET"
        "#
    );
    let (code, out, err) = check(&file, &[], &[("TOKEN_SECRET", SECRET)]);
    assert_eq!(code, Some(1));
    assert!(!out.contains(SECRET) && !err.contains(SECRET), "{out}{err}");
    assert!(err.contains("ingest.keys.one: must be a table, not a text"), "{err}");
}

/// They would be printed and logged with the address.
#[tokio::test]
async fn an_address_of_nats_has_no_credentials_and_they_are_not_repeated() {
    let file = r#"
        [app]
        dev_tokens_for_everyone = true
        [nats]
        servers = ["nats://node:sesame@127.0.0.1:1", "nats://sesame@127.0.0.1:1", "nats://node:sesame@[bad", "kafka://x"]
        [queue]
        adapter = "jetstream"
        [queue.jetstream]
        monitoring = ["http://node:sesame@127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1"]
        "#;
    let found = mistakes(file, &[], &[]);
    assert!(!found.concat().contains("sesame"), "{found:?}");
    let reason = "say nats.user and nats.password instead of credentials in the address";
    for expected in [
        &*format!("nats.servers[0]: {reason}"),
        &*format!("nats.servers[1]: {reason}"),
        &*format!("nats.servers[2]: {reason}"),
        "queue.jetstream.monitoring[0]: NATS asks for no credentials at its monitoring: leave them out",
        "queue.jetstream.monitoring[1]: only http:// is spoken here",
        "queue.jetstream.monitoring[2]: is no address such as http://nats-1:8222",
    ] {
        assert!(found.iter().any(|line| line == expected), "{expected} in {found:?}");
    }
    assert_eq!(found.len(), 7, "{found:?}");

    let config = quick_notify::nats::Config {
        servers: vec!["nats://node:sesame@127.0.0.1:1".into()],
        ..Default::default()
    };
    let error = quick_notify::nats::connect(&config).await.expect_err("nobody is there");
    let said = format!("{error} {error:?}");
    assert!(!said.contains("sesame") && said.contains("127.0.0.1:1"), "{said}");
}

#[test]
fn a_secret_that_is_no_text_is_not_repeated_either() {
    use std::os::unix::ffi::OsStrExt;
    let bytes = std::ffi::OsStr::from_bytes(b"sesame-open-\xff-sesame-open-sesame");
    let output = Command::new(env!("CARGO_BIN_EXE_quick-notify"))
        .args([
            "check",
            "--set",
            "auth.adapter=jwt",
            "--set",
            "auth.jwt.keys=[{secret_env=\"QN_SECRET\"}]",
        ])
        .args(["--set", "ingest.keys.shop.secret_env=QN_SECRET"])
        .env("QN_SECRET", bytes)
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.starts_with("The configuration is right"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
}
