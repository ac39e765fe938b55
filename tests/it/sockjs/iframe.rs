//! The page for a hidden frame, from which old browsers talk to this server.

use super::*;

const ADDRESS: &str = "https://cdn.shop.example/sockjs.min.js";

fn page(client: &str) -> String {
    [
        "<!DOCTYPE html>",
        "<html>",
        "<head>",
        "  <meta http-equiv=\"X-UA-Compatible\" content=\"IE=edge\" />",
        "  <meta http-equiv=\"Content-Type\" content=\"text/html; charset=UTF-8\" />",
        &format!("  <script src=\"{client}\"></script>"),
        "  <script>",
        "    document.domain = document.domain;",
        "    SockJS.bootstrap_iframe();",
        "  </script>",
        "</head>",
        "<body>",
        "  <h2>Don't panic!</h2>",
        "  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>",
        "</body>",
        "</html>",
    ]
    .join("\n")
}

#[tokio::test]
async fn it_is_there_by_each_of_its_names() {
    let server = Server::with(&[("edge.sockjs.client_url", ADDRESS)]).await;
    for name in [
        "/iframe.html",
        "/iframe-a.html",
        "/iframe-.html",
        "/iframe-0.1.2.html",
        "/iframe-0.1.2abc-dirty.2144.html",
        "/iframe-a.html?t=1234",
        "/iframe-0.1.2.html?t=123414",
    ] {
        let answer = server.get(&format!("{ECHO}{name}"), &[]).await;
        assert_eq!((answer.status, answer.text.trim()), (200, &*page(ADDRESS)), "{name}");
        assert_eq!(mime(&answer), "text/html;charset=UTF-8");
        assert_eq!(header(&answer, "set-cookie"), "");
        is_kept(&answer);
    }
}

#[tokio::test]
async fn it_has_no_other_names() {
    let server = Server::start().await;
    for name in [
        "/iframe.htm",
        "/iframe",
        "/IFRAME.HTML",
        "/IFRAME",
        "/iframe.HTML",
        "/iframe.xml",
        "/iframe-/.html",
        "/iframe-%3Cscript%3E.html",
        "/xiframe.html",
        "/iframe1.html",
    ] {
        assert_eq!(server.get(&format!("{ECHO}{name}"), &[]).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_browser_that_has_it_is_told_so() {
    let server = Server::start().await;
    let first = server.get("/echo/iframe.html", &[]).await;
    let tag = header(&first, "etag").to_owned();
    assert!(!tag.is_empty());
    assert_eq!(header(&server.get("/echo/iframe-1.html", &[]).await, "etag"), tag);
    for known in [&*tag, "*", &format!("\"another\", {tag}")] {
        let answer = server.get("/echo/iframe.html", &[("If-None-Match", known)]).await;
        assert_eq!((answer.status, &*answer.text), (304, ""), "{known}");
        assert_eq!((header(&answer, "content-type"), header(&answer, "etag")), ("", &*tag));
        assert!(header(&answer, "content-security-policy").contains("frame-ancestors *"));
    }
    let answer = server
        .get("/echo/iframe.html", &[("If-None-Match", "\"another\"")])
        .await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn it_names_the_client_that_the_configuration_names() {
    let server = Server::with(&[("edge.sockjs.client_url", "/sockjs.js")]).await;
    let answer = server.get("/stomp-ws/iframe.html", &[]).await;
    assert_eq!(answer.text.trim(), page("/sockjs.js"));
    let none = Server::with(&[("edge.sockjs.client_url", "")]).await;
    says_what_is_missing(&none).await;
    says_what_is_missing(&Server::start().await).await;
}

async fn says_what_is_missing(server: &Server) {
    let answer = server.get("/stomp-ws/iframe.html", &[]).await;
    assert_eq!(answer.status, 404);
    assert!(answer.text.contains("edge.sockjs.client_url"), "{}", answer.text);
}

/// Whatever got into the page, only its own two scripts would run, and only listed pages may put it into a frame.
#[tokio::test]
async fn it_has_a_content_security_policy() {
    let settings = [
        ("edge.sockjs.client_url", ADDRESS),
        ("auth.adapter", "jwt"),
        ("auth.jwt.keys", r#"[{secret_env="IFRAME_TEST_SECRET"}]"#),
        ("edge.origins", r#"["https://shop.example"]"#),
    ];
    let environment = [("IFRAME_TEST_SECRET", "a secret of more than thirty-two bytes")];
    let server = Server::launch(&settings, &environment).await;
    let answer = server.get("/stomp-ws/iframe.html", &[]).await;
    let policy = header(&answer, "content-security-policy");
    let said = |directive: &str| {
        let part = policy.split(';').find_map(|part| part.trim().strip_prefix(directive));
        part.unwrap_or_else(|| panic!("no {directive} in {policy}"))
            .trim()
            .to_owned()
    };
    assert_eq!(said("default-src"), "'none'");
    assert_eq!(said("frame-ancestors"), "'self' https://shop.example");
    let scripts = said("script-src");
    let (client, hash) = scripts.split_once(' ').expect("two sources");
    assert_eq!(client, ADDRESS);
    // The browser's own computation, from what the page holds.
    let inline = answer
        .text
        .split("<script>")
        .nth(1)
        .and_then(|rest| rest.split("</script>").next());
    let digest = <sha2::Sha256 as sha2::Digest>::digest(inline.expect("a script"));
    let digest = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, digest);
    assert_eq!(hash, format!("'sha256-{digest}'"));
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    // Under another policy it is another page.
    let other = Server::with(&settings[..1])
        .await
        .get("/stomp-ws/iframe.html", &[])
        .await;
    assert_eq!(other.text, answer.text);
    assert_ne!(header(&other, "etag"), header(&answer, "etag"));
}
