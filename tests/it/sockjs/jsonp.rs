//! jsonp-polling: `/jsonp` and `/jsonp_send`.

use super::*;

async fn call(server: &Server, session: &str) -> String {
    let answer = server.get(&format!("{session}/jsonp?c=x"), &[]).await;
    assert_eq!(answer.status, 200);
    answer.text
}

async fn post(server: &Server, session: &str, body: &'static str) -> (u16, String) {
    let answer = server.post(&format!("{session}/jsonp_send"), &[FORM], body).await;
    (answer.status, answer.text)
}

#[tokio::test]
async fn each_frame_is_a_call() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let answer = server.get(&format!("{session}/jsonp?c=%63allback"), &[]).await;
    assert_eq!((answer.status, &*answer.text), (200, "/**/callback(\"o\");\r\n"));
    assert_eq!(mime(&answer), "application/javascript;charset=UTF-8");
    is_never_kept(&answer);
    let answer = server
        .post(&format!("{session}/jsonp_send"), &[FORM], "d=%5B%22x%22%5D")
        .await;
    // Some browsers do strange things where there is no body.
    assert_eq!((answer.status, &*answer.text), (200, "ok"));
    assert_eq!(mime(&answer), "text/plain;charset=UTF-8");
    is_never_kept(&answer);
    let answer = server.get(&format!("{session}/jsonp?callback=a.b-c_D9"), &[]).await;
    assert_eq!(answer.text, "/**/a.b-c_D9(\"a[\\\"x\\\"]\");\r\n");
}

#[tokio::test]
async fn what_is_no_array_of_texts_is_refused_and_the_session_lives() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    assert_eq!(call(&server, &session).await, "/**/x(\"o\");\r\n");
    let (broken, missing) = ("Broken JSON encoding.".to_owned(), "Payload expected.".to_owned());
    assert_eq!(post(&server, &session, "d=%5B%22x").await, (500, broken));
    for body in ["", "d=", "p=p"] {
        assert_eq!(post(&server, &session, body).await, (500, missing.clone()), "{body}");
    }
    assert_eq!(post(&server, &session, "d=%5B%5D").await, (200, "ok".into()));
    assert_eq!(post(&server, &session, "d=%5B%22b+c%22%5D").await, (200, "ok".into()));
    assert_eq!(call(&server, &session).await, "/**/x(\"a[\\\"b c\\\"]\");\r\n");
}

#[tokio::test]
async fn what_is_no_form_is_taken_as_it_is() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    call(&server, &session).await;
    let answer = server
        .post(
            &format!("{session}/jsonp_send"),
            &[("Content-Type", "text/plain")],
            r#"["%61bc"]"#,
        )
        .await;
    assert_eq!((answer.status, &*answer.text), (200, "ok"));
    assert_eq!(call(&server, &session).await, "/**/x(\"a[\\\"%61bc\\\"]\");\r\n");
    let answer = server
        .post(&format!("{}/jsonp_send", fresh(ECHO)), &[FORM], "d=%5B%5D")
        .await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn the_close_is_told_as_often_as_it_is_asked_for() {
    let server = Server::start().await;
    let session = fresh(CLOSE);
    assert_eq!(call(&server, &session).await, "/**/x(\"o\");\r\n");
    for _ in 0..2 {
        assert_eq!(
            call(&server, &session).await,
            "/**/x(\"c[3000,\\\"Go away!\\\"]\");\r\n"
        );
    }
}

#[tokio::test]
async fn markup_in_a_message_is_no_markup_in_the_script() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    call(&server, &session).await;
    send(&server, &session, r#"["</script><img src=x>\u2028"]"#).await;
    assert_eq!(
        call(&server, &session).await,
        "/**/x(\"a[\\\"\\u003c/script>\\u003cimg src=x>\\\\u2028\\\"]\");\r\n"
    );
}
