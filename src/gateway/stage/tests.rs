//! Stages in the order of the file, what they withhold together, and counts that outlive a
//! configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use http::{HeaderMap, Method};

use super::*;
use crate::auth::{AuthRequest, CredentialLocation, VerifiedLocations};
use crate::gateway::{Live, Reload};
use crate::policy::{Denial, Requester};
use crate::telemetry::Metrics;

const TEXT: &str = r#"
    [proxy]
    id = "t"
    [network.public.http]
    bind_address = "127.0.0.1"
    bind_port = 8080
    [pipelines.p]
    networks = ["public"]
    endpoints = ["e"]
    middleware = MIDDLEWARE
    [endpoints.e]
    service = "echo"
    [middleware.a]
    type = "jwt-auth"
    config = { jwks_url = "https://h/a", issuer = "i", audience = "a" }
    [middleware.b]
    type = "jwt-auth"
    config = { jwks_url = "https://h/b", issuer = "i", audience = "a" }
    forward_credential = false
    [middleware.o]
    type = "jwt-auth"
    optional = true
    config = { jwks_url = "https://h/o", issuer = "i", audience = "a" }
    [middleware.acl]
    type = "policies"
    policies = ["acl"]
    [policies.acl]
    rules = ["all", "often"]
    [rules.all]
    type = "allow_all"
    [rules.often]
    type = "rate_limit"
    max_requests = 2
    window_seconds = 60
    [middleware.tried]
    type = "jwt-auth"
    enforce = false
    config = { jwks_url = "https://h/a", issuer = "i", audience = "a" }
    [middleware.acl-tried]
    type = "policies"
    enforce = false
    rules = [{ type = "deny_all" }]
    [middleware.some-tried]
    type = "policies"
    rules = [{ type = "allow_all" }, { type = "deny_all", enforce = false }]
    [middleware.flood]
    type = "policies"
    rules = [
      { type = "allow_all" },
      { type = "rate_limit", max_requests = 2, window_seconds = 60, count = "attempts" },
    ]
    [middleware.filter]
    type = "path-filter"
    rules = ["/x"]
    [middleware.dump]
    type = "log_dump"
"#;

/// Those that authenticate.
fn chains(stages: &[Stage]) -> impl Iterator<Item = &Chain> {
    stages.iter().filter_map(|stage| match stage {
        Stage::Authenticate(chain) => Some(chain),
        _ => None,
    })
}

fn source(middleware: &str) -> config::Source {
    let text = TEXT.replace("MIDDLEWARE", middleware);
    config::Source::text("t.toml", &text).with_environment(BTreeMap::<String, String>::new())
}

fn parse(middleware: &str) -> Result<config::Config, config::Errors> {
    let text = TEXT.replace("MIDDLEWARE", middleware);
    config::parse(
        Path::new("t.toml"),
        &text,
        &BTreeMap::<String, String>::new(),
    )
}

fn shared() -> Shared {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Shared::new(None).unwrap()
}

fn stages(middleware: &str) -> Stages {
    let config = parse(middleware).unwrap_or_else(|errors| panic!("{errors}"));
    let metrics = Metrics::default().pipeline(&"p".into());
    Stages::build(&config.pipelines[0].steps, &shared(), &metrics, None).unwrap()
}

