//! `jwt-auth`: every spelling, every default.

use super::*;

/// A pipeline with one `jwt-auth` step of these settings, written directly in its table.
pub(super) fn step(settings: &str) -> String {
    format!("{BASE}{PIPELINE}[middleware.jwt]\ntype = \"jwt-auth\"\n{settings}\n")
        .replace("middleware = []", "middleware = [\"jwt\"]")
}

pub(super) const GOOD: &str =
    "jwks_url = \"https://a.example/jwks\"\nissuer = \"i\"\naudience = \"a\"\n";

#[test]
fn defaults() {
    let config = ok(&step(GOOD));
    let step = auth_step(&config);
    assert!(!step.optional && !step.fallback_on_failed && step.forward_credential);
    assert_eq!(step.realm, "harmony");
    let url = JwksUrl {
        url: "https://a.example/jwks".into(),
        fresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(30),
        reach: None,
    };
    let want = Jwt {
        algorithm: JwtAlgorithm::Rs256,
        issuers: vec![JwtIssuer {
            names: vec!["i".into()],
            keys: KeySource::JwksUrl(url),
        }],
        rules: ClaimRules {
            audiences: vec!["a".into()],
            leeway: Duration::from_secs(60),
            required_claims: vec![],
            required_scopes: vec![],
            claims_to_headers: vec![],
            keeps_claims: false,
        },
        introspection: None,
        accepted_types: vec!["jwt".into(), "at+jwt".into()],
        access_token_profile: false,
        dpop: None,
        location: CredentialLocation::Authorization,
    };
    assert_eq!(step.settings, want.into());
    assert!(config.notes.is_empty());
}

#[test]
fn every_spelling_means_the_same() {
    let want = jwt_settings(&ok(&step(GOOD))).clone();
    let flat = "jwks_url = \"https://a.example/jwks\", issuer = \"i\", audience = \"a\"";
    for text in [
        step(&format!("config = {{ {flat} }}")),
        step(&format!("options = {{ {flat} }}")),
        step(&format!("config = {{\n  # TOML 1.1\n  {flat},\n}}")),
        step(
            "config = { jwks_uri = \"https://a.example/jwks\" }\noptions = { issuer = [\"i\"] }\n\
             audience = [\"a\"]",
        ),
        step(
            "jwks_uri = \"https://a.example/jwks\"\ntrusted_issuers = [\"i\"]\naudience = \"a\"\n\
             algorithms = [\"RS256\"]\nleeway_seconds = 60",
        ),
        step(GOOD).replace("jwt-auth", "jwt_auth"),
        step(GOOD).replace("jwt-auth", "jwtauth"),
        step(GOOD)
            .replace(
                "type = \"jwt-auth\"",
                "authentication = \"authentications.x\"",
            )
            .replace(GOOD, "[authentications.x]\nmethod = \"jwt\"\n")
            + &format!("options = {{ {flat} }}"),
        format!(
            "{BASE}{}[[middleware]]\ntype = \"jwt-auth\"\nconfig = {{ {flat} }}\n",
            silent_pipeline()
        ),
    ] {
        assert_eq!(*jwt_settings(&ok(&text)), want, "{text}");
    }
}

#[test]
fn what_is_written_counts() {
    let config = ok(&step(
        r#"
optional = true
forward_credential = false
realm = "my api"
config = {
  jwks_url = "http://127.0.0.1:9100/jwks",
  issuer = ["i", "j"],
  leeway_secs = 0,
  required_scopes = ["read"],
  required_claims = { role = ["admin", 7], tenant = "acme", mfa = true },
  claims_to_headers = { email = "X-User-Email" },
  typ = "AT+JWT",
  jwks_cache_secs = 60,
  jwks_max_stale_secs = 0,
  jwks_cooldown_secs = 1,
}"#,
    ));
    let step = auth_step(&config);
    assert!(step.optional && !step.forward_credential);
    assert_eq!(step.realm, "my api");
    let jwt = jwt_settings(&config);
    assert_eq!(jwt.issuers[0].names, ["i", "j"]);
    assert_eq!(
        (jwt.rules.leeway, jwt.rules.required_scopes.clone()),
        (Duration::ZERO, vec!["read".to_owned()])
    );
    let claims: Vec<_> = jwt
        .rules
        .required_claims
        .iter()
        .map(|claim| {
            (
                claim.name.as_str(),
                serde_json::to_string(&claim.values).unwrap(),
            )
        })
        .collect();
    assert_eq!(
        claims,
        [
            ("role", "[\"admin\",7]".to_owned()),
            ("tenant", "[\"acme\"]".to_owned()),
            ("mfa", "[true]".to_owned())
        ]
    );
    assert_eq!(
        jwt.rules.claims_to_headers,
        [("email".to_owned(), "x-user-email".parse().unwrap())]
    );
    assert_eq!(jwt.accepted_types, ["at+jwt"]);
    let KeySource::JwksUrl(url) = &jwt.issuers[0].keys else {
        panic!()
    };
    assert_eq!(
        (
            url.fresh.as_secs(),
            url.max_stale.as_secs(),
            url.cooldown.as_secs()
        ),
        (60, 0, 1)
    );
    assert_eq!(
        warnings(&config),
        [
            "conf/h.toml:22: middleware.jwt: no audience: a token that was made for another \
             service is taken too",
            "conf/h.toml:16: pipelines.p.middleware: every authentication step is optional: a \
             request without any credential passes",
        ]
    );
}

