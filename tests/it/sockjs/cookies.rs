//! The cookie JSESSIONID, for load balancers that go by it, where the service asks for it.

use super::*;

const COOKIE: &str = "/cookie_needed_echo";

#[tokio::test]
async fn every_answer_of_a_session_sets_it() {
    let server = Server::start().await;
    for transport in ["xhr_streaming", "eventsource", "htmlfile?c=x"] {
        let live = stream(&server, &format!("{}/{transport}", fresh(COOKIE))).await;
        assert_eq!(live.header("set-cookie"), "JSESSIONID=dummy; path=/", "{transport}");
    }
    let session = fresh(COOKIE);
    let answers = [
        server.post(&format!("{session}/xhr"), &[], "").await,
        server.post(&format!("{session}/xhr_send"), &[], r#"["x"]"#).await,
        server.get(&format!("{session}/jsonp?c=x"), &[]).await,
        server.post(&format!("{session}/jsonp_send"), &[FORM], "d=%5B%5D").await,
    ];
    for answer in answers {
        assert_eq!(header(&answer, "set-cookie"), "JSESSIONID=dummy; path=/");
    }
    // Whoever only asks what there is belongs to no server yet.
    assert_eq!(
        header(&server.get(&format!("{COOKIE}/info"), &[]).await, "set-cookie"),
        ""
    );
}

#[tokio::test]
async fn one_that_is_there_is_given_back() {
    let server = Server::start().await;
    let table = [
        ("JSESSIONID=abcdef", "abcdef"),
        ("a=b; JSESSIONID=abc.node1; c=d", "abc.node1"),
        ("XJSESSIONID=abc", "dummy"),
        ("JSESSIONID=a b", "dummy"),
        (&*format!("JSESSIONID={}", "x".repeat(129)), "dummy"),
    ];
    for (sent, given) in table {
        let answer = server
            .post(&format!("{}/xhr", fresh(COOKIE)), &[("Cookie", sent)], "")
            .await;
        assert_eq!(
            header(&answer, "set-cookie"),
            format!("JSESSIONID={given}; path=/"),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn a_service_that_does_not_ask_for_it_sets_none() {
    let server = Server::start().await;
    let answer = server
        .post(&format!("{}/xhr", fresh(ECHO)), &[("Cookie", "JSESSIONID=abc")], "")
        .await;
    assert_eq!(header(&answer, "set-cookie"), "");
    let asked = Server::with(&[("edge.sockjs.cookie_needed", "true")]).await;
    let answer = asked.post(&format!("{}/xhr", fresh(ENDPOINT)), &[], "").await;
    assert_eq!(header(&answer, "set-cookie"), "JSESSIONID=dummy; path=/");
}
