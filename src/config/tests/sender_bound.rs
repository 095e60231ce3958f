//! Tokens that are bound to their sender, RFC 9068's profile, and what a pipeline publishes of
//! itself.

use super::*;

const JWT: &str = "[middleware.s]\ntype = \"jwt-auth\"\nissuer = \"https://auth.example.com\"\n\
                   audience = \"https://api.example.com/orders\"\n\
                   jwks_url = \"https://auth.example.com/keys\"\n";

fn jwt(lines: &str) -> String {
    with_steps("[\"s\"]", &format!("{JWT}{lines}\n"))
}

fn resource(lines: &str) -> String {
    let table = "[pipelines.p.resource]\nauthorization_servers = [\"https://auth.example.com\"]\n";
    format!("{}\n{table}{lines}\n", jwt(""))
}

#[test]
fn dpop_and_its_defaults() {
    assert_eq!(jwt_settings(&ok(&jwt(""))).dpop, None);
    assert_eq!(jwt_settings(&ok(&jwt("dpop = \"off\""))).dpop, None);
    let by_default = Dpop {
        required: false,
        algorithms: vec![
            JwtAlgorithm::Es256,
            JwtAlgorithm::EdDsa,
            JwtAlgorithm::Rs256,
        ],
        max_age: Duration::from_secs(60),
        nonce: None,
    };
    let config = ok(&jwt("dpop = \"allow\""));
    assert_eq!(jwt_settings(&config).dpop.as_ref(), Some(&by_default));
    assert!(warnings(&config).is_empty(), "{:?}", warnings(&config));
    let written = "dpop = \"require\"\ndpop_algorithms = [\"ES384\", \"PS256\"]\n\
                   dpop_max_age_secs = 30\ndpop_nonce = true\n\
                   dpop_nonce_secret = \"0123456789abcdef0123456789abcdef\"";
    let secret = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
    let expected = Dpop {
        required: true,
        algorithms: vec![JwtAlgorithm::Es384, JwtAlgorithm::Ps256],
        max_age: Duration::from_secs(30),
        nonce: Some(DpopNonce::OfFleet(secret)),
    };
    assert_eq!(jwt_settings(&ok(&jwt(written))).dpop, Some(expected));
    let of_process = ok(&jwt("dpop = \"allow\"\ndpop_nonce = true"));
    let nonce = jwt_settings(&of_process)
        .dpop
        .as_ref()
        .and_then(|dpop| dpop.nonce.clone());
    assert_eq!(nonce, Some(DpopNonce::OfProcess));
}

#[test]
fn what_dpop_refuses() {
    for (lines, expected) in [
        ("dpop = \"maybe\"", "unknown mode \"maybe\""),
        ("dpop = true", "dpop"),
        (
            "dpop = \"allow\"\ndpop_algorithms = [\"HS256\"]",
            "dpop_algorithms: \"HS256\" takes a shared secret",
        ),
        (
            "dpop = \"allow\"\ndpop_algorithms = [\"none\"]",
            "unknown algorithm \"none\"",
        ),
        (
            "dpop = \"allow\"\ndpop_algorithms = [\"ES256\", \"ES256\"]",
            "is named twice",
        ),
        ("dpop = \"allow\"\ndpop_algorithms = []", "dpop_algorithms"),
        (
            "dpop = \"allow\"\ndpop_max_age_secs = 0",
            "dpop_max_age_secs",
        ),
        (
            "dpop = \"allow\"\ndpop_max_age_secs = 601",
            "dpop_max_age_secs",
        ),
        (
            "dpop = \"allow\"\ndpop_nonce = true\ndpop_nonce_secret = \"short\"",
            "must be at least 32 bytes",
        ),
        (
            "dpop = \"allow\"\ndpop_nonce = true\ndpop_nonce_secret = \"\"",
            "is empty",
        ),
        (
            "dpop = \"allow\"\ntoken_header = \"X-Token\"",
            "takes tokens in Authorization only",
        ),
        (
            "dpop = \"require\"\ntoken_cookie = \"t\"",
            "takes tokens in Authorization only",
        ),
        ("dpop_nonces = true", "dpop_nonces"),
        ("profile = \"jwt\"", "unknown profile \"jwt\""),
        (
            "profile = \"at+jwt\"\ntyp = \"JWT\"",
            "stands beside `profile`",
        ),
    ] {
        one_error(&jwt(lines), expected);
    }
}

