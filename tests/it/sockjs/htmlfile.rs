//! htmlfile: a page that never ends, a script for each frame.

use super::*;

fn begin(callback: &str) -> String {
    [
        "<!doctype html>",
        "<html><head>",
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />",
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />",
        "</head><body><h2>Don't panic!</h2>",
        "  <script>",
        "    document.domain = document.domain;",
        &format!("    var c = parent.{callback};"),
        "    c.start();",
        "    function p(d) {c.message(d);};",
        "    window.onload = function() {c.stop();};",
        "  </script>",
    ]
    .join("\n")
}

/// Opens one, through its first frame.
async fn page(server: &Server, session: &str) -> Live {
    let mut live = stream(server, &format!("{session}/htmlfile?c=%63allback")).await;
    let head = live.until("\r\n\r\n").await.expect("the head of the page");
    assert_eq!(head.trim(), begin("callback"));
    // Below a kilobyte some browsers show nothing.
    assert!(head.len() + 4 > 1_024, "{}", head.len());
    live.expect("<script>\np(\"o\");\n</script>\r\n").await;
    live
}

#[tokio::test]
async fn each_frame_is_a_script() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let mut live = page(&server, &session).await;
    assert_eq!(live.header("content-type").replace(' ', ""), "text/html;charset=UTF-8");
    assert_eq!(live.header("cache-control"), NEVER_KEPT);
    send(&server, &session, r#"["x"]"#).await;
    live.expect("<script>\np(\"a[\\\"x\\\"]\");\n</script>\r\n").await;
    send(&server, &session, &format!("[\"{}\"]", "x".repeat(4_096))).await;
    live.expect(&format!(
        "<script>\np(\"a[\\\"{}\\\"]\");\n</script>\r\n",
        "x".repeat(4_096)
    ))
    .await;
    live.ends().await;
}

/// `callback` is a name in a script: letters, digits, `-`, `_` and `.`, and no more of them than a name has.
#[tokio::test]
async fn the_callback_is_a_name() {
    let server = Server::start().await;
    for transport in ["htmlfile", "jsonp"] {
        for query in ["", "?", "?c=", "?d=x"] {
            let answer = server.get(&format!("/echo/a/a/{transport}{query}"), &[]).await;
            assert_eq!(answer.status, 500, "{transport}{query}");
            assert_eq!(answer.text, "\"callback\" parameter required");
            assert_eq!(mime(&answer), "text/plain;charset=UTF-8");
        }
        let long = "x".repeat(65);
        for callback in [
            "%20",
            "*",
            "abc(",
            "abc%28",
            "%3Cscript%3E",
            "a;b",
            "a%0Ab",
            "a%00",
            "a'b",
            "%22",
            "a%5Bb%5D",
            "a%3D1",
            "%E2%80%A8",
            &long,
        ] {
            let answer = server.get(&format!("/echo/a/a/{transport}?c={callback}"), &[]).await;
            assert_eq!(answer.status, 500, "{transport} {callback}");
            assert_eq!(answer.text, "invalid \"callback\" parameter");
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        }
    }
    // A refused one opened no session.
    assert_eq!(server.post("/echo/a/a/xhr_send", &[], "[]").await.status, 404);
}

/// Only what the server itself wrote would run, and nothing is fetched.
#[tokio::test]
async fn the_page_has_a_content_security_policy() {
    let server = Server::start().await;
    let live = page(&server, &fresh(ECHO)).await;
    assert_eq!(
        live.header("content-security-policy"),
        "default-src 'none'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors *"
    );
    assert_eq!(live.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn markup_in_a_message_is_no_markup_in_the_page() {
    let server = Server::start().await;
    let session = fresh(ECHO);
    let mut live = page(&server, &session).await;
    send(&server, &session, r#"["</script><script>alert(1)</script><!--"]"#).await;
    live.expect(
        "<script>\np(\"a[\\\"\\u003c/script>\\u003cscript>alert(1)\\u003c/script>\\u003c!--\\\"]\");\n</script>\r\n",
    )
    .await;
}
