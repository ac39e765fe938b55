//! The part of a URL that names a session.

use super::*;

async fn status(server: &Server, method: &str, path: &str) -> u16 {
    Live::open(server.address(), method, path, &[], "").await.status
}

#[tokio::test]
async fn any_name_without_a_dot_opens_a_session() {
    let server = Server::start().await;
    for name in [
        "/a/a",
        "/_/_",
        "/1/1",
        "/abcdefgh_i-j%20/abcdefg_i-j%20",
        "/a%2Fb/c%2fd",
        "/%E4%BD%A0/%F0%9F%98%80",
    ] {
        let session = format!("{ECHO}{name}");
        let mut live = Live::open(server.address(), "POST", &format!("{session}/xhr"), &[], "").await;
        assert_eq!((live.status, &*live.rest().await), (200, "o\n"), "{name}");
    }
    let longest = "x".repeat(128);
    assert_eq!(
        status(&server, "POST", &format!("{ECHO}/{longest}/{longest}/xhr")).await,
        200
    );
}

#[tokio::test]
async fn no_other_name_does() {
    let server = Server::start().await;
    let (long, longer) = ("x".repeat(129), "x".repeat(8_192));
    let names = [
        "//",
        "/a./a",
        "/a/a.",
        "/./.",
        "/",
        "///",
        "/../x",
        "/x/..",
        "/%2e%2e/x",
        "/x/%2E",
        "/a/b%2ec",
        "/x/y/z",
        "//x",
        "/x/",
        &format!("/x/{long}"),
        &format!("/{long}/x"),
        &format!("/x/{longer}"),
    ];
    for name in names {
        for method in ["GET", "POST"] {
            let status = status(&server, method, &format!("{ECHO}{name}/xhr")).await;
            assert_eq!(status, 404, "{method} {name}");
        }
    }
    // What is not UTF-8 is no text at all.
    assert_eq!(status(&server, "POST", "/echo/a/%ff/xhr").await, 400);
}

/// Nor does the end of a method's name.
#[tokio::test]
async fn no_other_method_opens_a_session() {
    let server = Server::start().await;
    for method in ["GET", "PUT", "ST", "T", "OST"] {
        assert_eq!(
            status(&server, method, &format!("{}/xhr", fresh(ECHO))).await,
            405,
            "{method}"
        );
    }
}

/// It is there for load balancers.
#[tokio::test]
async fn the_servers_part_means_nothing() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    send(&server, &session, r#"["a"]"#).await;
    assert_eq!(poll(&server, &session.replace("/000/", "/999/")).await, "a[\"a\"]\n");
}

/// Sessions of one service are none of another's.
#[tokio::test]
async fn each_service_has_its_own() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let other = session.replace(ECHO, "/cookie_needed_echo");
    let answer = server.post(&format!("{other}/xhr_send"), &[], "[]").await;
    assert_eq!(answer.status, 404);
    assert_eq!(poll(&server, &other).await, "o\n");
}