#[test]
fn steps_that_authenticate_one_after_another_are_one_chain() {
    for (middleware, expected) in [
        (r#"[]"#, ""),
        (r#"["passthru"]"#, ""),
        (r#"["a"]"#, "chain"),
        (r#"["a", "b"]"#, "chain"),
        (r#"["a", "passthru", "b"]"#, "chain"),
        (
            r#"["dump", "acl", "o", "a", "filter", "b", "dump"]"#,
            "dump policies chain filter chain dump",
        ),
        (
            r#"["a", "acl", "b", "acl"]"#,
            "chain policies chain policies",
        ),
        (
            r#"["flood", "filter", "flood", "acl", "a"]"#,
            "policies limits filter policies policies chain",
        ),
        (r#"["acl", "filter"]"#, "policies filter"),
    ] {
        assert_eq!(kinds(middleware), expected, "{middleware}");
    }
}

fn kinds(middleware: &str) -> String {
    let stages = stages(middleware).stages;
    let kinds = stages.iter().map(|stage| match stage {
        Stage::Authenticate(_) => "chain",
        Stage::Policies(_) => "policies",
        Stage::PathFilter(_) => "filter",
        Stage::LogDump(_) => "dump",
        Stage::RateLimits(_) => "limits",
        Stage::Shadow(_) => "shadow",
        Stage::Cors(_) => "cors",
        Stage::Headers(..) => "headers",
    });
    kinds.collect::<Vec<_>>().join(" ")
}

#[test]
fn steps_in_shadow_neither_split_a_chain_nor_read_a_credential() {
    for (middleware, expected) in [
        (r#"["o", "tried", "a"]"#, "chain shadow"),
        (r#"["tried", "o", "a"]"#, "shadow chain"),
        (
            r#"["o", "acl-tried", "a", "filter"]"#,
            "chain shadow filter",
        ),
        (
            r#"["filter", "tried", "acl-tried"]"#,
            "filter shadow shadow",
        ),
        (r#"["tried"]"#, "shadow"),
        (r#"["some-tried", "a"]"#, "policies shadow chain"),
    ] {
        assert_eq!(kinds(middleware), expected, "{middleware}");
    }
    assert_eq!(stages(r#"["tried"]"#).locations.iter().count(), 0);
}

#[test]
fn credentials_of_every_chain_are_stripped() {
    for (middleware, expected) in [
        (r#"["a"]"#, 0),
        (r#"["a", "acl", "b"]"#, 1),
        (r#"["b", "acl", "a"]"#, 1),
        (r#"["b", "acl", "b"]"#, 1),
    ] {
        let locations = stages(middleware).locations;
        let mut verified = VerifiedLocations::default();
        verified.add(
            locations
                .clone()
                .add(&CredentialLocation::Authorization, true),
        );
        assert_eq!(
            locations.stripped(verified).count(),
            expected,
            "{middleware}"
        );
        assert_eq!(
            locations.stripped(VerifiedLocations::default()).count(),
            1,
            "{middleware}"
        );
    }
}

#[test]
fn a_limit_counts_attempts_where_it_stands_or_else_at_the_end_and_never_twice() {
    for (middleware, at_end) in [
        (r#"[]"#, false),
        (r#"["acl"]"#, true),
        (r#"["acl", "acl"]"#, true),
        (r#"["acl", "a"]"#, true),
        (r#"["a", "acl"]"#, true),
        (r#"["a", "acl", "b"]"#, true),
        (r#"["acl", "a", "acl"]"#, true),
        (r#"["flood"]"#, false),
        (r#"["flood", "a"]"#, false),
        (r#"["flood", "acl", "a"]"#, true),
    ] {
        let limits = stages(middleware).limits;
        assert_eq!(!limits.is_empty(), at_end, "{middleware}");
        assert_eq!(limits.names().count(), usize::from(at_end), "{middleware}");
    }
}

#[test]
fn a_limit_of_attempts_behind_an_authentication_is_an_error() {
    let errors = parse(r#"["a", "flood"]"#).unwrap_err().to_string();
    assert!(errors.contains("counts attempts"), "{errors}");
}

#[tokio::test]
async fn a_chain_after_policies_is_a_chain_of_its_own() {
    let stages = stages(r#"["a", "acl", "o"]"#).stages;
    let headers = HeaderMap::new();
    let presented = AuthRequest::of(&headers);
    let mut outcomes = Vec::new();
    for chain in chains(&stages) {
        outcomes.push(chain.authenticate(&presented).await.is_ok());
    }
    assert_eq!(outcomes, [false, true]);
}

#[test]
fn counts_survive_a_reload() {
    let live = Live::start(source(r#"["acl"]"#), shared()).unwrap();
    let local: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let ask = || {
        let gateway = live.gateway();
        let routes = gateway.routes(local).unwrap();
        let found = routes.find("h", "/x", &Method::GET).unwrap();
        let limits = found.route.pipeline.final_rate_limits();
        let requester = Requester {
            client: Some(IpAddr::from([192, 0, 2, 1])),
            ..Requester::default()
        };
        limits.take(live.limiters(), &requester, Instant::now()).1
    };
    assert_eq!(ask(), Ok(()));
    assert!(matches!(
        live.reload_from(source(r#"["acl", "filter"]"#)),
        Ok(Reload::Reloaded(_))
    ));
    assert_eq!(ask(), Ok(()));
    assert!(matches!(
        live.reload_from(source(r#"["filter", "acl"]"#)),
        Ok(Reload::Reloaded(_))
    ));
    assert!(matches!(ask(), Err(Denial::RateLimited { .. })));
}
