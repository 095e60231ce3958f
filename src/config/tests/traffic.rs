//! `cors` and `headers` steps, and backends that split traffic.

use super::*;

fn step(step: &str) -> String {
    with_listed("[\"s\"]", step, "")
}

fn with_listed(list: &str, step: &str, more: &str) -> String {
    let pipeline = PIPELINE.replace("middleware = []", &format!("middleware = {list}"));
    format!("{BASE}{pipeline}[middleware.s]\n{step}\n{more}")
}

fn cors(config: &str) -> String {
    step(&format!("type = \"cors\"\nconfig = {{ {config} }}"))
}

fn headers(config: &str) -> String {
    step(&format!("type = \"headers\"\nconfig = {{ {config} }}"))
}

fn warnings(text: &str) -> Vec<String> {
    let notes = ok(text).notes.into_iter().filter(|note| note.warning);
    notes
        .map(|note| note.text)
        .filter(|text| !text.contains("is open"))
        .collect()
}

#[test]
fn origins_as_browsers_write_them() {
    let config = ok(&cors(
        "allow_origins = [\"HTTPS://App.Example:443\", \"http://a.example:80\", \
         \"https://*.Apps.example:8443\", \"http://[::1]:3000\", \"capacitor://localhost\"]",
    ));
    let StepKind::Cors(cors) = &config.pipelines[0].steps[0].kind else {
        panic!("{:?}", config.pipelines[0].steps);
    };
    for origin in [
        "https://app.example",
        "http://a.example",
        "https://x.apps.example:8443",
        "http://[::1]:3000",
        "capacitor://localhost",
    ] {
        assert!(cors.origins.allow(origin.as_bytes()), "{origin}: {cors:?}");
    }
    assert!(!cors.origins.allow(b"https://x.apps.example"));
}

#[test]
fn cors_refusals() {
    let origins = "allow_origins = [\"https://a.example\"]";
    for (text, want) in [
        (cors(""), "allow_origins: is missing"),
        (cors("allow_origins = []"), "is empty"),
        (
            cors("allow_origins = [\"*\"], allow_credentials = true"),
            "does not go with",
        ),
        (
            cors(&format!(
                "{origins}, allow_credentials = true, allow_headers = [\"*\"]"
            )),
            "\"*\"",
        ),
        (
            cors(&format!(
                "{origins}, allow_credentials = true, allow_methods = [\"*\"]"
            )),
            "\"*\"",
        ),
        (
            cors(&format!(
                "{origins}, allow_credentials = true, expose_headers = [\"*\"]"
            )),
            "\"*\"",
        ),
        (
            cors("allow_origins = [\"*\", \"https://a.example\"]"),
            "stands beside other origins",
        ),
        (
            cors(&format!("{origins}, max_age_secs = 86401")),
            "must be from 0 to 86400",
        ),
        (
            cors(&format!("{origins}, allow_header = []")),
            "unknown key \"allow_header\"",
        ),
        (
            cors(&format!("{origins}, allow_headers = [\"a b\"]")),
            "is not a header name",
        ),
        (
            cors(&format!("{origins}, enforce = false")),
            "has no shadow",
        ),
    ] {
        one_error(&text, want);
    }
    for origin in [
        "null",
        "a.example",
        "https://",
        "https://a.example/",
        "https://a.example/x",
        "https://*",
        "https://*.",
        "https://*.10.0.0.1",
        "https://*.[::1]",
        "https://a.*.example",
        "https://*a.example",
        "https://u@a.example",
        "https://a.example?",
        "//a.example",
    ] {
        one_error(
            &cors(&format!("allow_origins = [\"{origin}\"]")),
            "is not an origin",
        );
    }
}

