//! xhr-polling: `/xhr` and `/xhr_send`.

use reqwest::Method;

use super::*;

#[tokio::test]
async fn messages_go_there_and_back() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let origin = ("Origin", "http://shop.example");
    let answer = server.post(&format!("{session}/xhr"), &[origin], "").await;
    assert_eq!((answer.status, &*answer.text), (200, "o\n"));
    assert_eq!(mime(&answer), "application/javascript;charset=UTF-8");
    is_shared(&answer, Some(origin.1));
    is_never_kept(&answer);
    let answer = server.post(&format!("{session}/xhr_send"), &[origin], r#"["x"]"#).await;
    assert_eq!((answer.status, &*answer.text), (204, ""));
    // Some browsers take an answer without a type for broken XML, though it has no body.
    assert_eq!(mime(&answer), "text/plain;charset=UTF-8");
    is_shared(&answer, Some(origin.1));
    is_never_kept(&answer);
    assert_eq!(poll(&server, &session).await, "a[\"x\"]\n");
    // Those that came meanwhile come together, in order.
    send(&server, &session, r#"["one","two"]"#).await;
    send(&server, &session, r#"["three"]"#).await;
    let mut all = String::new();
    while !all.contains("three") {
        all += &poll(&server, &session).await;
    }
    assert_eq!(all.replace("]\na[", ","), "a[\"one\",\"two\",\"three\"]\n");
}

#[tokio::test]
async fn pages_of_other_origins_may_ask() {
    let server = Server::start().await;
    for transport in ["xhr", "xhr_send", "xhr_streaming", "jsonp_send"] {
        lets_ask(&server, &format!("/echo/abc/abc/{transport}"), "OPTIONS, POST").await;
    }
    for transport in ["eventsource", "htmlfile", "jsonp"] {
        lets_ask(&server, &format!("/echo/abc/abc/{transport}"), "OPTIONS, GET").await;
    }
}

#[tokio::test]
async fn the_headers_that_a_page_wants_to_send_are_allowed() {
    let server = Server::start().await;
    for (wanted, allowed) in [(Some("a, b, c"), "a, b, c"), (Some(""), ""), (None, "")] {
        let mut asked = vec![
            ("Origin", "http://shop.example"),
            ("Access-Control-Request-Method", "POST"),
        ];
        asked.extend(wanted.map(|wanted| ("Access-Control-Request-Headers", wanted)));
        let answer = server.request(Method::OPTIONS, "/echo/a/a/xhr", &asked, "").await;
        assert_eq!(answer.status, 204);
        is_shared(&answer, Some("http://shop.example"));
        assert_eq!(header(&answer, "access-control-allow-headers"), allowed);
    }
}

#[tokio::test]
async fn nothing_can_be_sent_to_a_session_that_is_not_there() {
    let server = Server::start().await;
    let answer = server.post(&format!("{}/xhr_send", fresh(ECHO)), &[], r#"["x"]"#).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn what_is_no_array_of_texts_is_refused_and_the_session_lives() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let too_many = format!("[{}\"\"]", "\"\",".repeat(16_384));
    let broken = [
        "[\"x",
        "{}",
        "[1]",
        "\"x\"",
        "[\"x\",]",
        "[[\"x\"]]",
        "[\"x\"] []",
        "[null]",
        "\u{0}",
        "[\"\\ud8\"]",
        &too_many,
        // Deeper than any stack.
        &"[".repeat(500_000),
        &"{\"a\":".repeat(100_000),
    ];
    for body in broken {
        let answer = server.post(&format!("{session}/xhr_send"), &[], body.to_owned()).await;
        let begin = &body[..body.len().min(20)];
        assert_eq!(
            (answer.status, &*answer.text),
            (500, "Broken JSON encoding."),
            "{begin}"
        );
    }
    let answer = server
        .post(&format!("{session}/xhr_send"), &[], vec![b'[', b'"', 0xff, b'"', b']'])
        .await;
    assert_eq!(answer.status, 204, "no UTF-8: U+FFFD stands for it");
    let answer = server.post(&format!("{session}/xhr_send"), &[], "").await;
    assert_eq!((answer.status, &*answer.text), (500, "Payload expected."));
    send(&server, &session, r#"["a"]"#).await;
    let mut all = poll(&server, &session).await;
    if !all.contains("\"a\"") {
        all += &poll(&server, &session).await;
    }
    assert_eq!(all.replace("]\na[", ","), "a[\"\\ufffd\",\"a\"]\n");
}

#[tokio::test]
async fn any_content_type_will_do() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    let types = [
        "text/plain",
        "T",
        "application/json",
        "application/xml",
        "",
        "application/json; charset=utf-8",
        "text/xml; charset=utf-8",
        "application/x-www-form-urlencoded",
    ];
    for mime in types {
        let answer = server
            .post(&format!("{session}/xhr_send"), &[("Content-Type", mime)], r#"["a"]"#)
            .await;
        assert_eq!(answer.status, 204, "{mime}");
    }
    let mut count = 0;
    while count < types.len() {
        count += poll(&server, &session).await.matches("\"a\"").count();
    }
    assert_eq!(count, types.len());
}

/// Clients send them to keep a connection.
#[tokio::test]
async fn an_array_of_nothing_is_taken() {
    let server = Server::start().await;
    let session = open(&server, ECHO).await;
    send(&server, &session, "[]").await;
    send(&server, &session, r#"["a"]"#).await;
    assert_eq!(poll(&server, &session).await, "a[\"a\"]\n");
}
