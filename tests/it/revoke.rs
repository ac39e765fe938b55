//! Tokens that are taken back: their sessions end within a second, and nothing takes them from then on.

use std::time::Instant;

use jsonwebtoken::{EncodingKey, Header};
use quick_notify::lifecycle::wall_clock;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, Tab, within};

const SECRET: &str = "a secret of thirty-two bytes, ok?";
const ADMIN: &str = "the-key-of-an-operator";
const SHOP: &str = "the-key-of-some-producer";
const REVOKED: (&str, &str) = ("token-revoked", "the token was revoked: get a fresh one");

async fn server(more: &[(&str, &str)]) -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("ingest.keys.operator.secret_env", "ADMIN_KEY"),
        ("ingest.keys.shop.secret_env", "SHOP_KEY"),
        ("api.admins", "[\"operator\"]"),
    ];
    let environment = [("TOKEN_SECRET", SECRET), ("ADMIN_KEY", ADMIN), ("SHOP_KEY", SHOP)];
    Server::launch(&[&settings, more].concat(), &environment).await
}

/// A token that was issued so many seconds ago.
fn token(user: &str, jti: &str, age: i64) -> String {
    let now = wall_clock() / 1_000;
    let claims = json!({"sub": user, "jti": jti, "iat": now - age, "exp": now + 600});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).expect("it can be signed")
}

async fn ask(server: &Server, key: &str, body: Value) -> Answer {
    let headers = [("X-API-Key", key)];
    server.post("/api/sessions/revoke", &headers, body.to_string()).await
}

async fn revoke(server: &Server, body: Value) -> Value {
    let answer = ask(server, ADMIN, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["data"].clone()
}

/// What CONNECT and REST say to a token: the codes, or `ok`.
async fn doors(server: &Server, token: &str) -> (String, String) {
    let mut tab = Tab::open(server).await;
    let frame = tab.handshake(token, "1.2").await;
    let connect = frame.headers.get("code").unwrap_or("ok").to_owned();
    let rest = server.get("/api/notify/unread", &[("Authorization", token)]).await;
    let rest = match rest.status {
        200 => "ok".to_owned(),
        status => format!("{status} {}", rest.json()["error"]["code"].as_str().expect("a code")),
    };
    (connect, rest)
}

fn refused() -> (String, String) {
    ("token-revoked".into(), "401 token-revoked".into())
}

fn taken() -> (String, String) {
    ("ok".into(), "ok".into())
}

async fn ends_revoked(tab: &mut Tab) {
    let (code, message) = tab.error().await;
    assert_eq!((&*code, &*message), REVOKED);
    assert_eq!(tab.close, Some((1008, "token-revoked".into())));
}

#[tokio::test]
async fn one_token_is_taken_back_and_no_other() {
    let mut server = server(&[]).await;
    let (lost, kept, bobs) = (token("alice", "a1", 5), token("alice", "a2", 5), token("bob", "b1", 5));
    let mut one = Tab::listen(&server, &lost, None).await;
    let mut other = Tab::listen(&server, &kept, None).await;
    let mut bob = Tab::listen(&server, &bobs, None).await;
    let begin = Instant::now();
    let said = revoke(&server, json!({"token_id": "a1"})).await;
    assert_eq!(said["token_id"], "a1");
    ends_revoked(&mut one).await;
    assert!(begin.elapsed().as_millis() < 1_000, "{:?}", begin.elapsed());
    other.is_quiet().await;
    bob.is_quiet().await;
    assert_eq!(doors(&server, &lost).await, refused());
    assert_eq!(doors(&server, &kept).await, taken());
    // It is in the record.
    server.kill9().await;
    server.restart().await;
    assert_eq!(doors(&server, &lost).await, refused());
    assert_eq!(doors(&server, &kept).await, taken());
}

#[tokio::test]
async fn a_users_older_tokens_are_taken_back_and_a_later_one_is_taken() {
    let mut server = server(&[]).await;
    let (old, older, bobs) = (
        token("alice", "a1", 5),
        token("alice", "a2", 500),
        token("bob", "b1", 5),
    );
    let mut tabs = [
        Tab::listen(&server, &old, None).await,
        Tab::listen(&server, &older, None).await,
    ];
    let mut bob = Tab::listen(&server, &bobs, None).await;
    // Those of more than a minute ago first.
    let minute = wall_clock() - 60_000;
    let said = revoke(&server, json!({"user": "alice", "issued_before": minute})).await;
    assert_eq!(
        (said["user"].as_str(), said["issued_before"].as_i64()),
        (Some("alice"), Some(minute))
    );
    ends_revoked(&mut tabs[1]).await;
    tabs[0].is_quiet().await;
    let said = revoke(&server, json!({"user": "alice"})).await;
    assert!(said["issued_before"].as_i64().expect("a time") > minute);
    ends_revoked(&mut tabs[0]).await;
    bob.is_quiet().await;
    let fresh = token("alice", "a3", -2);
    for _ in 0..2 {
        assert_eq!(doors(&server, &old).await, refused());
        assert_eq!(doors(&server, &older).await, refused());
        assert_eq!(doors(&server, &fresh).await, taken());
        server.terminate().await;
        server.restart().await;
    }
}

#[tokio::test]
async fn after_a_renewal_it_is_the_fresh_token_that_counts() {
    let server = server(&[]).await;
    let (first, second) = (token("alice", "a1", 5), token("alice", "a2", 5));
    let mut tab = Tab::listen(&server, &first, None).await;
    tab.send_to("/app/token", &second).await;
    tab.is_quiet().await;
    revoke(&server, json!({"token_id": "a1"})).await;
    tab.is_quiet().await;
    // The old one is not taken for a renewal either, by another session.
    let mut other = Tab::listen(&server, &second, None).await;
    other.send_to("/app/token", &first).await;
    ends_revoked(&mut other).await;
    revoke(&server, json!({"token_id": "a2"})).await;
    ends_revoked(&mut tab).await;
}

#[tokio::test]
async fn a_session_that_waits_for_its_client_ends_too() {
    let server = server(&[]).await;
    let mut tab = Tab::listen(&server, &token("alice", "a1", 5), None).await;
    stuff(&server, &mut tab).await;
    revoke(&server, json!({"token_id": "a1"})).await;
    is_gone(&server, "token-revoked").await;
}

#[tokio::test]
async fn a_token_that_ends_while_its_session_waits_for_its_client_ends_it() {
    // Without the look at the token's end the write would be waited for until then.
    let server = server(&[("edge.write_timeout_ms", "60000"), ("http.write_timeout_ms", "60000")]).await;
    let now = wall_clock() / 1_000;
    let claims = json!({"sub": "alice", "exp": now + 4});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).expect("it can be signed");
    let mut tab = Tab::listen(&server, &token, None).await;
    stuff(&server, &mut tab).await;
    is_gone(&server, "token-expired").await;
    let late = wall_clock() - (now + 4) * 1_000;
    eprintln!("it was closed {late} ms after its token's end");
}

