//! API keys: every location, every answer.

use http::{HeaderMap, HeaderName};

use super::*;
use crate::auth::testing;
use crate::auth::{Chain, RequestSource, Shared, Trace};
use crate::config::{ApiKeyEntry, AuthStep, Secret, Step, StepKind};

const NOW: UnixTime = 1_800_000_000.0;

fn sha256(key: &str) -> KeyDigest {
    KeyDigest::Sha256(array(digest::digest(&digest::SHA256, key.as_bytes()).as_ref()).unwrap())
}

fn hmac_sha256(pepper: &str, key: &str) -> KeyDigest {
    let pepper = hmac::Key::new(hmac::HMAC_SHA256, pepper.as_bytes());
    KeyDigest::HmacSha256(array(hmac::sign(&pepper, key.as_bytes()).as_ref()).unwrap())
}

fn entry(id: &str, digest: KeyDigest) -> ApiKeyEntry {
    ApiKeyEntry {
        id: id.to_owned(),
        digest,
        expires_at: None,
        scopes: Vec::new(),
    }
}

fn settings(keys: Vec<ApiKeyEntry>) -> ApiKey {
    ApiKey {
        location: CredentialLocation::Header(HeaderName::from_static("x-api-key")),
        keys,
        pepper: None,
        required_scopes: Vec::new(),
        max_failures: 0,
    }
}

fn step(settings: ApiKey) -> Step {
    Step {
        name: "key".into(),
        kind: StepKind::Auth(AuthStep::new(settings)),
        enforce: true,
    }
}

fn chain(settings: ApiKey) -> Chain {
    Chain::build(&[step(settings)], &testing::shared()).unwrap()
}