#[test]
fn secrets_and_files() {
    let hs256 = |keys: &str| {
        jwt_settings(&ok(&step(&format!(
            "issuer = \"i\"\naudience = \"a\"\n{keys}"
        ))))
        .clone()
    };
    for keys in [
        "algorithm = \"HS256\"\nsecret = \"${LONG}\"",
        "use_hs256 = true\nhs256_secret = \"${LONG}\"",
        "use_hs256 = true\nalgorithm = \"HS256\"\nsecret = \"${LONG}\"",
    ] {
        let jwt = hs256(keys);
        assert_eq!(jwt.algorithm, JwtAlgorithm::Hs256);
        assert_eq!(
            jwt.issuers[0].keys,
            KeySource::Secret(Secret::new("0123456789abcdef0123456789abcdef".into()))
        );
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k.pem"), "x").unwrap();
    let text = step("public_key_path = \"k.pem\"\nissuer = \"i\"\naudience = \"a\"");
    let config = parse(&dir.path().join("h.toml"), &text, &env(&[])).unwrap();
    assert_eq!(
        jwt_settings(&config).issuers[0].keys,
        KeySource::PublicKey(dir.path().join("k.pem"))
    );
    assert_eq!(
        config.files,
        [dir.path().join("h.toml"), dir.path().join("k.pem")]
    );
    let config = parse(
        &dir.path().join("h.toml"),
        &text.replace("public_key_path", "jwks_path"),
        &env(&[]),
    )
    .unwrap();
    assert_eq!(
        jwt_settings(&config).issuers[0].keys,
        KeySource::JwksPath(dir.path().join("k.pem"))
    );
}

#[test]
fn the_default_of_the_cache_time() {
    let config = ok(&step(GOOD).replace(
        "id = \"edge-1\"",
        "id = \"edge-1\"\njwks_cache_duration_hours = 24",
    ));
    let KeySource::JwksUrl(url) = &jwt_settings(&config).issuers[0].keys else {
        panic!()
    };
    assert_eq!(url.fresh, Duration::from_secs(24 * 3600));
}

#[test]
fn every_algorithm() {
    let long = "0123456789abcdef".repeat(4);
    for algorithm in JwtAlgorithm::ALL {
        let name = algorithm.name();
        let (source, wrong) = if algorithm.is_hmac() {
            (format!("secret = \"{long}\""), GOOD.to_owned())
        } else {
            (GOOD.to_owned(), format!("secret = \"{long}\""))
        };
        for key in ["algorithm = ", "algorithms = [\n"] {
            let end = if key.ends_with('\n') { "]" } else { "" };
            let text = step(&format!("{key}\"{name}\"{end}\n{source}"));
            assert_eq!(jwt_settings(&ok(&text)).algorithm, algorithm, "{text}");
        }
        assert_eq!(JwtAlgorithm::named(name), Some(algorithm));
        let lines = errors(&step(&format!("algorithm = \"{name}\"\n{wrong}")));
        assert_eq!(lines.len(), 1, "{lines:?}");
        if let Some(least) = algorithm.secret_bytes() {
            let short = &long[..least - 1];
            let text = step(&format!("algorithm = \"{name}\"\nsecret = \"{short}\""));
            let want = format!("secret: must be at least {least} bytes");
            assert!(errors(&text)[0].contains(&want), "{name}");
            let text = text.replace(short, &long[..least]);
            assert_eq!(jwt_settings(&ok(&text)).algorithm, algorithm);
        }
    }
    for (text, want) in [
        (
            "algorithms = [\"HS256\", \"ES256\"]",
            "mixes a shared secret",
        ),
        ("algorithms = [\"ES256\", \"EdDSA\"]", "names more than one"),
        ("algorithms = [\"RS256\", \"none\"]", "names more than one"),
        ("algorithm = \"EDDSA\"", "did you mean \"EdDSA\"?"),
        ("algorithm = \"ES256K\"", "did you mean \"ES256\"?"),
        ("algorithm = \"None\"", "\"none\" is refused"),
        (
            "algorithm = \"HS384\"\nuse_hs256 = true",
            "contradicts `algorithm`",
        ),
        (
            "algorithm = \"ES256\"\nuse_hs256 = true",
            "contradicts `algorithm`",
        ),
    ] {
        one_error(&step(&format!("{text}\n{GOOD}")), want);
    }
}
