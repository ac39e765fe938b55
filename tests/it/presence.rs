//! Who is online: asked by producers about anybody, and by users about themselves.

use serde_json::json;

use crate::harness::{Server, Tab, eventually, servers};

const KEY: &str = "sesame-open-sesame-open";
const SECRET: &str = "a secret of thirty-two bytes, ok?";

#[tokio::test]
async fn sessions_are_counted_by_user_in_the_order_of_the_question() {
    let server = Server::start().await;
    let one = Tab::connect(&server, "test1").await;
    let _two = Tab::connect(&server, "test1").await;
    let _other = Tab::connect(&server, "test2 and more").await;
    let path = "/api/presence?user=test2%20and%20more&user=nobody&user=test1";
    let answer = server.get(path, &[]).await;
    assert_eq!(answer.status, 200);
    let expected = json!({"users": [
        {"user": "test2 and more", "online": true, "sessions": 1},
        {"user": "nobody", "online": false, "sessions": 0},
        {"user": "test1", "online": true, "sessions": 2},
    ]});
    assert_eq!(answer.json(), expected);
    drop(one);
    eventually("one session is left", async || {
        let answer = server.get("/api/presence?user=test1", &[]).await;
        answer.json()["users"][0]["sessions"] == 1
    })
    .await;
}

#[tokio::test]
async fn a_question_that_is_wrong_names_the_field() {
    let server = Server::with(&[("api.max_users", "2")]).await;
    for (query, status, refusal) in [
        ("", 400, "user: is missing; say whom you ask about, as in ?user=alice"),
        ("?user=", 400, "user: must not be empty"),
        (
            "?user=a&user=b&user=c",
            400,
            "user: stands 3 times; at most 2 are answered (api.max_users)",
        ),
        ("?name=a", 400, "name: is not known here; known: user"),
    ] {
        let answer = server.get(&format!("/api/presence{query}"), &[]).await;
        assert_eq!((answer.status, &*answer.refusal()), (status, refusal), "{query}");
    }
}

#[tokio::test]
async fn producers_ask_about_anybody_and_users_about_themselves() {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("ingest.keys.shop.secret_env", "SHOP_KEY"),
    ];
    let server = Server::launch(&settings, &[("TOKEN_SECRET", SECRET), ("SHOP_KEY", KEY)]).await;
    let claims = json!({"sub": "alice", "exp": 4_000_000_000_u64});
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .expect("a token");
    let alice = ("Authorization", &*token);
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(&str, Headers, u16, &str); 7] = [
        ("?user=alice&user=bob", &[("X-API-Key", KEY)], 200, ""),
        (
            "",
            &[("X-API-Key", KEY)],
            400,
            "user: is missing; say whom you ask about, as in ?user=alice",
        ),
        ("?user=alice", &[], 401, "X-API-Key: asking who is online needs a key"),
        (
            "?user=alice",
            &[("X-API-Key", "wrong"), alice],
            401,
            "X-API-Key: this key is not known",
        ),
        ("?user=alice", &[alice], 200, ""),
        ("", &[alice], 200, ""),
        (
            "?user=alice&user=bob",
            &[alice],
            403,
            "user: a user's token is good for asking about that user; about others producers ask, with X-API-Key",
        ),
    ];
    for (query, headers, status, refusal) in table {
        let answer = server.get(&format!("/api/presence{query}"), headers).await;
        assert_eq!(answer.status, status, "{query} {headers:?}");
        if status != 200 {
            assert_eq!(answer.refusal(), refusal, "{query} {headers:?}");
        }
    }
    let answer = server.get("/api/presence", &[alice]).await;
    let expected = json!({"users": [{"user": "alice", "online": false, "sessions": 0}]});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn two_nodes_count_together_and_say_when_they_can_not() {
    let mut redis = servers::Redis::start().await;
    let list = format!("[\"{}\"]", redis.url());
    let settings = [("topic.adapter", "redis"), ("redis.servers", &*list)];
    let (one, two) = (Server::with(&settings).await, Server::with(&settings).await);
    let _here = Tab::connect(&one, "test1").await;
    let _there = Tab::connect(&two, "test1").await;
    let answer = one.get("/api/presence?user=test1", &[]).await;
    assert_eq!(answer.json()["users"][0]["sessions"], 2);
    redis.kill9().await;
    let path = "/api/presence?user=test1";
    eventually("it says that it can't", async || one.get(path, &[]).await.status == 503).await;
    let answer = one.get(path, &[]).await;
    assert_eq!(answer.headers["retry-after"], "1");
    redis.restart().await;
    eventually("both are counted again", async || {
        let answer = one.get(path, &[]).await;
        answer.status == 200 && answer.json()["users"][0]["sessions"] == 2
    })
    .await;
}
