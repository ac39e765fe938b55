//! What is at the base, and what isn't there.

use reqwest::Method;

use super::*;

#[tokio::test]
async fn the_base_greets() {
    let server = Server::start().await;
    for path in ["/echo", "/echo/", "/stomp-ws", "/stomp-ws/"] {
        let answer = server.get(path, &[]).await;
        assert_eq!((answer.status, &*answer.text), (200, "Welcome to SockJS!\n"), "{path}");
        assert_eq!(mime(&answer), "text/plain;charset=UTF-8");
        assert_eq!(header(&answer, "set-cookie"), "");
    }
}

#[tokio::test]
async fn what_is_not_served_is_not_found() {
    let server = Server::start().await;
    for path in [
        "/a",
        "/a.html",
        "//",
        "///",
        "/a/a",
        "/a/a/",
        "/a/",
        "/a/b/c/xhr",
        "/a/b/unknown",
    ] {
        assert_eq!(server.get(&format!("{ECHO}{path}"), &[]).await.status, 404, "{path}");
    }
}

/// The answer says which methods are served, and nothing else.
#[tokio::test]
async fn a_method_that_is_not_served_is_told_which_are() {
    let server = Server::start().await;
    let table = [
        (Method::POST, "", "GET"),
        (Method::PUT, "/info", "OPTIONS, GET"),
        (Method::POST, "/iframe.html", "GET"),
        (Method::POST, "/websocket", "GET"),
        (Method::POST, "/0/0/websocket", "GET"),
        (Method::GET, "/0/0/xhr", "OPTIONS, POST"),
        (Method::HEAD, "/0/0/xhr_streaming", "OPTIONS, POST"),
        (Method::DELETE, "/0/0/xhr_send", "OPTIONS, POST"),
        (Method::POST, "/0/0/eventsource", "OPTIONS, GET"),
        (Method::POST, "/0/0/htmlfile?c=x", "OPTIONS, GET"),
        (Method::POST, "/0/0/jsonp?c=x", "OPTIONS, GET"),
        (Method::GET, "/0/0/jsonp_send", "OPTIONS, POST"),
    ];
    for (method, path, allowed) in table {
        let answer = server.request(method.clone(), &format!("{ECHO}{path}"), &[], "").await;
        assert_eq!((answer.status, &*answer.text), (405, ""), "{method} {path}");
        assert_eq!(
            (header(&answer, "allow"), header(&answer, "content-type")),
            (allowed, ""),
            "{method} {path}"
        );
    }
}