#[test]
fn a_cors_step_stands_before_whoever_authenticates() {
    let s = "type = \"cors\"\nconfig = { allow_origins = [\"https://a.example\"], allow_headers = \
             [\"authorization\"] }";
    assert!(warnings(&with_listed("[\"s\", \"jwt\"]", s, JWT)).is_empty());
    one_error(
        &with_listed("[\"jwt\", \"s\"]", s, JWT),
        "stands behind step \"jwt\"",
    );
    let second = format!("{JWT}[middleware.t]\n{s}\n");
    one_error(
        &with_listed("[\"s\", \"t\", \"jwt\"]", s, &second),
        "are both of type cors",
    );
    for headers in [
        "",
        ", allow_headers = [\"*\"]",
        ", allow_headers = [\"x-other\"]",
    ] {
        let s = format!(
            "type = \"cors\"\nconfig = {{ allow_origins = [\"https://a.example\"]{headers} }}"
        );
        let told = warnings(&with_listed("[\"s\", \"jwt\"]", &s, JWT));
        assert!(
            told.len() == 1 && told[0].contains("no page can send"),
            "{told:?}"
        );
    }
}

/// Wherever an `introspection` step reads its token, too.
#[test]
fn the_header_of_an_opaque_token_is_a_credential() {
    let reader = "[middleware.op]\ntype = \"introspection\"\n[middleware.op.config]\n\
                  introspection_url = \"https://a.example/i\"\naudience = \"a\"\n\
                  client_id = \"edge\"\nclient_secret = \"${LONG}\"\ntoken_header = \"X-Token\"\n";
    let cors = "type = \"cors\"\nconfig = { allow_origins = [\"https://a.example\"], \
                allow_headers = [\"x-token\"] }";
    assert!(warnings(&with_listed("[\"s\", \"op\"]", cors, reader)).is_empty());
    let headers = "type = \"headers\"\nconfig = { request = { set = { X-Token = \"x\" } } }";
    one_error(
        &with_listed("[\"s\", \"op\"]", headers, reader),
        "where step \"op\" reads a credential",
    );
}

#[test]
fn no_rule_touches_what_is_not_the_applications() {
    for name in [
        "X-Auth-Subject",
        "x_auth_anything",
        "X!Auth!Method",
        "Client-Cert",
        "Content-Length",
        "Transfer-Encoding",
        "transfer_encoding",
        "Trailer",
        "Connection",
        "Keep-Alive",
        "TE",
        "Upgrade",
        "Proxy-Connection",
        "Host",
        "Via",
        "Forwarded",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "X-Forwarded-Anything",
        "X.Forwarded.Proto",
        "Authorization",
        "Proxy-Authorization",
        "proxy_authorization",
        "Cookie",
        "DPoP",
        "traceparent",
        "TraceState",
    ] {
        for change in [
            format!("set = {{ \"{name}\" = \"x\" }}"),
            format!("add = {{ \"{name}\" = \"x\" }}"),
            format!("remove = [\"{name}\"]"),
        ] {
            for side in ["request", "response"] {
                let text = headers(&format!("{side} = {{ {change} }}"));
                one_error(&text, "no rule may change it");
            }
        }
    }
    ok(&headers(
        "request = { set = { X-Forward = \"a\", X-Real-IP = \"{client_ip}\" } }",
    ));
}

#[test]
fn header_rule_refusals() {
    for (text, want) in [
        (headers(""), "changes nothing"),
        (
            headers("request = { set = { X-A = \"{user}\" } }"),
            "placeholder that is not known",
        ),
        (
            headers("request = { set = { X-A = \"a{\" } }"),
            "placeholder that is not known",
        ),
        (
            headers("request = { set = { X-A = \"é\" } }"),
            "is not the value of a header",
        ),
        (
            headers("request = { set = { X-A = \" a\" } }"),
            "is not the value of a header",
        ),
        (
            headers("request = { set = { \"X A\" = \"a\" } }"),
            "its key is not a header name",
        ),
        (
            headers("request = { set = { X-A = \"a\", x-a = \"b\" } }"),
            "is there twice",
        ),
        (
            headers("request = { set = { X-A = 1 } }"),
            "expected a string",
        ),
        (
            headers("request = { set = { X-B = \"b\" }, sets = { X-A = \"a\" } }"),
            "unknown key \"sets\"",
        ),
        (
            headers("response = { remove = [\"a b\"] }"),
            "is not a header name",
        ),
        (
            headers("security_headers = true, enforce = false"),
            "has no shadow",
        ),
    ] {
        one_error(&text, want);
    }
    let text = headers("request = { set = { X-A = \"{subject}\" } }");
    let told = warnings(&text);
    assert!(
        told.len() == 1 && told[0].contains("is never sent"),
        "{told:?}"
    );
}