#[test]
fn what_has_no_effect_or_costs_a_lot_is_a_warning() {
    for (lines, expected) in [
        ("dpop_nonce = true", "has no effect: dpop is \"off\""),
        (
            "dpop = \"off\"\ndpop_algorithms = [\"ES256\"]",
            "has no effect: dpop is \"off\"",
        ),
        (
            "dpop = \"allow\"\ndpop_nonce_secret = \"0123456789abcdef0123456789abcdef\"",
            "has no effect without dpop_nonce = true",
        ),
        (
            "dpop = \"allow\"\ndpop_max_age_secs = 301",
            "proofs are remembered for as long",
        ),
    ] {
        let config = ok(&jwt(lines));
        let warned = all_warnings(&config)
            .iter()
            .any(|warning| warning.contains(expected));
        assert!(warned, "{expected}: {:?}", all_warnings(&config));
    }
    let config = ok(&jwt("dpop = \"allow\"\ndpop_max_age_secs = 300"));
    let warnings = all_warnings(&config);
    assert!(
        !warnings
            .iter()
            .any(|warning| warning.contains("dpop_max_age_secs"))
    );
}

#[test]
fn a_profile_says_the_type_of_its_tokens() {
    let config = ok(&jwt("profile = \"at+jwt\""));
    let settings = jwt_settings(&config);
    assert!(settings.access_token_profile);
    assert_eq!(settings.accepted_types, ["at+jwt"]);
    assert!(!jwt_settings(&ok(&jwt(""))).access_token_profile);
}

#[test]
fn an_introspection_step_has_it_too() {
    let step = "[middleware.s]\ntype = \"introspection\"\nissuer = \"https://auth.example.com\"\n\
                client_id = \"edge\"\nclient_secret = \"s\"\naudience = \"a\"\n\
                dpop = \"require\"\n";
    let config = ok(&with_steps("[\"s\"]", step));
    let AuthSettings::Introspection(settings) = &auth_step(&config).settings else {
        panic!("another step");
    };
    assert!(settings.dpop.as_ref().is_some_and(|dpop| dpop.required));
}

#[test]
fn a_proof_over_a_network_without_tls_is_a_warning() {
    let text = jwt("dpop = \"require\"");
    let exposed = text.replacen(
        "bind_address = \"127.0.0.1\"",
        "bind_address = \"0.0.0.0\"",
        1,
    );
    let warned = |text: &str| {
        let config = ok(text);
        all_warnings(&config)
            .iter()
            .any(|warning| warning.contains("dpop = \"require\""))
    };
    let trusting = |text: &str| text.replacen("[proxy]", "[proxy]\ntrusted_proxies = [\"::1\"]", 1);
    assert!(warned(&exposed) && warned(&trusting(&exposed)));
    assert!(warned(&text));
    // There, a proxy on the same machine may end TLS.
    assert!(!warned(&trusting(&text)));
    assert!(!warned(
        &exposed.replace("dpop = \"require\"", "dpop = \"allow\"")
    ));
}

#[test]
fn where_a_resource_describes_itself() {
    for (identifier, path, url) in [
        (
            "https://api.example.com/orders",
            "/.well-known/oauth-protected-resource/orders",
            "https://api.example.com/.well-known/oauth-protected-resource/orders",
        ),
        (
            "https://api.example.com",
            "/.well-known/oauth-protected-resource",
            "https://api.example.com/.well-known/oauth-protected-resource",
        ),
        (
            "https://api.example.com/",
            "/.well-known/oauth-protected-resource",
            "https://api.example.com/.well-known/oauth-protected-resource",
        ),
        (
            "https://api.example.com:8443/a/b/",
            "/.well-known/oauth-protected-resource/a/b/",
            "https://api.example.com:8443/.well-known/oauth-protected-resource/a/b/",
        ),
    ] {
        let config = ok(&resource(&format!("identifier = \"{identifier}\"")));
        let resource = config.pipelines[0].resource.as_ref().unwrap();
        assert_eq!(
            (&*resource.document_path, &*resource.document_url()),
            (path, url)
        );
    }
}

