//! `api-key`: every form, every place, and what is refused without being shown.

use super::credentials::{DIGEST, key_settings, key_text, one_error_without_secrets};
use super::*;

#[test]
fn a_key() {
    let config = ok(&key_text("config = { keys = [\"DIGEST\"] }"));
    let step = auth_step(&config);
    assert!(!step.optional && !step.forward_credential);
    let mut digest = [0; 32];
    for (byte, index) in digest.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&DIGEST[index..index + 2], 16).unwrap();
    }
    let entry = ApiKeyEntry {
        id: "ba7816bf".to_owned(),
        digest: KeyDigest::Sha256(digest),
        expires_at: None,
        scopes: vec![],
    };
    let want = ApiKey {
        location: CredentialLocation::Header("x-api-key".parse().unwrap()),
        keys: vec![entry.clone()],
        pepper: None,
        required_scopes: vec![],
        max_failures: 100,
    };
    assert_eq!(step.settings, want.clone().into());
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    for settings in [
        "keys = [\"sha256:DIGEST\"]",
        "keys = \"DIGEST\"",
        "header = \"X-Api-Key\"\nkeys = [{ hash = \"DIGEST\" }]",
        "authentication = \"authentications.x\"\n[authentications.x]\nmethod = \"api_key\"\n\
         options = { keys = [\"DIGEST\"] }",
    ] {
        assert_eq!(*key_settings(&ok(&key_text(settings))), want, "{settings}");
    }
    let upper = key_text("keys = [\"DIGEST\"]").replace(DIGEST, &DIGEST.to_uppercase());
    assert_eq!(*key_settings(&ok(&upper)), want);

    let config = ok(&key_text(
        r#"
header = "X-Key"
pepper = "hunter2"
required_scopes = ["read"]
keys = [
  { id = "a b", hash = "sha256:DIGEST", expires_at = "2100-01-01T00:00:00Z", scopes = ["read", "write"] },
  { id = "c", hash = "hmac-sha256:DIGEST", expires_at = 2100-01-01T01:00:00+01:00, description = "d" },
  { hash = "0000000000000000000000000000000000000000000000000000000000000000", expires_at = 4102444800 },
]"#,
    ));
    let settings = &key_settings(&config);
    assert_eq!(settings.keys[0].scopes, ["read", "write"]);
    assert_eq!(settings.keys[1].digest, KeyDigest::HmacSha256(digest));
    let ends: Vec<_> = settings.keys.iter().map(|key| key.expires_at).collect();
    assert_eq!(ends, [Some(4_102_444_800); 3]);
    let ids: Vec<_> = settings.keys.iter().map(|key| key.id.as_str()).collect();
    assert_eq!(ids, ["a b", "c", "00000000"]);
    assert!(warnings(&config).is_empty(), "{:?}", config.notes);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("186, 120"),
        "{shown}"
    );
}

#[test]
fn places_of_a_key() {
    let place = |settings: &str| {
        let config = ok(&key_text(&format!("{settings}\nkeys = [\"DIGEST\"]")));
        (key_settings(&config).location.clone(), config.notes.len())
    };
    let header = CredentialLocation::Header("x-other".parse().unwrap());
    assert_eq!(place("header = \"X-Other\""), (header, 0));
    assert_eq!(
        place("query = \"k\""),
        (CredentialLocation::Query("k".into()), 1)
    );
    assert_eq!(
        place("cookie = \"k\""),
        (CredentialLocation::Cookie("k".into()), 0)
    );
    for (settings, want) in [
        (
            "header = \"a\"\nquery = \"b\"",
            "middleware.m.query: is a second place for the key beside `header`",
        ),
        ("cookie = \"a\"\nquery = \"b\"", "is a second place"),
        ("header = \"a b\"", "is not a header name"),
        (
            "header = \"Authorization\"",
            "header \"Authorization\" cannot carry a credential of its own",
        ),
        ("header = \"X-Auth-Key\"", "no client may set X-Auth-*"),
        ("header = \"x_auth.key\"", "cannot carry a credential"),
        ("header = \"Cookie\"", "cannot carry a credential"),
        ("query = \"\"", "is not the name of a parameter"),
        ("query = \"a b\"", "is not the name of a parameter"),
        ("cookie = \"a=b\"", "is not the name of a cookie"),
    ] {
        one_error_without_secrets(&key_text(&format!("{settings}\nkeys = [\"DIGEST\"]")), want);
    }
}

#[test]
fn key_refusals() {
    let form = "is not a digest: 64 hexadecimal digits, with or without sha256:, or hmac-sha256: \
                and 64 of them; make it with `harmony-edge hash-key`";
    for (settings, want) in [
        (
            "",
            "middleware.m.keys: is missing; add keys = [\"sha256:...\"]; `harmony-edge hash-key` \
             makes them",
        ),
        ("keys = []", "middleware.m.keys: is empty"),
        ("keys = [\"key1_hashed_value\"]", &*format!("key 1 {form}")),
        (
            "keys = [\"DIGEST\", \"hunter2\"]",
            &*format!("key 2 {form}"),
        ),
        ("keys = [\"sha512:DIGEST\"]", form),
        ("keys = [\"SHA256:DIGEST\"]", form),
        ("keys = [\"DIGEST0\"]", form),
        ("keys = [\"${SHORT}\"]", form),
        (
            "keys = [{ hash = \"hunter2\" }]",
            "middleware.m.keys[0].hash: is not a digest",
        ),
        (
            "keys = [{ id = \"a\" }]",
            "middleware.m.keys[0].hash: is missing; make it with `harmony-edge hash-key`",
        ),
        (
            "keys = [{ hash = \"DIGEST\", id = \"Zoë\" }]",
            "keys[0].id: must be visible ASCII",
        ),
        (
            "keys = [{ hash = \"DIGEST\", scope = [] }]",
            "unknown key \"scope\"; did you mean \"scopes\"?",
        ),
        (
            "keys = [{ hash = \"DIGEST\", expires_at = \"soon\" }]",
            "keys[0].expires_at: is not a moment",
        ),
        (
            "keys = [{ hash = \"DIGEST\", expires_at = 2030-01-01 }]",
            "is not a moment",
        ),
        (
            "keys = [{ hash = \"DIGEST\", expires_at = \"2030-01-01T00:00:00\" }]",
            "is not a moment",
        ),
        (
            "keys = [{ hash = \"DIGEST\", expires_at = true }]",
            "expected an integer",
        ),
        (
            "keys = [\"DIGEST\", { id = \"a\", hash = \"sha256:DIGEST\" }]",
            "key 2 is there twice",
        ),
        (
            "keys = [\"hmac-sha256:DIGEST\"]",
            "middleware.m.pepper: is missing; an hmac-sha256 key needs the secret",
        ),
        (
            "keys = [\"hmac-sha256:DIGEST\"]\npepper = \"${EMPTY}\"",
            "middleware.m.pepper: is empty after filling in",
        ),
        (
            "keys = [\"DIGEST\"]\nheaders = \"x\"",
            "unknown key \"headers\"; did you mean \"header\"?",
        ),
    ] {
        one_error_without_secrets(&key_text(settings), want);
    }
}