#[test]
fn no_rule_touches_the_names_of_credentials_and_claims() {
    let key = "[middleware.key]\ntype = \"api-key\"\nconfig = { keys = \
               [\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"] }\n";
    for name in ["X-API-Key", "x_api_key"] {
        let s = format!("type = \"headers\"\nconfig = {{ request = {{ remove = [\"{name}\"] }} }}");
        one_error(
            &with_listed("[\"key\", \"s\"]", &s, key),
            "where step \"key\" reads a credential",
        );
    }
    let claims = JWT.replace(
        "audience = \"a\"",
        "audience = \"a\", claims_to_headers = { t = \"X-Team\" }",
    );
    let s = "type = \"headers\"\nconfig = { request = { set = { X_Team = \"a\" } } }";
    let other = format!(
        "{claims}[pipelines.q]\nnetworks = [\"public\"]\nendpoints = [\"f\"]\nmiddleware = \
         [\"jwt\"]\nbackends = [\"b\"]\n[endpoints.f]\nservice = \"http\"\npath_prefix = \"/f\"\n"
    );
    one_error(
        &with_listed("[\"s\"]", s, &other),
        "claims_to_headers fills it",
    );
}

#[test]
fn claims_are_kept_where_a_header_reads_them() {
    let kept = |value: &str| {
        let s = format!(
            "type = \"headers\"\nconfig = {{ request = {{ set = {{ X-A = \"{value}\" }} }} }}"
        );
        let config = ok(&with_listed("[\"jwt\", \"s\"]", &s, JWT));
        match &config.pipelines[0].steps[0].kind.auth().unwrap().settings {
            AuthSettings::Jwt(jwt) => jwt.rules.keeps_claims,
            other => panic!("{other:?}"),
        }
    };
    assert!(kept("{claim:team}") && !kept("{subject}"));
}

#[test]
fn how_backends_split_traffic() {
    let backends = |one: &str, two: &str| {
        let pipeline = PIPELINE.replace("backends = [\"b\"]", "backends = [\"b\", \"c\"]");
        format!("{BASE}{pipeline}{one}\n[backends.c]\nservice = \"echo\"\n{two}\n")
    };
    let when = "when = { header = \"X-Canary\", value = \"1\" }";
    let config = ok(&backends("", when));
    let [one, two] = &config.pipelines[0].backends[..] else {
        panic!("{:?}", config.pipelines[0].backends);
    };
    assert!(one.shares() && !two.shares());
    for (one, two, want) in [
        (when, when, "a request that fits none has nowhere to go"),
        (
            "weight = 0",
            when,
            "a request that fits none has nowhere to go",
        ),
        ("", "weight = 1001", "must be from 0 to 1000"),
        ("", "when = { header = \"X-A\" }", "value: is missing"),
        (
            "",
            "when = { value = \"1\" }",
            "needs either `header` or `cookie`",
        ),
        (
            "",
            "when = { header = \"X-A\", cookie = \"a\", value = \"1\" }",
            "needs either",
        ),
        (
            "",
            "when = { header = \"X-A\", values = \"1\", value = \"1\" }",
            "unknown key",
        ),
        (
            "",
            "when = { cookie = \"a=b\", value = \"1\" }",
            "is not the name of a cookie",
        ),
        (
            "",
            "when = { header = \"X-Auth-Subject\", value = \"1\" }",
            "decides nothing here",
        ),
        (
            "",
            "when = { header = \"X_Forwarded_For\", value = \"1\" }",
            "decides nothing here",
        ),
        (
            "",
            "when = { header = \"Host\", value = \"1\" }",
            "decides nothing here",
        ),
        (
            "",
            "when = { header = \"Authorization\", value = \"1\" }",
            "decides nothing here",
        ),
    ] {
        let lines = errors(&backends(one, two));
        assert!(
            lines.iter().any(|line| line.contains(want)),
            "{two}: {lines:?}"
        );
    }
    let told = warnings(&backends("", &format!("{when}\nweight = 5")));
    assert!(
        told.len() == 1 && told[0].contains("has no effect beside `when`"),
        "{told:?}"
    );
    let told = warnings(&backends("", "weight = 0"));
    assert!(
        told.len() == 1 && told[0].contains("gets no requests"),
        "{told:?}"
    );
}
