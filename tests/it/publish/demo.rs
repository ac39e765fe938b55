//! The demo endpoints that today's pages post to.

use serde_json::json;

use crate::harness::{Server, Tab};

/// Contract, section 3. What curl sends by default says that it is a form; it arrives as typed.
#[tokio::test]
async fn the_demo_endpoints_take_plain_text_as_typed() {
    let server = Server::start().await;
    let mut alice = Tab::listen(&server, "test-alice", None).await;
    let mut bob = Tab::listen(&server, "test-bob", None).await;
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let typed = "Hello World & 100% = \u{1F44B} +";
    let push = async |path: &str, text: &'static str| {
        let answer = server.post(path, &form, text).await;
        assert_eq!(
            (answer.status, &*answer.text),
            (200, "Message pushed successfully"),
            "{path}"
        );
    };
    push("/vh-stomp-wsend/push_all_obj", typed).await;
    for tab in [&mut alice, &mut bob] {
        let delivery = tab.delivery().await;
        assert_eq!((&*delivery.data(), delivery.seq), (typed, None));
        let body = delivery.body();
        assert_eq!((&body["type"], &body["receiver"]), (&json!("STRING_MSG"), &json!("*")));
    }
    for (seq, path) in [
        (1, "/vh-stomp-wsend/push_all_obj/test-alice"),
        (2, "/vh-stomp-wsend/cluster/notify/test-alice"),
    ] {
        push(path, typed).await;
        let delivery = alice.delivery().await;
        assert_eq!((&*delivery.data(), delivery.seq), (typed, Some(seq)), "it is persisted");
    }
    push("/vh-stomp-wsend/push_all_obj/test%2Fa%20b%F0%9F%91%8B", "odd").await;
    let mut odd = Tab::listen(&server, "test/a b\u{1F44B}", None).await;
    assert_eq!(odd.delivery().await.data(), "odd");
    bob.is_quiet().await;
}

#[tokio::test]
async fn the_demo_endpoints_refuse_what_is_no_text_or_no_name() {
    let server = Server::start().await;
    let table: [(&str, &[u8], &str); 4] = [
        ("push_all_obj", b"\xff\xfe", "body: is not UTF-8 text"),
        ("push_all_obj/%FF", b"x", "receiver: is not UTF-8 text"),
        (
            "push_all_obj/a%0Ab",
            b"x",
            "receiver: must not contain control characters",
        ),
        (
            "cluster/notify/*",
            b"x",
            "receiver: names one user; to reach everyone who is online say `everyone`: true",
        ),
    ];
    for (path, body, refusal) in table {
        let answer = server
            .post(&format!("/vh-stomp-wsend/{path}"), &[], body.to_vec())
            .await;
        assert_eq!((answer.status, &*answer.refusal()), (400, refusal), "{path}");
    }
}
