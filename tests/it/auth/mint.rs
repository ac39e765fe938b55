//! Tokens of `quick-notify token`.

use super::*;

#[test]
fn a_minted_token_is_taken_by_the_same_configuration() {
    let dir = Dir::new();
    let keys = keys();
    let patterns = |texts: &[&str]| Some(texts.iter().map(|text| Pattern::parse(text).unwrap()).collect());
    let asked = Grant {
        read: patterns(&["/topic/a"]),
        write: patterns(&[]),
        ..grant("alice", 3600)
    };
    let secret = json!({"keys": [{"secret_file": dir.write("secret", SECRET), "kid": "hs"}]});
    let mut tables = vec![secret];
    for key in [&keys.rsa, &keys.ec, &keys.ed] {
        // Among other keys, the one that the private key belongs to is found.
        let set = jwks(&[
            keys.other_rsa.jwk("o"),
            keys.rsa.jwk("r"),
            keys.ec.jwk("e"),
            keys.ed.jwk("d"),
        ]);
        let name = format!("{:?}", key.algorithm);
        tables.push(json!({
            "keys": [{"jwks": dir.write(&format!("{name}.json"), &set)}],
            "signing_key_file": dir.write(&format!("{name}.pem"), &key.private),
        }));
    }
    for mut table in tables {
        table["issuers"] = json!(["us"]);
        table["audiences"] = json!(["notify", "other"]);
        let config = config(json!({"jwt": table}));
        assert_eq!(config.problems(), []);
        let [one, two] = [0, 1].map(|_| mint(&config, dir.path(), &asked, NOW).unwrap());
        let auth = build(&config, dir.path()).unwrap();
        let kid = jsonwebtoken::decode_header(&one).unwrap().kid;
        assert!(kid.is_some(), "a server with many keys need not try them all");
        let identity = ask(&auth, &one).unwrap();
        assert_eq!((&*identity.user, identity.expires), ("alice", Some(NOW + 3_600_000)));
        assert_eq!(identity.topics, topics(&["/topic/a"], &[]));
        assert_ne!(
            identity.token_id,
            ask(&auth, &two).unwrap().token_id,
            "each token can be revoked by itself"
        );
    }
}

#[test]
fn minting_says_why_it_can_not() {
    let dir = Dir::new();
    let keys = keys();
    let public = json!([{"file": dir.write("rsa.pem", &keys.rsa.public), "algorithm": "RS256"}]);
    let why = |jwt: Value, grant: Grant| {
        mint(&config(json!({"jwt": jwt})), dir.path(), &grant, NOW)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        why(json!({"keys": public}), grant("alice", 60)),
        "auth.jwt.signing_key_file: only public keys are known, and they can't sign: name the private key here, or use your identity provider's tokens"
    );
    let foreign = dir.write("foreign.pem", &keys.other_rsa.private);
    assert_eq!(
        why(json!({"keys": public, "signing_key_file": foreign}), grant("alice", 60)),
        format!(
            "auth.jwt.signing_key_file: {}: not a private key in PEM (PKCS#8) that belongs to one of auth.jwt.keys",
            foreign.display()
        )
    );
    let secret = json!({"keys": [{"secret_file": dir.write("secret", SECRET)}]});
    for (grant, reason) in [
        (grant("", 60), "the subject can't be a user id: it is absent or empty"),
        (
            grant("alice", 0),
            "a token lives for a second at least, and ends before the year 10000",
        ),
        (
            grant("alice", u64::MAX),
            "a token lives for a second at least, and ends before the year 10000",
        ),
    ] {
        assert_eq!(why(secret.clone(), grant), reason);
    }
}