#[test]
fn what_a_resource_refuses_and_warns_of() {
    for (lines, expected) in [
        ("", "identifier"),
        ("identifier = \"http://api.example.com\"", "must be https"),
        ("identifier = \"api.example.com\"", "must begin with"),
        (
            "identifier = \"https://a.example/x?y\"",
            "must not have a query",
        ),
        (
            "identifier = \"https://a.example/x#y\"",
            "must not have a fragment",
        ),
        (
            "identifier = \"https://u@a.example/x\"",
            "must not hold a user name",
        ),
        (
            "identifier = \"https://a.example/../x\"",
            "must not contain a dot segment",
        ),
        (
            "identifier = \"https://a.example/x\"\ndocumentation = \"ftp://x\"",
            "must begin with",
        ),
        (
            "identifier = \"https://a.example/x\"\nscopes_supported = [\"a b\"]",
            "must be visible ASCII without spaces",
        ),
        (
            "identifier = \"https://a.example/x\"\nscopes = [\"a\"]",
            "scopes",
        ),
    ] {
        one_error(&resource(lines), expected);
    }
    one_error(
        &resource("identifier = \"https://a.example/x\"").replace(
            "[\"https://auth.example.com\"]",
            "[\"http://auth.example.com\"]",
        ),
        "must be https",
    );
    let warned = |text: &str, expected: &str| {
        let config = ok(text);
        all_warnings(&config)
            .iter()
            .any(|warning| warning.contains(expected))
    };
    let other = resource("identifier = \"https://other.example\"");
    assert!(warned(&other, "is no audience of step \"s\""));
    let same = resource("identifier = \"https://api.example.com/orders\"");
    assert!(!warned(&same, "is no audience"));
    let without = same.replace(
        "authorization_servers = [\"https://auth.example.com\"]\n",
        "",
    );
    assert!(warned(&without, "does not learn where it gets a token"));
    let open = format!(
        "{BASE}{PIPELINE}[pipelines.p.resource]\nidentifier = \"https://a.example\"\n\
         authorization_servers = [\"https://auth.example.com\"]\n"
    );
    assert!(warned(&open, "no step of the pipeline takes one"));
}

#[test]
fn two_resources_cannot_be_described_at_one_place() {
    let second = |hosts: &str| {
        format!(
            "[pipelines.q]\nnetworks = [\"public\"]\nendpoints = [\"f\"]\nmiddleware = [\"s\"]\n\
             backends = [\"b\"]\n[pipelines.q.resource]\n\
             identifier = \"https://q.example/orders\"\n\
             authorization_servers = [\"https://a.example\"]\n[endpoints.f]\nservice = \"http\"\n\
             options = {{ path_prefix = \"/f\"{hosts} }}\n"
        )
    };
    let first = resource("identifier = \"https://api.example.com/orders\"");
    one_error(
        &format!("{first}{}", second("")),
        "and so is that of pipeline \"p\"",
    );
    ok(&format!("{first}{}", second(", hosts = [\"q.example\"]")));
}

#[test]
fn a_network_may_ask_for_any_certificate() {
    let pair = "cert_path = \"harmony.toml\"\nkey_path = \"harmony.toml\"\n";
    let network =
        |lines: &str| format!("{BASE}[network.x.http]\nbind_port = 1\n{lines}\n{PIPELINE}");
    let requests = |lines: &str| {
        let config = ok(&network(&format!("{pair}{lines}")));
        config.networks[2]
            .tls
            .as_ref()
            .map(|tls| tls.requests_certificate)
    };
    assert_eq!(requests(""), Some(false));
    assert_eq!(requests("client_certificate = \"request\""), Some(true));
    let both = "client_certificate = \"request\"\nclient_ca_path = \"harmony.toml\"";
    assert_eq!(requests(both), Some(true));
    for (lines, expected) in [
        (
            "client_certificate = \"request\"",
            "has no meaning on a listener without TLS",
        ),
        (
            &*format!("{pair}client_certificate = \"require\""),
            "unknown choice \"require\"",
        ),
        (
            &*format!("{pair}client_certificate = true"),
            "client_certificate",
        ),
    ] {
        let lines = errors(&network(lines));
        assert!(
            lines.iter().any(|line| line.contains(expected)),
            "{expected}: {lines:#?}"
        );
    }
    let management = BASE.replace(
        "bind_port = 19090\n",
        &format!("bind_port = 19090\n{pair}client_certificate = \"request\"\n"),
    );
    let lines = errors(&format!("{management}{PIPELINE}"));
    let expected = "client_certificate has no meaning on the network of the Management API";
    assert!(
        lines.iter().any(|line| line.contains(expected)),
        "{lines:#?}"
    );
}
