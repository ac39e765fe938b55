//! Tokens that are not taken, each with the refusal that fits.

use jsonwebtoken::{Algorithm, EncodingKey};

use super::keys::b64;
use super::*;

#[test]
fn every_bad_token_gets_the_refusal_that_fits() {
    let dir = Dir::new();
    let keys = keys();
    let auth = jwt(json!({
        "keys": [
            {"secret_file": dir.write("secret", SECRET), "kid": "hs"},
            {"file": dir.write("rsa.pem", &keys.rsa.public), "algorithm": "RS256", "kid": "rs"},
        ],
        "issuers": ["https://id.example", "https://old.example"],
        "audiences": ["notify"],
    }));
    let good = json!({"sub": "alice", "exp": NOW_S + 60, "iss": "https://id.example", "aud": "notify"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        hs(SECRET, Some("hs"), &claims)
    };
    let audience = Refusal::WrongAudience {
        expected: "`notify`".into(),
    };
    let issuer = Refusal::WrongIssuer {
        expected: "`https://id.example` or `https://old.example`".into(),
    };
    let not_allowed = |alg: &str| Refusal::AlgorithmNotAllowed { alg: alg.into() };
    let changed = {
        let token = hs(SECRET, Some("hs"), &good);
        let parts: Vec<_> = token.split('.').collect();
        let mut claims = good.clone();
        claims["sub"] = json!("mallory");
        format!("{}.{}.{}", parts[0], b64(&claims.to_string()), parts[2])
    };
    let raw = |header: &str, claims: &str| format!("{}.{}.", b64(header), b64(claims));
    let of_three = Refusal::Malformed("it is not three parts with a dot between");
    let header_not_json = Refusal::Malformed("its header is not a JSON object with an `alg`");

    let table = [
        ("empty", String::new(), Refusal::Missing),
        (
            "expired",
            with("exp", json!(NOW_S - 35)),
            Refusal::Expired {
                at: NOW - 35_000,
                now: NOW,
            },
        ),
        (
            "expires now",
            with("exp", json!(NOW_S)),
            Refusal::Expired { at: NOW, now: NOW },
        ),
        (
            "not yet",
            with("nbf", json!(NOW_S + 5)),
            Refusal::NotYetValid {
                from: NOW + 5_000,
                now: NOW,
            },
        ),
        (
            "alg none",
            raw(r#"{"alg":"none"}"#, &good.to_string()),
            Refusal::Unsigned,
        ),
        (
            "alg nOnE",
            raw(r#"{"alg":"nOnE","kid":"hs"}"#, &good.to_string()),
            Refusal::Unsigned,
        ),
        (
            "alg null",
            raw(r#"{"alg":null}"#, &good.to_string()),
            header_not_json.clone(),
        ),
        (
            "wrongly signed",
            hs(OTHER_SECRET, Some("hs"), &good),
            Refusal::BadSignature,
        ),
        ("claims changed", changed, Refusal::BadSignature),
        (
            "signature cut",
            hs(SECRET, Some("hs"), &good).rsplit_once('.').unwrap().0.to_owned() + ".",
            Refusal::BadSignature,
        ),
        (
            "signature no base64",
            hs(SECRET, Some("hs"), &good) + "!",
            Refusal::BadSignature,
        ),
        (
            "RSA's public key as secret",
            hs(&keys.rsa.public, Some("rs"), &good),
            Refusal::UnknownKey { kid: "rs".into() },
        ),
        (
            "the same without kid",
            hs(&keys.rsa.public, None, &good),
            Refusal::BadSignature,
        ),
        (
            "an algorithm of no key",
            keys.ec.sign(None, &good),
            not_allowed("ES256"),
        ),
        (
            "HS512",
            signed(
                Algorithm::HS512,
                &EncodingKey::from_secret(SECRET.as_bytes()),
                None,
                &good,
            ),
            not_allowed("HS512"),
        ),
        ("wrong audience", with("aud", json!("shop")), audience.clone()),
        (
            "audiences without ours",
            with("aud", json!(["shop", "chat"])),
            audience.clone(),
        ),
        (
            "audience not a text",
            with("aud", json!({"notify": true})),
            audience.clone(),
        ),
        ("missing audience", with("aud", Value::Null), audience),
        (
            "wrong issuer",
            with("iss", json!("https://evil.example")),
            issuer.clone(),
        ),
        ("missing issuer", with("iss", Value::Null), issuer),
        ("missing exp", with("exp", Value::Null), Refusal::NoExpiry),
        ("no subject", with("sub", Value::Null), BadUser::Empty.into()),
        ("empty subject", with("sub", json!("")), BadUser::Empty.into()),
        (
            "subject of 65",
            with("sub", json!("ü".repeat(65))),
            BadUser::TooLong.into(),
        ),
        (
            "subject with newline",
            with("sub", json!("a\nb")),
            BadUser::Control.into(),
        ),
        (
            "subject a number",
            with("sub", json!(42)),
            Refusal::Malformed("its `sub` is not a text"),
        ),
        (
            "unknown kid",
            hs(SECRET, Some("gone"), &good),
            Refusal::UnknownKey { kid: "gone".into() },
        ),
        (
            "kid of another algorithm",
            hs(SECRET, Some("rs"), &good),
            Refusal::UnknownKey { kid: "rs".into() },
        ),
        ("garbage", "no token at all".into(), of_three.clone()),
        ("one dot", "a.b".into(), of_three.clone()),
        ("three dots", "a.b.c.d".into(), of_three),
        ("only two dots", "..".into(), header_not_json.clone()),
        (
            "header no base64",
            "=.a.b".into(),
            Refusal::Malformed("its header is not base64url"),
        ),
        ("header no object", raw("7", "{}"), header_not_json),
        (
            "critical extension",
            raw(r#"{"alg":"HS256","crit":["b64"]}"#, "{}"),
            Refusal::Malformed("its header asks for extensions (`crit`)"),
        ),
        (
            "claims no object",
            hs(SECRET, None, &json!(7)),
            Refusal::Malformed("its claims are not a JSON object"),
        ),
        (
            "jti a number",
            with("jti", json!(7)),
            Refusal::Malformed("its `jti` is not a text of at most 128 bytes"),
        ),
        (
            "huge",
            "a".repeat(1 << 25),
            Refusal::Malformed("it is longer than 8 KiB"),
        ),
        (
            "huge but signed",
            with("x", json!("x".repeat(8192))),
            Refusal::Malformed("it is longer than 8 KiB"),
        ),
    ];
    for (what, token, refusal) in table {
        assert_eq!(ask(&auth, &token), Err(refusal), "{what}");
    }
    assert!(
        ask(&auth, &with("aud", json!(["chat", "notify"]))).is_ok(),
        "one of several audiences is ours"
    );
    assert!(
        ask(&auth, &with("sub", json!("ü".repeat(64)))).is_ok(),
        "64 characters, not bytes"
    );
}

#[test]
fn a_public_key_never_verifies_as_a_secret() {
    let dir = Dir::new();
    let rsa = &keys().rsa;
    let auth = jwt(json!({"keys": [{"file": dir.write("rsa.pem", &rsa.public), "algorithm": "RS256"}]}));
    let forged = hs(&rsa.public, None, &json!({"sub": "admin", "exp": NOW_S + 60}));
    assert_eq!(
        ask(&auth, &forged),
        Err(Refusal::AlgorithmNotAllowed { alg: "HS256".into() })
    );
}

#[test]
fn absurd_times_are_refused_and_never_panic() {
    let dir = Dir::new();
    let auth = jwt(json!({"keys": [{"secret_file": dir.write("secret", SECRET)}], "leeway_seconds": 60}));
    let raw = |claims: String| {
        let message = format!("{}.{}", b64(r#"{"alg":"HS256"}"#), b64(&claims));
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    };
    for claim in ["exp", "nbf", "iat"] {
        for value in [
            "-1",
            "-1.5",
            "1e300",
            "1e400",
            "99999999999999999999999",
            "9223372036854775807",
            "-9223372036854775808",
            "18446744073709551615",
            "\"1900000000\"",
            "true",
            "[]",
            "{}",
            "1800000060000",
        ] {
            let rest = if claim == "exp" {
                String::new()
            } else {
                format!(r#","exp":{}"#, NOW_S + 60)
            };
            let got = ask(&auth, &raw(format!(r#"{{"sub":"alice","{claim}":{value}{rest}}}"#)));
            assert!(matches!(got, Err(Refusal::Malformed(_))), "{claim} {value}: {got:?}");
        }
    }
    for now in [i64::MIN, -1, 0, i64::MAX] {
        let got = ready(auth.authenticate(
            &raw(r#"{"sub":"a","exp":1900000000,"nbf":1700000000}"#.into()),
            &Facts::default(),
            now,
        ));
        got.unwrap_err().to_string();
    }
    let twice = raw(r#"{"sub":"alice","exp":1,"exp":1900000000}"#.into());
    assert_eq!(
        ask(&auth, &twice),
        Err(Refusal::Malformed("its claims are not a JSON object"))
    );
    let fraction = ask(&auth, &raw(r#"{"sub":"alice","exp":1800000060.5}"#.into())).unwrap();
    assert_eq!(fraction.expires, Some(NOW + 60_500 + 60_000));
}

#[test]
fn leeway_bears_a_clock_that_differs_and_moves_the_end_along() {
    let dir = Dir::new();
    let auth = jwt(json!({"keys": [{"secret_file": dir.write("secret", SECRET)}], "leeway_seconds": 10}));
    let token = |exp: i64, nbf: i64| {
        hs(
            SECRET,
            None,
            &json!({"sub": "alice", "exp": NOW_S + exp, "nbf": NOW_S + nbf}),
        )
    };
    assert_eq!(ask(&auth, &token(-9, 0)).unwrap().expires, Some(NOW + 1_000));
    assert_eq!(ask(&auth, &token(-10, 0)), Err(Refusal::Expired { at: NOW, now: NOW }));
    assert!(ask(&auth, &token(60, 10)).is_ok());
    assert_eq!(
        ask(&auth, &token(60, 11)),
        Err(Refusal::NotYetValid {
            from: NOW + 1_000,
            now: NOW
        })
    );
}

#[test]
fn a_token_that_never_ends_is_taken_only_where_configured() {
    let dir = Dir::new();
    let key = json!([{"secret_file": dir.write("secret", SECRET)}]);
    let token = hs(SECRET, None, &json!({"sub": "alice"}));
    assert_eq!(ask(&jwt(json!({"keys": key})), &token), Err(Refusal::NoExpiry));
    assert_eq!(
        ask(&jwt(json!({"keys": key, "require_exp": false})), &token)
            .unwrap()
            .expires,
        None
    );
}

#[test]
fn a_refusal_says_what_to_do_and_keeps_the_senders_text_short_and_harmless() {
    let expired = Refusal::Expired {
        at: NOW - 34_001,
        now: NOW,
    };
    assert_eq!(expired.to_string(), "the token expired 35 s ago: get a fresh one");
    assert_eq!(expired.code(), "token-expired");
    assert!(!expired.is_retryable() && Refusal::Unavailable.is_retryable());

    let dir = Dir::new();
    let auth = jwt(json!({"keys": [{"secret_file": dir.write("secret", SECRET), "kid": "hs"}]}));
    let claims = json!({"sub": "alice", "exp": NOW_S + 60});
    let long = format!("a\n\0{}", "k".repeat(500));
    let Err(Refusal::UnknownKey { kid }) = ask(&auth, &hs(SECRET, Some(&long), &claims)) else {
        panic!()
    };
    assert_eq!(kid, format!("a??{}", "k".repeat(61)));
}
