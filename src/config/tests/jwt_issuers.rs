//! `issuers` of a `jwt-auth` step.

use super::jwt::step;
use super::*;

fn with(issuers: &str) -> String {
    step(&format!("audience = \"a\"\nissuers = [{issuers}]"))
}

#[test]
fn each_issuer_has_its_own_keys() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k.pem"), "x").unwrap();
    let text = with(
        r#"
  { issuer = "https://a.example", jwks_url = "https://a.example/jwks" },
  { issuer = ["b", "b-old"], public_key_path = "k.pem" },
  { issuer = "c", jwks_path = "k.pem" },
  { issuer = "d", jwks_uri = "http://127.0.0.1:1/" },
"#,
    )
    .replace("issuers =", "jwks_cache_secs = 60\nissuers =");
    let config = parse(&dir.path().join("h.toml"), &text, &env(&[])).unwrap();
    let url = |url: &str| {
        KeySource::JwksUrl(JwksUrl {
            url: url.into(),
            fresh: Duration::from_secs(60),
            max_stale: Duration::from_secs(86_400),
            cooldown: Duration::from_secs(30),
            reach: None,
        })
    };
    let file = dir.path().join("k.pem");
    let want = [
        (vec!["https://a.example"], url("https://a.example/jwks")),
        (vec!["b", "b-old"], KeySource::PublicKey(file.clone())),
        (vec!["c"], KeySource::JwksPath(file)),
        (vec!["d"], url("http://127.0.0.1:1/")),
    ];
    let issuers = &jwt_settings(&config).issuers;
    assert_eq!(issuers.len(), want.len());
    for (issuer, (names, keys)) in issuers.iter().zip(want) {
        assert_eq!(issuer.keys, keys);
        assert_eq!(issuer.names, names);
    }
    assert!(config.notes.is_empty(), "{:?}", config.notes);
}

#[test]
fn shared_keys_are_warned_of() {
    let config = ok(&with(
        r#"{ issuer = "a", jwks_url = "https://h/" }, { issuer = "b", jwks_url = "https://h/" }"#,
    ));
    assert!(warnings(&config)[0].contains("issuers[1]: has the keys of another issuer"));
}

#[test]
fn what_is_refused() {
    let good = r#"{ issuer = "a", jwks_url = "https://h/" }"#;
    for (text, want) in [
        (with(""), "issuers: is empty"),
        (
            with("").replace("[]", "{}"),
            "issuers: expected an array, found a table",
        ),
        (with("\"a\""), "issuers: expected a table, found a string"),
        (with("{ issuer = \"a\" }"), "issuers[0]: has no key source"),
        (
            with("{ jwks_url = \"https://h/\" }"),
            "issuers[0].issuer: is missing; name the `iss` of its tokens",
        ),
        (
            with(&format!(
                "{good}, {{ issuer = \"a\", jwks_url = \"https://i/\" }}"
            )),
            "issuers[1].issuer: issuer \"a\" is named twice",
        ),
        (
            with("{ issuer = [\"a\", \"a\"], jwks_url = \"https://h/\" }"),
            "issuers[0].issuer: issuer \"a\" is named twice",
        ),
        (
            with("{ issuer = \"\", jwks_url = \"https://h/\" }"),
            "an empty string means nothing here",
        ),
        (
            with("{ issuer = \"a\", jwks_url = \"https://h/\", jwks_path = \"k\" }"),
            "jwks_path: is a second key source beside `jwks_url`",
        ),
        (
            with("{ issuer = \"a\", jwks_url = \"http://example.com/\" }"),
            "jwks_url: must be https",
        ),
        (
            with("{ issuer = \"a\", secret = \"${LONG}\" }"),
            "issuers[0].secret: is a shared secret, and `issuers` have public keys only",
        ),
        (
            with("{ issuer = \"a\", jwks_url = \"https://h/\", audience = \"b\" }"),
            "issuers[0].audience: unknown key",
        ),
        (
            with(good).replace("issuers", "algorithm = \"HS256\"\nissuers"),
            "issuers: HS256 takes a shared secret",
        ),
        (
            with(&vec!["{ issuer = \"a\", jwks_url = \"https://h/\" }"; 65].join(",")),
            "issuers: has more than 64 entries",
        ),
    ] {
        let lines = errors(&text);
        assert!(
            lines.iter().any(|line| line.contains(want)),
            "{want}\n{lines:#?}"
        );
        assert!(lines.len() == 1 || lines.len() > 60, "{want}\n{lines:#?}");
    }
    for plain in [
        "issuer = \"b\"",
        "trusted_issuers = [\"b\"]",
        "jwks_url = \"https://i/\"",
        "jwks_uri = \"https://i/\"",
        "jwks_path = \"k\"",
        "public_key_path = \"k\"",
        "secret = \"${LONG}\"",
    ] {
        one_error(
            &with(good).replace("issuers", &format!("{plain}\nissuers")),
            "stands beside `issuers`",
        );
    }
}