/// Sends until the server has to wait for this client, which reads nothing.
async fn stuff(server: &Server, tab: &mut Tab) {
    let text = "x".repeat(60_000);
    for _ in 0..150 {
        let draft = json!({"receiver": "alice", "data": text}).to_string();
        let answer = server.post("/api/notify", &[("X-API-Key", SHOP)], draft).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
    // Nothing of it is read: the kernel holds what it can, and the session waits.
    tab.transport().readable().await.expect("something has come");
}

async fn is_gone(server: &Server, reason: &str) {
    let closed = format!("quick_notify_connections_closed_total{{reason=\"{reason}\"}} 1");
    within("the close", async {
        while !(server.metrics().await.contains(&closed) && server.metric("quick_notify_connections").await == 0.0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn only_admins_may() {
    let server = server(&[]).await;
    let body = json!({"user": "alice"});
    let none = server.post("/api/sessions/revoke", &[], body.to_string()).await;
    assert_eq!(
        (none.status, &*none.refusal()),
        (401, "X-API-Key: revoking needs a key")
    );
    let wrong = ask(&server, "nobody-has-this-key", body.clone()).await;
    assert_eq!(
        (wrong.status, &*wrong.refusal()),
        (401, "X-API-Key: this key is not known")
    );
    let shop = ask(&server, SHOP, body).await;
    assert_eq!(
        (shop.status, &*shop.refusal()),
        (403, "X-API-Key: shop may not revoke: it is not among api.admins")
    );
    assert_eq!(doors(&server, &token("alice", "a1", 5)).await, taken());
}

#[tokio::test]
async fn in_dev_mode_anybody_may_and_a_token_that_says_no_time_is_covered() {
    let server = Server::start().await;
    let mut tab = Tab::listen(&server, "test1", None).await;
    let answer = server
        .post("/api/sessions/revoke", &[], json!({"user": "test1"}).to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    ends_revoked(&mut tab).await;
    assert_eq!(doors(&server, "test1").await, refused());
    assert_eq!(doors(&server, "test2").await, taken());
}

#[tokio::test]
async fn what_can_not_be_meant_is_told() {
    let server = server(&[("api.max_revocations", "1")]).await;
    let hour = wall_clock() + 3_600_000;
    let long = "j".repeat(129);
    let one = "body: needs exactly one of `token_id` and `user`";
    let time = "issued_before: must be a time in epoch milliseconds (not seconds) that is not ahead";
    let table = [
        (json!({}), one),
        (json!({"user": "alice", "token_id": "a1"}), one),
        (json!({"user": ""}), "user: it is absent or empty"),
        (json!({"user": "*"}), "user: it is `*`, which stands for everyone"),
        (
            json!({"token_id": ""}),
            "token_id: must be a token's `jti`, a text of 1 to 128 bytes",
        ),
        (
            json!({"token_id": long}),
            "token_id: must be a token's `jti`, a text of 1 to 128 bytes",
        ),
        (
            json!({"token_id": "a1", "issued_before": hour}),
            "issued_before: goes with `user` only",
        ),
        (json!({"user": "alice", "issued_before": hour / 1_000}), time),
        (json!({"user": "alice", "issued_before": hour}), time),
        (
            json!({"user": "alice", "until": 5}),
            "until: must lie ahead, in epoch milliseconds, and no more than 100 years",
        ),
    ];
    for (body, refusal) in table {
        let answer = ask(&server, ADMIN, body.clone()).await;
        assert_eq!((answer.status, &*answer.refusal()), (400, refusal), "{body}");
    }
    let unknown = ask(&server, ADMIN, json!({"usr": "alice"})).await;
    assert_eq!(unknown.status, 400);
    assert!(unknown.text.contains("unknown field `usr`"), "{}", unknown.text);
    // None of them did anything; one is taken, and no more than that.
    assert_eq!(doors(&server, &token("alice", "a1", 5)).await, taken());
    revoke(&server, json!({"token_id": "a1"})).await;
    let full = ask(&server, ADMIN, json!({"token_id": "a2"})).await;
    assert_eq!(full.status, 503, "{}", full.text);
    assert!(full.text.contains("api.max_revocations"), "{}", full.text);
}
