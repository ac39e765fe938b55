//! What is wrong with a configuration is told all at once, with its path.

use super::*;

#[test]
fn every_mistake_is_told_at_once_with_its_path() {
    let dir = Dir::new();
    let keys = keys();
    let file = |name: &str, text: &str| dir.write(name, text);
    let table = config(json!({"jwt": {
        "keys": [
            {"file": "/not/there.pem", "algorithm": "RS256"},
            {"file": file("a", &keys.rsa.public), "algorithm": "ES256"},
            {"file": file("b", &keys.rsa.public)},
            {"file": file("c", &keys.rsa.private), "algorithm": "RS256"},
            {"file": file("d", &keys.weak_rsa.public), "algorithm": "RS256"},
            {"file": file("e", &keys.certificate), "algorithm": "RS256"},
            {"file": file("f", &keys.ec.public), "algorithm": "EdDSA"},
            {"file": file("g", SECRET), "algorithm": "HS256"},
            {"secret_file": file("h", "short")},
            {"secret_file": file("i", SECRET), "algorithm": "RS256"},
            {"secret_env": "QN_NO_SUCH_VARIABLE"},
            {},
            {"secret_env": "A", "file": "b"},
            {"jwks": file("j", "{}")},
            {"jwks": file("k", r#"{"keys":[]}"#)},
            {"jwks": file("l", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#)},
            {"jwks": file("m", r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"c2hvcnQ"}]}"#)},
            {"jwks": file("n", &jwks(&[keys.ec.jwk("e")])), "algorithm": "RS256"},
            {"jwks": file("o", &jwks(&[keys.ec.jwk("e")])), "kid": "e"},
            {"file": "/dev/zero", "algorithm": "RS256"},
        ],
        "issuers": [""],
        "leeway_seconds": 61,
        "default_read": ["/topic/a", "/queue/**"],
        "default_write": ["/topic/**/b"],
    }}));
    let problems = table.problems();
    let expected = [
        ("jwt.keys[0].file", "No such file"),
        ("jwt.keys[1].file", "not a public key in PEM of this algorithm"),
        ("jwt.keys[2].algorithm", "needs its algorithm"),
        ("jwt.keys[3].file", "a private key"),
        ("jwt.keys[4].file", "an RSA key of 1024 bits"),
        ("jwt.keys[5].file", "a certificate"),
        ("jwt.keys[6].file", "not a public key in PEM of this algorithm"),
        ("jwt.keys[7].algorithm", "HS256 has no public key"),
        ("jwt.keys[8].secret_file", "a secret of 5 bytes"),
        ("jwt.keys[9].algorithm", "for HS256 only"),
        (
            "jwt.keys[10].secret_env",
            "QN_NO_SUCH_VARIABLE: environment variable not found",
        ),
        ("jwt.keys[11]", "exactly one of"),
        ("jwt.keys[12]", "exactly one of"),
        ("jwt.keys[13].jwks", "not a JSON Web Key Set"),
        ("jwt.keys[14].jwks", "no RS256, ES256 or EdDSA key"),
        ("jwt.keys[15].jwks", "keys[0]: a shared secret among public keys"),
        ("jwt.keys[16].jwks", "keys[0]: not an Ed25519 public key"),
        ("jwt.keys[17].jwks", "no RS256, ES256 or EdDSA key"),
        ("jwt.keys[18].kid", "bring their own"),
        ("jwt.keys[19].file", "larger than 1 MiB"),
        ("jwt.leeway_seconds", "at most 60"),
        ("jwt.issuers[0]", "empty"),
        ("jwt.default_read[1]", "begins with `/topic/`"),
        ("jwt.default_write[0]", "`**` only as the last"),
    ];
    for (i, (path, reason)) in expected.into_iter().enumerate() {
        let (got, why) = &problems[i];
        assert!(got == path && why.contains(reason), "{path} {reason}: got {got} {why}");
    }
    assert_eq!(problems.len(), expected.len());
    let first = build(&table, dir.path()).err().unwrap().to_string();
    assert!(
        first.starts_with("auth.jwt.keys[0].file: /not/there.pem: No such file"),
        "{first}"
    );
    assert!(
        config(json!({})).problems()[0].1.starts_with("no key"),
        "without a key nobody gets in"
    );
}

#[test]
fn a_jwks_gives_the_keys_that_can_be_used_and_leaves_out_the_others() {
    let dir = Dir::new();
    let keys = keys();
    let changed = |jwk: Value, name: &str, value: &str| {
        let mut jwk = jwk;
        jwk[name] = json!(value);
        jwk
    };
    let set = jwks(&[
        changed(keys.rsa.jwk("for-encryption"), "use", "enc"),
        changed(keys.rsa.jwk("rs512"), "alg", "RS512"),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "odd"}),
        json!({"kty": "new-kind"}),
        changed(keys.ec.jwk("good"), "use", "sig"),
    ]);
    let auth = jwt(json!({"keys": [{"jwks": dir.write("keys.json", &set)}]}));
    let claims = json!({"sub": "alice", "exp": NOW_S + 60});
    assert!(ask(&auth, &keys.ec.sign(Some("good"), &claims)).is_ok());
    let refused = ask(&auth, &keys.rsa.sign(Some("rs512"), &claims));
    assert_eq!(refused, Err(Refusal::AlgorithmNotAllowed { alg: "RS256".into() }));
}

#[test]
fn an_unknown_name_in_the_configuration_is_refused() {
    for table in [
        json!({"jwtt": {}}),
        json!({"jwt": {"key": []}}),
        json!({"jwt": {"keys": [{"secret": "inline"}]}}),
        json!({"dev": {"x": 1}}),
        json!({"adapter": "none"}),
        json!({"jwt": {"keys": [{"algorithm": "none"}]}}),
    ] {
        assert!(serde_json::from_value::<Config>(table.clone()).is_err(), "{table}");
    }
}
