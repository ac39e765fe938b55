//! Tokens that are not taken, over REST and over CONNECT: the same words at both doors.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use quick_notify::lifecycle::wall_clock;
use serde_json::{Value, json};

use crate::harness::{Server, Tab};

const SECRET: &str = "a secret of thirty-two bytes, ok?";
const OTHER: &str = "another secret of the same length";

async fn server() -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("auth.jwt.audiences", "[\"notify\"]"),
    ];
    Server::launch(&settings, &[("TOKEN_SECRET", SECRET)]).await
}

fn claims(change: &str, value: Value) -> Value {
    let mut claims = json!({"sub": "alice", "aud": "notify", "exp": wall_clock() / 1000 + 600});
    claims[change] = value;
    claims
}

fn signed(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), claims, &key).expect("it can be signed")
}

fn unsigned(header: &str) -> String {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.", part(header), part(&claims("sub", json!("alice")).to_string()))
}

#[tokio::test]
async fn a_token_that_is_not_taken_is_told_why_at_every_door() {
    let server = server().await;
    let audience = "the token is for another audience: `aud` must name `notify`";
    let signature = "the token's signature is wrong: another key made it, or the token was changed";
    let good = signed(SECRET, &claims("sub", json!("alice")));
    let table = [
        (
            "token-missing",
            "no token: send the header `Authorization: TOKEN`",
            String::new(),
        ),
        (
            "token-missing",
            "no token: send the header `Authorization: TOKEN`",
            "Bearer ".into(),
        ),
        (
            "token-expired",
            "the token expired NUMBER s ago: get a fresh one",
            signed(SECRET, &claims("exp", json!(wall_clock() / 1000 - 60))),
        ),
        (
            "token-unsigned",
            "the token is not signed (`alg` is `none`)",
            unsigned(r#"{"alg":"none"}"#),
        ),
        (
            "token-unsigned",
            "the token is not signed (`alg` is `none`)",
            unsigned(r#"{"alg":"NoNe","typ":"JWT"}"#),
        ),
        (
            "token-bad-signature",
            signature,
            signed(OTHER, &claims("sub", json!("alice"))),
        ),
        (
            "token-bad-signature",
            signature,
            format!("{}x", &good[..good.len() - 1]),
        ),
        (
            "token-wrong-audience",
            audience,
            signed(SECRET, &claims("aud", json!("shop"))),
        ),
        (
            "token-wrong-audience",
            audience,
            signed(SECRET, &claims("aud", Value::Null)),
        ),
        (
            "token-malformed",
            "the token is malformed: it is not three parts with a dot between",
            "test1".into(),
        ),
        (
            "token-bad-subject",
            "the token's subject (`sub`) can't be a user id: it is `*`, which stands for everyone",
            signed(SECRET, &claims("sub", json!("*"))),
        ),
    ];
    for (code, reason, token) in &table {
        for path in ["/api/notify/history", "/api/notify/unread"] {
            let answer = server.get(path, &[("Authorization", token)]).await;
            assert_eq!(
                (answer.status, answer.headers["www-authenticate"].to_str().ok()),
                (401, Some("Bearer"))
            );
            let error = &answer.json()["error"];
            assert_eq!(
                (&error["code"], &error["field"]),
                (&json!(code), &json!("Authorization"))
            );
            assert_eq!(without_number(error["reason"].as_str().expect("a reason")), *reason);
        }
        let mut tab = Tab::open(&server).await;
        let frame = tab.handshake(token, "1.2").await;
        let header = |name| frame.headers.get(name).expect("an ERROR has it");
        assert_eq!((header("code"), &*without_number(header("message"))), (*code, *reason));
        tab.closed().await;
    }
    for (method, path) in [
        (reqwest::Method::POST, "/api/notify/viewed"),
        (reqwest::Method::DELETE, "/api/notify/delete"),
    ] {
        let answer = server
            .request(method, path, &[("Authorization", &table[2].2)], "[\"a\"]")
            .await;
        assert_eq!(answer.status, 401);
    }
    assert_eq!(
        server.get("/api/notify/unread", &[]).await.status,
        401,
        "without the header at all"
    );
    assert_eq!(
        server
            .get("/api/notify/unread", &[("Authorization", &good)])
            .await
            .status,
        200
    );
    assert_eq!(
        server
            .get("/api/notify/unread", &[("Authorization", &format!("bearer {good}"))])
            .await
            .status,
        200
    );
    let log = server.log();
    assert!(
        table
            .iter()
            .all(|(.., token)| token.len() < 20 || !log.contains(&**token)),
        "a token is in the log"
    );
    assert!(
        !log.contains(&good) && !log.contains("secret"),
        "a secret is in the log"
    );
}

/// The seconds since the end differ from run to run.
fn without_number(text: &str) -> String {
    let number = text.find(|c: char| c.is_ascii_digit());
    match number.filter(|_| text.starts_with("the token expired")) {
        Some(start) => {
            let rest = text[start..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}NUMBER{rest}", &text[..start])
        }
        None => text.to_owned(),
    }
}
