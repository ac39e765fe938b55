//! Tokens that are taken, and how a key is found for them.

use quick_notify::domain::identity::parse_user;

use super::*;

#[test]
fn a_good_token_of_every_algorithm_is_taken_by_a_pem_or_a_jwks() {
    let dir = Dir::new();
    let keys = keys();
    let expected = Identity {
        user: "alice".into(),
        expires: Some(NOW + 60_000),
        token_id: Some("t-1".into()),
        issued: Some(NOW - 5_000),
        topics: topics(&["/topic/**"], &[]),
        max_sessions: None,
    };
    let claims = json!({"sub": "alice", "exp": NOW_S + 60, "iat": NOW_S - 5, "jti": "t-1"});
    for key in [&keys.rsa, &keys.ec, &keys.ed] {
        let name = format!("{:?}", key.algorithm);
        let pem = dir.write("public.pem", &key.public);
        let jwks = dir.write("keys.json", &jwks(&[key.jwk("k1")]));
        for table in [json!({"algorithm": name, "file": pem}), json!({"jwks": jwks})] {
            let auth = jwt(json!({"keys": [table]}));
            for kid in [None, Some("k1")] {
                assert_eq!(
                    ask(&auth, &key.sign(kid, &claims)),
                    Ok(expected.clone()),
                    "{name} {kid:?}"
                );
            }
        }
    }
    let auth = jwt(json!({"keys": [{"secret_file": dir.write("secret", &format!("{SECRET}\n"))}]}));
    assert_eq!(ask(&auth, &hs(SECRET, None, &claims)), Ok(expected));
}

#[test]
fn a_secret_may_stand_in_the_environment() {
    // Setting a variable is unsafe in a threaded process, so one that is there serves: any long enough.
    let (name, secret) = std::env::vars()
        .find(|(_, value)| value.len() >= 32)
        .expect("some long variable");
    let auth = jwt(json!({"keys": [{"secret_env": name}]}));
    let user = ask(&auth, &hs(&secret, None, &json!({"sub": "alice", "exp": NOW_S + 1})))
        .unwrap()
        .user;
    assert_eq!(&*user, "alice");
}

#[test]
fn a_key_id_chooses_among_several_keys_and_a_key_without_one_is_tried() {
    let dir = Dir::new();
    let (first, second) = (dir.write("1", SECRET), dir.write("2", OTHER_SECRET));
    let claims = json!({"sub": "alice", "exp": NOW_S + 60});
    let both = jwt(json!({"keys": [{"secret_file": first, "kid": "one"}, {"secret_file": second, "kid": "two"}]}));
    assert!(ask(&both, &hs(OTHER_SECRET, Some("two"), &claims)).is_ok());
    assert!(ask(&both, &hs(OTHER_SECRET, None, &claims)).is_ok());
    assert_eq!(
        ask(&both, &hs(OTHER_SECRET, Some("one"), &claims)),
        Err(Refusal::BadSignature)
    );

    let unnamed = jwt(json!({"keys": [{"secret_file": first, "kid": "one"}, {"secret_file": second}]}));
    assert!(ask(&unnamed, &hs(OTHER_SECRET, Some("three"), &claims)).is_ok());
}

#[test]
fn a_user_id_has_1_to_64_characters_and_no_control_ones() {
    assert_eq!(&*parse_user("alice@example.org").unwrap(), "alice@example.org");
    assert_eq!(parse_user(""), Err(BadUser::Empty));
    assert_eq!(parse_user(&"a".repeat(65)), Err(BadUser::TooLong));
    assert_eq!(parse_user("a\u{7f}"), Err(BadUser::Control));
}

#[test]
fn bearer_is_stripped_in_any_case() {
    for value in [
        "abc",
        " abc ",
        "Bearer abc",
        "bearer abc",
        "BEARER   abc ",
        "  Bearer\tabc",
    ] {
        assert_eq!(auth::bearer(value), "abc", "{value:?}");
    }
    for (value, token) in [
        ("", ""),
        ("Bearer", ""),
        ("Bearer ", ""),
        ("Bearerabc", "Bearerabc"),
        ("Basic abc", "Basic abc"),
    ] {
        assert_eq!(auth::bearer(value), token, "{value:?}");
    }
}
