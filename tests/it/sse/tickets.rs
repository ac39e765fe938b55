//! Tickets: what a page puts into a URL instead of its token.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use serde_json::json;

use super::ends::{publish, server, token, with_tokens};
use crate::harness::{Answer, Cluster, Server, Stream, Tab, eventually, lasts, tempdir};

async fn ticket(server: &Server, token: &str) -> String {
    let answer = server.post("/api/ticket", &[("Authorization", token)], "").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let said = answer.json();
    assert!(
        (1..=30).contains(&said["expires_in"].as_u64().expect("seconds")),
        "{said}"
    );
    said["ticket"].as_str().expect("a ticket").to_owned()
}

/// With dev tokens, and a secret of its own.
async fn with_secret(more: &[(&str, &str)]) -> Server {
    let secret = [("auth.tickets.secret.secret_env", "TICKETS")];
    Server::launch(
        &[&secret, more].concat(),
        &[("TICKETS", "another secret of thirty-two bytes")],
    )
    .await
}

fn url(ticket: &str) -> String {
    format!("/sse/notify?ticket={ticket}")
}

fn code(answer: &Answer) -> (u16, String) {
    let error = &answer.json()["error"];
    assert_eq!(error["field"], "ticket", "{}", answer.text);
    (answer.status, error["code"].as_str().expect("a code").to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

#[tokio::test]
async fn a_ticket_opens_one_stream_for_its_user_until_the_end_of_the_token() {
    let server = server().await;
    let ticket = ticket(&server, &token("alice", "t1", 4)).await;
    let mut stream = Stream::at(&server, &url(&ticket), &[]).await.expect("a stream");
    publish(&server, json!({"receiver": "alice", "data": "hello"})).await;
    assert_eq!(stream.told().await.json()["data"], "hello");
    assert_eq!(code(&server.get(&url(&ticket), &[]).await), refused("ticket-used"));
    assert_eq!(stream.closed().await, "token-expired");
    assert!(!server.log().contains(&ticket[..20]), "it is in the log");
}

#[tokio::test]
async fn a_ticket_opens_nothing_else() {
    let server = server().await;
    let ticket = ticket(&server, &token("alice", "t1", 600)).await;
    for path in ["/api/notify/unread", "/api/notify/history", "/sse/notify"] {
        let answer = server.get(path, &[("Authorization", &ticket)]).await;
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (401, Some("token-malformed")),
            "{path}"
        );
    }
    let answer = server.post("/api/ticket", &[("Authorization", &ticket)], "").await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    let path = format!("/api/notify/unread?ticket={ticket}");
    assert_eq!(server.get(&path, &[]).await.status, 401);
    let mut tab = Tab::open(&server).await;
    let frame = tab.handshake(&ticket, "1.2").await;
    assert_eq!(frame.headers.get("code"), Some("token-malformed"));
    // A token is no ticket either.
    let answer = server.get(&url(&token("alice", "t1", 600)), &[]).await;
    assert_eq!(code(&answer), refused("ticket-malformed"));
    let answer = server
        .get(&url(&ticket), &[("Authorization", &token("bob", "t2", 600))])
        .await;
    assert_eq!(answer.status, 400, "two users: {}", answer.text);
    Stream::at(&server, &url(&ticket), &[])
        .await
        .expect("it is good for what it is for");
}

#[tokio::test]
async fn a_ticket_that_was_changed_or_made_elsewhere_is_refused() {
    let server = server().await;
    let good = ticket(&server, &token("alice", "t1", 600)).await;
    let (said, seal) = good
        .strip_prefix("qt1.")
        .and_then(|rest| rest.split_once('.'))
        .expect("two parts");
    let claims = String::from_utf8(BASE64.decode(said).expect("base64")).expect("text");
    assert!(claims.contains("\"alice\""), "{claims}");
    let forged = BASE64.encode(claims.replace("alice", "mallo"));
    let elsewhere = with_secret(&[]).await;
    let foreign = ticket(&elsewhere, "test1").await;
    for (bad, why) in [
        (format!("qt1.{forged}.{seal}"), "ticket-bad-signature"),
        (format!("qt1.{said}.{}", &seal[..20]), "ticket-bad-signature"),
        (format!("qt1.{said}."), "ticket-bad-signature"),
        (format!("qt1.{said}"), "ticket-malformed"),
        (format!("qt2.{said}.{seal}"), "ticket-malformed"),
        (format!("qt1.{said}.***"), "ticket-malformed"),
        ("x".repeat(5_000), "ticket-malformed"),
        (foreign, "ticket-bad-signature"),
    ] {
        assert_eq!(code(&server.get(&url(&bad), &[]).await), refused(why), "{bad}");
    }
    Stream::at(&server, &url(&good), &[])
        .await
        .expect("nothing of this used it up");
}

#[tokio::test]
async fn a_ticket_is_good_for_seconds() {
    let server = with_secret(&[
        ("auth.tickets.seconds", "1"),
        ("auth.tickets.max_used", "1"),
        ("edge.admission.per_second", "1"),
        ("edge.admission.wait_ms", "999"),
    ])
    .await;
    let late = ticket(&server, "test1").await;
    let first = ticket(&server, "test1").await;
    let second = ticket(&server, "test1").await;
    Stream::at(&server, &url(&first), &[]).await.expect("in time");
    // What was used can't be told from what wasn't, if it is forgotten: so it waits.
    assert_eq!(server.get(&url(&second), &[]).await.status, 503);
    eventually("its end", async || {
        let answer = server.get(&url(&late), &[]).await;
        answer.status == 401 && code(&answer) == refused("ticket-expired")
    })
    .await;
}

#[tokio::test]
async fn a_ticket_of_a_revoked_token_opens_nothing_and_its_stream_ends() {
    let server = server().await;
    let alice = token("alice", "t1", 600);
    let [before, after] = [ticket(&server, &alice).await, ticket(&server, &alice).await];
    let mut stream = Stream::at(&server, &url(&before), &[]).await.expect("a stream");
    let admin = [("X-API-Key", "the-key-of-an-operator")];
    let body = json!({"user": "alice"}).to_string();
    assert_eq!(server.post("/api/sessions/revoke", &admin, body).await.status, 200);
    assert_eq!(stream.closed().await, "token-revoked");
    assert_eq!(code(&server.get(&url(&after), &[]).await), refused("token-revoked"));
    let answer = server.post("/api/ticket", &[("Authorization", &alice)], "").await;
    assert_eq!(answer.status, 401, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_share_a_secret_take_each_others_tickets() {
    let folder = tempdir();
    let file = folder.path().join("tickets.key");
    std::fs::write(&file, "a secret that all of the nodes share\n").expect("it can be written");
    let file = file.to_str().expect("a path of text");
    let cluster = Cluster::start(&[("auth.tickets.secret.secret_file", file)]).await;
    let [here, there, _] = &cluster.nodes[..] else {
        panic!("three nodes")
    };
    let ticket = ticket(&here.server, "test1").await;
    let mut stream = Stream::at(&there.server, &url(&ticket), &[]).await.expect("a stream");
    let id = here.server.notify("test1", "hello").await;
    assert_eq!(stream.next().await, (id, 1));
    assert_eq!(
        code(&there.server.get(&url(&ticket), &[]).await),
        refused("ticket-used")
    );
}

#[tokio::test]
async fn a_secret_that_is_too_short_is_a_mistake() {
    let arguments = ["check", "--set", "auth.tickets.secret.secret_file=/dev/null"];
    let output = Server::program(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    let expected = "auth.tickets.secret: secret_file /dev/null: a secret has 32 to 4096 bytes";
    assert!(said.contains(expected), "{said}");
}

/// One comes in a second.
const SLOW: [(&str, &str); 2] = [("edge.admission.per_second", "1"), ("edge.admission.burst", "1")];

#[tokio::test]
async fn a_ticket_is_not_used_up_while_its_bearer_is_sent_away() {
    let server = with_secret(&[&SLOW[..], &[("edge.admission.wait_ms", "0")]].concat()).await;
    let ticket = ticket(&server, "test1").await;
    let _first = Stream::open(&server, "test2", None).await;
    let answer = server.get(&url(&ticket), &[]).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    lasts(Duration::from_secs(1)).await;
    let _second = Stream::at(&server, &url(&ticket), &[]).await;
    assert_eq!(code(&server.get(&url(&ticket), &[]).await), refused("ticket-used"));
}

/// Both find it good when they come.
#[tokio::test]
async fn of_two_who_wait_with_one_ticket_the_first_has_it() {
    let server = with_secret(&SLOW).await;
    let url = url(&ticket(&server, "test1").await);
    let _first = Stream::open(&server, "test2", None).await;
    let refusal = tokio::select! {
        one = server.get(&url, &[]) => one,
        other = server.get(&url, &[]) => other,
    };
    assert_eq!(code(&refusal), refused("ticket-used"));
    assert_eq!(server.metric("quick_notify_admitted_total").await, 3.0);
}

#[tokio::test]
async fn a_token_that_ends_while_its_bearer_waits_opens_nothing() {
    let server = with_tokens(&SLOW).await;
    let _first = Stream::open(&server, &token("alice", "t1", 600), None).await;
    let ending = token("alice", "t2", 2);
    let headers = [("Authorization", &*ending)];
    let answers = futures_util::future::join_all((0..4).map(|_| server.get("/sse/notify", &headers))).await;
    let expired = answers
        .iter()
        .filter(|answer| answer.text.contains("\"token-expired\""));
    // Their turns are one to four seconds after the first's.
    let expired = expired.filter(|answer| answer.status == 401).count();
    assert!((2..=3).contains(&expired), "{expired}");
    assert_eq!(server.metric("quick_notify_admitted_total").await, 5.0);
}
