//! Outside dev mode, publishing needs a key.

use serde_json::json;

use crate::harness::Server;

const KEY: &str = "sesame-open-sesame-open";
const OTHER: &str = "another-key-of-another-shop";

async fn server(more: &[(&str, &str)]) -> Server {
    let settings = [
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", "[{secret_env=\"TOKEN_SECRET\"}]"),
        ("ingest.keys.shop.secret_env", "SHOP_KEY"),
        ("ingest.keys.billing.secret_env", "BILLING_KEY"),
    ];
    let environment = [
        ("TOKEN_SECRET", "a secret of thirty-two bytes, ok?"),
        ("SHOP_KEY", KEY),
        ("BILLING_KEY", OTHER),
    ];
    Server::launch(&[&settings, more].concat(), &environment).await
}

#[tokio::test]
async fn a_producer_shows_its_key() {
    let server = server(&[]).await;
    let draft = json!({"receiver": "alice", "data": "x"}).to_string();
    let long = "k".repeat(10_000);
    type Headers<'a> = &'a [(&'a str, &'a str)];
    let table: [(Headers, u16, &str); 6] = [
        (&[("X-API-Key", KEY)], 202, ""),
        (&[("x-api-key", OTHER)], 202, ""),
        (&[], 401, "X-API-Key: publishing needs a key"),
        (&[("X-API-Key", "")], 401, "X-API-Key: this key is not known"),
        (
            &[("X-API-Key", "sesame-open-sesame-opem")],
            401,
            "X-API-Key: this key is not known",
        ),
        (&[("X-API-Key", &long)], 401, "X-API-Key: this key is not known"),
    ];
    for (headers, status, refusal) in table {
        for path in [
            "/api/notify",
            "/vh-stomp-wsend/push_all_obj/alice",
            "/vh-stomp-wsend/push_all_obj",
        ] {
            let answer = server.post(path, headers, draft.clone()).await;
            if status == 202 {
                assert!(matches!(answer.status, 200 | 202), "{path} {}", answer.text);
            } else {
                assert_eq!(
                    (answer.status, &*answer.refusal()),
                    (status, refusal),
                    "{path} {headers:?}"
                );
                assert_eq!(answer.headers["www-authenticate"], "ApiKey header=\"X-API-Key\"");
            }
        }
    }
    assert!(
        !server.log().contains(KEY) && !server.log().contains("sesame"),
        "keys are in no log:\n{}",
        server.log()
    );
}

/// The key says who the producer is: another's idempotency keys are another's.
#[tokio::test]
async fn idempotency_keys_are_each_producers_own() {
    let server = server(&[]).await;
    let mut ids = Vec::new();
    for key in [KEY, OTHER, KEY] {
        let headers = [("X-API-Key", key), ("Idempotency-Key", "order-7")];
        let answer = server
            .post(
                "/api/notify",
                &headers,
                json!({"receiver": "alice", "data": "x"}).to_string(),
            )
            .await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        ids.push(answer.json()["id"].clone());
    }
    assert!(ids[0] == ids[2] && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn the_demo_endpoints_are_open_where_configured_which_is_said_at_start() {
    let server = server(&[("ingest.demo", "open")]).await;
    let answer = server.post("/vh-stomp-wsend/push_all_obj/alice", &[], "x").await;
    assert_eq!(answer.status, 200);
    let answer = server
        .post(
            "/api/notify",
            &[],
            json!({"receiver": "alice", "data": "x"}).to_string(),
        )
        .await;
    assert_eq!(answer.status, 401, "nothing else is");
    let about = server.get("/api/about", &[]).await.json();
    assert_eq!((&about["auth"], &about["publish"]), (&json!("jwt"), &json!("key")));
}
