//! `introspection`, and `introspect = true` of `jwt-auth`.

use super::jwt::step;
use super::*;

const CLIENT: &str = "audience = \"a\"\nclient_id = \"edge\"\nclient_secret = \"${LONG}\"\n";
const URL: &str = "introspection_url = \"https://a.example/i\"\n";

fn opaque(settings: &str) -> String {
    step(&format!("{CLIENT}{settings}")).replace("\"jwt-auth\"", "\"introspection\"")
}

fn settings(config: &Config) -> &Introspection {
    match &auth_step(config).settings {
        AuthSettings::Introspection(settings) => settings,
        other => panic!("{other:?}"),
    }
}

fn discovery(issuer: &str) -> IntrospectionEndpoint {
    IntrospectionEndpoint::Discovery(Discovery {
        issuer: issuer.to_owned(),
        tenants: vec![],
        fresh: Duration::from_secs(3600),
        max_stale: Duration::from_secs(86_400),
        cooldown: Duration::from_secs(30),
        reach: None,
    })
}

#[test]
fn defaults() {
    let config = ok(&opaque(URL));
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    let step = auth_step(&config);
    assert!(!step.optional && step.forward_credential);
    assert_eq!(step.settings.type_name(), "introspection");
    let found = settings(&config);
    assert_eq!(
        (found.issuers.len(), &found.location),
        (0, &CredentialLocation::Authorization)
    );
    assert_eq!(found.rules.audiences, ["a"]);
    let client = &found.client;
    let url = "https://a.example/i".to_owned();
    assert_eq!(
        client.endpoint,
        IntrospectionEndpoint::Url { url, reach: None }
    );
    assert_eq!(
        (client.client_id.as_str(), client.client_auth),
        ("edge", ClientAuth::Basic)
    );
    assert_eq!(
        (client.cache, client.max_in_flight),
        (Duration::from_secs(60), 64)
    );
    assert!(!format!("{config:?}").contains(client.client_secret.as_ref().unwrap().expose()));
}

#[test]
fn where_the_issuer_is_asked() {
    let url = |url: &str| IntrospectionEndpoint::Url {
        url: url.to_owned(),
        reach: None,
    };
    for (lines, want) in [
        (
            "issuer = \"https://a.example\"",
            discovery("https://a.example"),
        ),
        (
            "issuer = \"https://a.example\"\nintrospection_url = \"http://127.0.0.1:1/i\"",
            url("http://127.0.0.1:1/i"),
        ),
        (
            "issuer = \"a\"\nintrospection_url = \"https://i/\"",
            url("https://i/"),
        ),
    ] {
        let config = ok(&opaque(lines));
        assert_eq!(settings(&config).client.endpoint, want, "{lines}");
        assert_eq!(settings(&config).issuers.len(), 1, "{lines}");
    }
    let lines = "client_auth = \"post\"\ncache_secs = 1\nmax_in_flight = 1";
    let client = settings(&ok(&opaque(&format!("{URL}{lines}"))))
        .client
        .clone();
    assert_eq!(
        (client.client_auth, client.cache, client.max_in_flight),
        (ClientAuth::Post, Duration::from_secs(1), 1)
    );
}

#[test]
fn a_token_that_verifies_can_be_asked_about() {
    for (lines, want) in [
        (
            "issuer = \"https://a.example\"",
            Some(discovery("https://a.example")),
        ),
        (
            "issuer = [\"https://a.example\", \"https://b.example\"]\nintrospection_url = \
             \"https://i/\"",
            Some(IntrospectionEndpoint::Url {
                url: "https://i/".to_owned(),
                reach: None,
            }),
        ),
    ] {
        let config = ok(&step(&format!("{CLIENT}introspect = true\n{lines}")));
        let client = jwt_settings(&config).introspection.as_ref();
        assert_eq!(
            client.map(|client| client.endpoint.clone()),
            want,
            "{lines}"
        );
    }
    let plain = "audience = \"a\"\nissuer = \"https://a.example\"\nintrospect = false";
    assert_eq!(jwt_settings(&ok(&step(plain))).introspection, None);
}

#[test]
fn what_is_warned_of() {
    let text = opaque(URL);
    let without = text.replace("client_secret = \"${LONG}\"\n", "");
    assert!(warnings(&ok(&without))[0].contains("no client_secret: an endpoint that answers"));
    let without = text.replace("audience = \"a\"\n", "");
    assert!(warnings(&ok(&without))[0].contains("no audience"));
    let plain = text.replace("${LONG}", "secret-in-the-file");
    let told = ok(&plain);
    let mut told = all_warnings(&told).into_iter();
    assert!(told.any(|note| note.contains("client_secret: the secret stands in the file")));
}

#[test]
fn what_is_refused() {
    for (lines, want) in [
        ("", "introspection_url: is missing; write it like"),
        (
            "issuer = \"a\"",
            "introspection_url: is missing; write it like",
        ),
        (
            "issuer = [\"https://a.example\", \"https://b.example\"]",
            "introspection_url: is missing; there are several issuers",
        ),
        (
            "introspection_url = \"http://a.example/\"",
            "introspection_url: must be https; whoever",
        ),
        (
            "introspection_url = \"a\"",
            "introspection_url: must begin with",
        ),
        (
            "introspection_url = \"https://u:p@a/\"",
            "must not hold a user name",
        ),
        (
            "introspection_url = \"https://a/\"\ntenants = [\"t\"]",
            "tenants: has no meaning",
        ),
        (
            "introspection_url = \"https://a/\"\nclient_auth = \"jwt\"",
            "client_auth: unknown way to authenticate \"jwt\"",
        ),
        (
            "introspection_url = \"https://a/\"\ncache_secs = 0",
            "cache_secs: must be from 1 to",
        ),
        (
            "introspection_url = \"https://a/\"\nmax_in_flight = 0",
            "max_in_flight: must be from 1 to",
        ),
        (
            "introspection_url = \"https://a/\"\nalgorithm = \"RS256\"",
            "algorithm",
        ),
    ] {
        let errors = errors(&opaque(lines));
        assert!(
            errors.iter().any(|error| error.contains(want)),
            "{lines}: {errors:#?}"
        );
    }
    for (text, want) in [
        (
            opaque(URL).replace("client_id = \"edge\"\n", ""),
            "client_id: is missing",
        ),
        (
            opaque(URL).replace("${LONG}", "${EMPTY}"),
            "client_secret: is empty after filling in",
        ),
        (
            opaque(URL).replace("\"edge\"", "\"\""),
            "client_id: is empty; name who asks",
        ),
        (
            step(&format!("{CLIENT}issuer = \"https://a.example\"")),
            "client_id: has no effect without introspect = true",
        ),
        (
            step(&format!(
                "audience = \"a\"\n{URL}issuer = \"https://a.example\""
            )),
            "introspection_url: has no effect without introspect = true",
        ),
        (
            step("audience = \"a\"\nissuer = \"https://a.example\"\nintrospect = true"),
            "client_id: is missing",
        ),
    ] {
        let errors = errors(&text);
        assert!(
            errors.iter().any(|error| error.contains(want)),
            "{want}: {errors:#?}"
        );
    }
}
