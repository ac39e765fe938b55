//! `publish` and `listen`: a terminal as a producer and as a device.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::run;
use crate::harness::{Server, Tab};

fn publish(server: &Server, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let url = server.url();
    run(&[&["publish", "--url", &url], arguments].concat(), environment)
}

fn receipt(server: &Server, arguments: &[&str]) -> Value {
    let (code, out, err) = publish(server, arguments, &[]);
    assert_eq!((code, &*err), (Some(0), ""), "{arguments:?}");
    serde_json::from_str(&out).expect("a receipt in JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_reaches_a_user_a_topic_and_everyone() {
    let schema = ("domain.types.ORDER.schema", "{type=\"object\", required=[\"order\"]}");
    let server = Server::with(&[schema]).await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.subscribe("news", "/topic/news").await;
    let first = receipt(&server, &["--to", "test1", "Hello -- \u{1F44B}", "--id", "first"]);
    assert_eq!(
        first,
        json!({"id": "first", "state": "accepted", "durability": "fsynced"})
    );
    let delivery = tab.delivery().await;
    assert_eq!((&*delivery.id, &*delivery.data()), ("first", "Hello -- \u{1F44B}"));
    receipt(
        &server,
        &["--to", "test1", "--type", "ORDER", "--data", r#"{"order": "7"}"#],
    );
    let delivery = tab.delivery().await;
    assert_eq!(
        (&delivery.body()["type"], &delivery.body()["data"]),
        (&json!("ORDER"), &json!({"order": "7"}))
    );
    assert_eq!(
        receipt(&server, &["--topic", "news", "extra"])["durability"],
        "transient"
    );
    assert_eq!(tab.delivery().await.destination, "/topic/news");
    receipt(&server, &["--everyone", "--data", "\"to all\""]);
    assert_eq!(tab.delivery().await.data(), "to all");
    let keyed = ["--to", "test1", "once", "--idempotency-key", "k"];
    let [one, two] = [receipt(&server, &keyed), receipt(&server, &keyed)];
    assert_eq!((&one["id"], &two["state"]), (&two["id"], &json!("duplicate")));
}

#[tokio::test(flavor = "multi_thread")]
async fn publish_says_why_it_failed() {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("ingest.keys.shop.secret_env", "SHOP"),
    ];
    let environment = [
        ("TOKEN_SECRET", "a secret of thirty-two bytes, ok?"),
        ("SHOP", "sesame-open-sesame"),
    ];
    let server = Server::launch(&settings, &environment).await;
    let key = [("QN_API_KEY", "sesame-open-sesame")];
    assert_eq!(
        publish(&server, &["--to", "alice", "x"], &key).0,
        Some(0),
        "the key from the environment"
    );
    type Words<'a> = &'a [&'a str];
    type Environment<'a> = &'a [(&'a str, &'a str)];
    let table: [(Words, Environment, &str); 5] = [
        (
            &["--to", "alice", "x"],
            &[],
            "401 Unauthorized: X-API-Key: publishing needs a key",
        ),
        (
            &["--to", "alice", "x", "--api-key", "wrong"],
            &[],
            "401 Unauthorized: X-API-Key: this key is not known",
        ),
        (&["--to", "", "x"], &key, "400 Bad Request: receiver: must not be empty"),
        (
            &["--to", "a", "--type", "NOPE", "x"],
            &key,
            "400 Bad Request: type: \"NOPE\" is not a known type; known: NOTIFY_DELETED, NOTIFY_VIEWED, STRING_MSG",
        ),
        (
            &["--to", "a", "--data", "{"],
            &key,
            "--data is no JSON: EOF while parsing an object at line 1 column 1",
        ),
    ];
    for (arguments, environment, reason) in table {
        let (code, out, err) = publish(&server, arguments, environment);
        assert_eq!(
            (code, &*out, &*err),
            (Some(1), "", &*format!("quick-notify: {reason}\n"))
        );
    }
    let (code, _, err) = run(&["publish", "--to", "a", "x", "--url", "http://127.0.0.1:1/"], &[]);
    assert_eq!(code, Some(1));
    assert!(
        err.starts_with("quick-notify: http://127.0.0.1:1/api/notify can't be reached: "),
        "{err}"
    );
    let (code, _, err) = run(&["publish", "--to", "a", "x", "--url", "https://127.0.0.1"], &[]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("say http://HOST:PORT; TLS is for a proxy in front of the server"),
        "{err}"
    );
}

/// A terminal that listens. Killed when dropped.
struct Terminal {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Terminal {
    fn listen(server: &Server, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quick-notify"))
            .args(["listen", "--url", &server.ws()])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    fn end(mut self) -> Option<i32> {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        assert_eq!(rest, "");
        self.child.wait().expect("it is ours").code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_prints_and_confirms_and_survives_a_restart() {
    let mut server = Server::start().await;
    let first = server.notify("test1", "first").await;
    let mut terminal = Terminal::listen(&server, &["--token", "test1", "--count", "4"]);
    assert_eq!(
        terminal.line().replace(" replayed", ""),
        format!("seq 1 attempt 1 {first} STRING_MSG \"first\"")
    );
    let second = server.notify("test1", "second").await;
    assert_eq!(
        terminal.line().replace(" replayed", ""),
        format!("seq 2 attempt 1 {second} STRING_MSG \"second\"")
    );
    for (n, text) in [(3, "after a drain"), (4, "after a crash")] {
        if n == 3 {
            assert_eq!(server.terminate().await, Some(0));
        } else {
            server.kill9().await;
        }
        server.restart().await;
        let id = server.notify("test1", text).await;
        // Live, or replayed when the terminal was not back yet.
        let line = terminal.line().replace(" replayed", "");
        assert_eq!(line, format!("seq {n} attempt 1 {id} STRING_MSG \"{text}\""));
    }
    assert_eq!(terminal.end(), Some(0), "--count was reached");
    let mut tab = Tab::listen(&server, "test1", None).await;
    tab.is_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_without_confirming_leaves_everything_to_the_next_session() {
    let server = Server::start().await;
    server.notify("test1", "x").await;
    let mut terminal = Terminal::listen(&server, &["--token", "test1", "--no-confirm", "--count", "1"]);
    assert!(terminal.line().ends_with("\"x\""));
    assert_eq!(terminal.end(), Some(0));
    let mut tab = Tab::listen(&server, "test1", None).await;
    assert_eq!(tab.delivery().await.data(), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_says_why_it_was_refused() {
    let server = Server::start().await;
    let url = server.ws();
    let refused = |token: &str| run(&["listen", "--url", &url, "--token", token], &[]);
    let missing = "quick-notify: no token: send the header `Authorization: TOKEN` (token-missing)\n";
    assert_eq!(refused(""), (Some(1), String::new(), missing.to_owned()));
    let malformed =
        "quick-notify: the token is malformed: it is not three parts with a dot between (token-malformed)\n";
    assert_eq!(refused("alice"), (Some(1), String::new(), malformed.to_owned()));
    let (code, _, err) = run(&["listen", "--url", "ws://127.0.0.1:1", "--token", "test1"], &[]);
    assert_eq!(
        (code, &*err),
        (
            Some(1),
            "quick-notify: ws://127.0.0.1:1 can't be reached: IO error: Connection refused (os error 111)\n"
        )
    );
    let (code, _, err) = run(&["listen", "--url", "http://127.0.0.1:1"], &[("QN_TOKEN", "test1")]);
    assert_eq!(code, Some(2));
    assert!(
        err.contains("say ws://HOST:PORT/stomp-ws; TLS is for a proxy in front of the server"),
        "{err}"
    );
}

/// What a container's health check runs: its exit code is the answer.
#[tokio::test(flavor = "multi_thread")]
async fn health_succeeds_while_the_server_is_ready() {
    let mut server = Server::start().await;
    let url = server.url();
    let ready = run(&["health", &url], &[]);
    assert_eq!(ready, (Some(0), "{\"ready\":true}\n".to_owned(), String::new()));
    assert_eq!(run(&["health", "--live", &url], &[]).1, "live\n");
    // Stopped, it still accepts connections and says nothing: the probe has to end by itself.
    server.signal("STOP");
    let (code, out, err) = run(&["health", &url, "--timeout-ms", "200"], &[]);
    server.signal("CONT");
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    server.kill9().await;
    let (code, out, err) = run(&["health", &url], &[]);
    assert_eq!((code, &*out), (Some(1), ""));
    assert!(
        err.starts_with(&format!("quick-notify: {url}/health/ready can't be reached")),
        "{err}"
    );
}
