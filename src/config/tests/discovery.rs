//! `issuer` without a source of keys: its document says where they are.

use super::jwt::{GOOD, step};
use super::*;

fn alone(settings: &str) -> String {
    step(&format!("audience = \"a\"\n{settings}"))
}

fn discovered(issuer: &str, tenants: &[&str]) -> JwtIssuer {
    JwtIssuer {
        names: vec![issuer.to_owned()],
        keys: KeySource::Discovery(Discovery {
            issuer: issuer.to_owned(),
            tenants: tenants.iter().map(ToString::to_string).collect(),
            fresh: Duration::from_secs(3600),
            max_stale: Duration::from_secs(86_400),
            cooldown: Duration::from_secs(30),
            reach: None,
        }),
    }
}

#[test]
fn each_issuer_has_a_document_of_its_own() {
    for (settings, want) in [
        (
            "issuer = \"https://a.example/x/\"",
            vec![discovered("https://a.example/x/", &[])],
        ),
        (
            "trusted_issuers = \"http://[::1]:1\"",
            vec![discovered("http://[::1]:1", &[])],
        ),
        (
            "issuer = [\"https://a.example\", \"https://b.example\"]",
            vec![
                discovered("https://a.example", &[]),
                discovered("https://b.example", &[]),
            ],
        ),
        (
            "issuers = [{ issuer = \"https://a.example\" }, { issuer = [\"https://b.example\", \
             \"https://c.example\"] }]",
            vec![
                discovered("https://a.example", &[]),
                discovered("https://b.example", &[]),
                discovered("https://c.example", &[]),
            ],
        ),
        (
            "issuer = \"https://a.example/common/v2.0\"\ntenants = [\"t-1\", \"t-2\"]",
            vec![discovered("https://a.example/common/v2.0", &["t-1", "t-2"])],
        ),
        (
            "issuer = \"https://a.example/{tenantid}/v2.0\"\ntenants = [\"t-1\", \"t-2\"]",
            vec![
                discovered("https://a.example/t-1/v2.0", &["t-1"]),
                discovered("https://a.example/t-2/v2.0", &["t-2"]),
            ],
        ),
        (
            "issuers = [{ issuer = \"https://a.example/{tenantid}\", tenants = \"t\" }]",
            vec![discovered("https://a.example/t", &["t"])],
        ),
    ] {
        let config = ok(&alone(settings));
        assert_eq!(jwt_settings(&config).issuers, want, "{settings}");
        assert!(config.notes.is_empty(), "{settings}: {:?}", config.notes);
    }
    let slow = "issuer = \"https://a.example\"\njwks_cache_secs = 60\njwks_max_stale_secs = 0\n\
                jwks_cooldown_secs = 1";
    let config = ok(&alone(slow));
    let KeySource::Discovery(found) = &jwt_settings(&config).issuers[0].keys else {
        panic!()
    };
    let seconds = [found.fresh, found.max_stale, found.cooldown].map(|time| time.as_secs());
    assert_eq!(seconds, [60, 0, 1]);
}

#[test]
fn a_source_of_keys_is_used_and_no_document() {
    let config = ok(&step(&GOOD.replace("\"i\"", "\"https://a.example\"")));
    assert!(matches!(
        jwt_settings(&config).issuers[0].keys,
        KeySource::JwksUrl(_)
    ));
}

#[test]
fn what_is_refused() {
    for (settings, want) in [
        (
            "issuer = \"http://a.example\"",
            "middleware.jwt.issuer: is to say where its keys are, since there is no source of \
             keys, and must be https; write the issuer's https URL",
        ),
        (
            "issuer = \"https://a.example/?x\"",
            "and must not have a query",
        ),
        (
            "issuer = \"https://a.example/#x\"",
            "and must not have a fragment",
        ),
        (
            "issuer = \"https://u:p@a.example\"",
            "and must not hold a user name or a password",
        ),
        (
            "issuer = [\"https://a.example\", \"i\"]",
            "issuer: is to say where its keys are",
        ),
        (
            "issuer = \"i\"",
            "RS256 has no key source; add one of jwks_url",
        ),
        (
            "issuer = \"https://a.example\"\nalgorithm = \"HS256\"",
            "HS256 has no secret",
        ),
        (
            "issuer = [\"https://a.example\", \"https://a.example\"]",
            "issuer \"https://a.example\" is named twice",
        ),
        (
            "issuer = \"https://login.microsoftonline.com/common/v2.0\"",
            "issuer: is for users of any tenant, and the step does not say which",
        ),
        (
            "issuer = \"https://login.microsoftonline.us/organizations/v2.0\"",
            "issuer: is for users of any tenant, and the step does not say which",
        ),
        (
            "issuer = \"https://a.example/x/.well-known/openid-configuration\"",
            "issuer: is the URL of the issuer's document, not the issuer; write \
             \"https://a.example/x\"",
        ),
        (
            "issuer = \"https://a.example/.well-known/oauth-authorization-server/x\"",
            "issuer: is the URL of the issuer's document, not the issuer",
        ),
        (
            "issuer = \"https://a.example/{tenantid}\"",
            "issuer: holds {tenantid}, and the step does not say which tenants it takes; list \
             them: tenants = [",
        ),
        (
            "issuer = \"https://a.example/{tenantid}\"\ntenants = [\"a/b\"]",
            "tenants: \"a/b\" is not the id of a tenant",
        ),
        (
            "issuer = \"https://a.example\"\ntenants = []",
            "tenants: is empty",
        ),
        (
            "issuer = \"https://a.example\"\ntenants = [\"t\"]\njwks_url = \"https://a.example/\"",
            "tenants: has no meaning beside a source of keys",
        ),
        (
            "issuers = [{ issuer = \"https://a.example\", jwks_url = \"https://a.example/\", \
             tenants = [\"t\"] }]",
            "issuers[0].tenants: has no meaning beside a source of keys",
        ),
        (
            "tenants = [\"t\"]\nissuers = [{ issuer = \"https://a.example\" }]",
            "tenants: stands beside `issuers`",
        ),
        (
            "issuers = [{ issuer = \"https://a.example\" }, { issuer = \"https://a.example\" }]",
            "issuers[1].issuer: issuer \"https://a.example\" is named twice",
        ),
    ] {
        let errors = errors(&alone(settings));
        assert!(
            errors.iter().any(|error| error.contains(want)),
            "{settings}: {errors:#?}"
        );
    }
    let tenants: Vec<String> = (0..65).map(|number| format!("\"t{number}\"")).collect();
    let many = format!(
        "issuer = \"https://a.example/{{tenantid}}\"\ntenants = [{}]",
        tenants.join(", ")
    );
    assert!(errors(&alone(&many))[0].contains("has more than 64 entries"));
}