/// The outcome in a word: the subject, or the status and the reason.
async fn word(chain: &Chain, fields: &[(&str, &str)], query: Option<&str>) -> String {
    let headers = testing::headers(fields);
    let request = AuthRequest {
        query,
        ..AuthRequest::of(&headers)
    };
    match chain.admit_at(&request, NOW, &mut Trace::off()).await {
        Ok(admission) => {
            let identity = admission.identity().unwrap();
            assert_eq!(identity.method().as_str(), "api-key");
            identity.subject().unwrap().to_str().unwrap().to_owned()
        }
        Err(denial) => {
            assert_eq!(denial.challenges(), [r#"ApiKey realm="harmony""#]);
            format!("{} {}", denial.status(), denial.reason().as_str())
        }
    }
}

#[tokio::test]
async fn in_a_header() {
    let mut late = entry("late", sha256("late"));
    late.expires_at = Some(NOW as i64);
    let mut soon = entry("soon", sha256("soon"));
    soon.expires_at = Some(NOW as i64 + 1);
    let chain = chain(settings(vec![
        entry("one", sha256("key one")),
        entry("two", sha256("key two")),
        late,
        soon,
    ]));
    let KeyDigest::Sha256(digest) = sha256("key one") else {
        panic!()
    };
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    for (fields, want) in [
        (&[("X-API-Key", "key one")][..], "one"),
        (&[("x-api-key", "key two")], "two"),
        (&[("x-api-key", "  key two ")], "401 unknown_key"),
        (&[], "401 missing"),
        (&[("Authorization", "ApiKey key one")], "401 missing"),
        (&[("X_API_Key", "key one")], "401 missing"),
        (&[("X-API-Key", "")], "401 malformed"),
        (&[("X-API-Key", "key three")], "401 unknown_key"),
        (&[("X-API-Key", "Key one")], "401 unknown_key"),
        (&[("X-API-Key", &hash)], "401 unknown_key"),
        (&[("X-API-Key", "key one, key two")], "401 unknown_key"),
        (
            &[("X-API-Key", "key one"), ("X-API-Key", "key one")],
            "400 repeated",
        ),
        (
            &[("X-API-Key", "key one"), ("X-API-Key", "")],
            "400 repeated",
        ),
        (&[("X-API-Key", "late")], "401 expired"),
        (&[("X-API-Key", "soon")], "soon"),
    ] {
        assert_eq!(
            word(&chain, fields, Some("x-api-key=key%20one")).await,
            want,
            "{fields:?}"
        );
    }
}

#[tokio::test]
async fn in_a_query_or_a_cookie() {
    let at = |location| {
        chain(ApiKey {
            location,
            ..settings(vec![entry("one", sha256("key=1"))])
        })
    };
    let query = at(CredentialLocation::Query("k".to_owned()));
    for (given, want) in [
        (Some("a=b&k=key=1"), "one"),
        (Some("k=key%3D1"), "one"),
        (Some("k=key%3d2"), "401 unknown_key"),
        (Some("k"), "401 malformed"),
        (Some("k="), "401 malformed"),
        (Some("k=key=1&%6b=x"), "400 repeated"),
        (Some("K=key=1"), "401 missing"),
        (None, "401 missing"),
    ] {
        assert_eq!(
            word(&query, &[("k", "key=1")], given).await,
            want,
            "{given:?}"
        );
    }
    assert_eq!(
        query.stripped(),
        [CredentialLocation::Query("k".to_owned())]
    );
    let cookie = at(CredentialLocation::Cookie("k".to_owned()));
    for (given, want) in [
        (&["a=b; k=key=1"][..], "one"),
        (&["a=b", "k=key=1"], "one"),
        (&["k=key=1; k=key=1"], "400 repeated"),
        (&["k=key=1", "k=x"], "400 repeated"),
        (&["k="], "401 malformed"),
        (&["K=key=1"], "401 missing"),
    ] {
        let fields: Vec<_> = given.iter().map(|cookie| ("Cookie", *cookie)).collect();
        assert_eq!(
            word(&cookie, &fields, Some("k=key=1")).await,
            want,
            "{given:?}"
        );
    }
    assert_eq!(
        cookie.stripped(),
        [CredentialLocation::Cookie("k".to_owned())]
    );
}

#[tokio::test]
async fn peppered() {
    let keys = vec![
        entry("plain", sha256("key one")),
        entry("peppered", hmac_sha256("pepper", "key two")),
    ];
    let mut with = settings(keys.clone());
    with.pepper = Some(Secret::new("pepper".to_owned()));
    let good = chain(with.clone());
    with.pepper = Some(Secret::new("salt".to_owned()));
    let other = chain(with);
    for (chain, key, want) in [
        (&good, "key one", "plain"),
        (&good, "key two", "peppered"),
        (&other, "key one", "plain"),
        (&other, "key two", "401 unknown_key"),
    ] {
        assert_eq!(word(chain, &[("X-API-Key", key)], None).await, want);
    }
    let error = Chain::build(&[step(settings(keys))], &testing::shared()).unwrap_err();
    assert!(error[0].to_string().ends_with("there is no pepper"));
}

#[tokio::test]
async fn scopes() {
    let scoped = |id: &str, scopes: &[&str]| {
        let mut entry = entry(id, sha256(id));
        entry.scopes = scopes.iter().map(ToString::to_string).collect();
        entry
    };
    let mut settings = settings(vec![
        scoped("none", &[]),
        scoped("one", &["read"]),
        scoped("both", &["write", "read"]),
    ]);
    settings.required_scopes = vec!["read".to_owned(), "write".to_owned()];
    let chain = chain(settings);
    for (key, want) in [
        ("none", "403 scope_missing"),
        ("one", "403 scope_missing"),
        ("both", "both"),
        ("other", "401 unknown_key"),
    ] {
        assert_eq!(word(&chain, &[("X-API-Key", key)], None).await, want);
    }
}

#[tokio::test]
async fn a_removed_key_is_refused_at_once() {
    let shared: Shared = testing::shared();
    let with = |keys: &[&str]| {
        let keys = keys.iter().map(|key| entry(key, sha256(key))).collect();
        Chain::build(&[step(settings(keys))], &shared).unwrap()
    };
    let before = with(&["one", "two"]);
    assert_eq!(word(&before, &[("X-API-Key", "one")], None).await, "one");
    let after = with(&["two"]);
    assert_eq!(
        word(&after, &[("X-API-Key", "one")], None).await,
        "401 unknown_key"
    );
    assert_eq!(word(&after, &[("X-API-Key", "two")], None).await, "two");
}

/// No sequence of bytes panics, and none passes.
#[tokio::test]
async fn rubbish() {
    let mut random = fastrand::Rng::with_seed(31);
    let locations = [
        CredentialLocation::Header(HeaderName::from_static("x-api-key")),
        CredentialLocation::Cookie("k".to_owned()),
        CredentialLocation::Query("k".to_owned()),
    ];
    let mut peppered = settings(vec![
        entry("one", sha256("key one")),
        entry("two", hmac_sha256("pepper", "key two")),
    ]);
    peppered.pepper = Some(Secret::new("pepper".to_owned()));
    let chains = locations.map(|location| {
        chain(ApiKey {
            location,
            ..peppered.clone()
        })
    });
    for _ in 0..10_000 {
        let bytes: Vec<u8> = (0..random.usize(..80)).map(|_| random.u8(..)).collect();
        let query = format!("k={}", String::from_utf8_lossy(&bytes));
        let Ok(value) = HeaderValue::from_bytes(&bytes) else {
            continue;
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", value.clone());
        headers.insert("cookie", value);
        let request = AuthRequest {
            query: Some(&query),
            ..AuthRequest::of(&headers)
        };
        for chain in &chains {
            let denial = chain
                .admit_at(&request, NOW, &mut Trace::off())
                .await
                .unwrap_err();
            assert!([400, 401].contains(&denial.status()));
        }
    }
}

#[test]
fn nothing_shows_a_digest() {
    let shown = format!(
        "{:?}",
        chain(settings(vec![entry("one", sha256("key one"))]))
    );
    let KeyDigest::Sha256(digest) = sha256("key one") else {
        panic!()
    };
    let decimal: Vec<_> = digest.iter().map(ToString::to_string).collect();
    assert!(!shown.contains(&decimal[..4].join(", ")), "{shown}");
    assert!(shown.contains("[redacted]"));
}

#[tokio::test]
async fn guesses_are_counted_by_address_and_learn_nothing_beyond_the_limit() {
    let settings = ApiKey {
        max_failures: 3,
        pepper: Some(Secret::new("pepper".to_owned())),
        ..settings(vec![
            entry("plain", sha256("one")),
            entry("peppered", hmac_sha256("pepper", "two")),
        ])
    };
    let shared = testing::shared();
    let build = |settings: ApiKey| Chain::build(&[step(settings)], &shared).unwrap();
    let chain = build(settings.clone());
    // Another pipeline with the same step, or the step after a reload.
    let other = build(settings);
    let ask_of = async |chain: &Chain, key: &str, client: Option<&str>| {
        let headers = testing::headers(&[("x-api-key", key)]);
        let request = AuthRequest {
            source: RequestSource {
                client: client.map(|client| client.parse().unwrap()),
                request_id: None,
            },
            ..AuthRequest::of(&headers)
        };
        match chain.admit_at(&request, NOW, &mut Trace::off()).await {
            Ok(admission) => admission
                .identity()
                .unwrap()
                .subject()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned(),
            Err(denial) => denial.reason().as_str().to_owned(),
        }
    };
    let ask = async |key: &str, client: Option<&str>| ask_of(&chain, key, client).await;
    let user = Some("192.0.2.1");
    assert_eq!(ask("one", user).await, "plain");
    for guesser in [Some("2001:db8::1"), None] {
        assert_eq!(ask("one", Some("192.0.2.9")).await, "plain");
        for guess in ["a", "b", "c"] {
            assert_eq!(ask(guess, guesser).await, "unknown_key");
        }
        for key in ["one", "two", "d", "a"] {
            assert_eq!(ask(key, guesser).await, "too_many_failures", "{key}");
        }
        assert_eq!(ask("", guesser).await, "malformed", "no guess");
    }
    assert_eq!(
        ask("one", Some("2001:db8::ffff")).await,
        "too_many_failures",
        "the same /64"
    );
    for guess in ["a", "b", "c"] {
        assert_eq!(ask(guess, user).await, "unknown_key");
    }
    assert_eq!(
        ask("two", user).await,
        "too_many_failures",
        "never used here"
    );
    assert_eq!(ask("one", user).await, "plain", "used before");
    assert_eq!(ask_of(&other, "one", user).await, "plain", "used before");
    assert_eq!(ask_of(&other, "two", user).await, "too_many_failures");
    assert_eq!(ask("two", Some("192.0.2.2")).await, "peppered");
}
