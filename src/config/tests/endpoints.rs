//! Endpoints: hosts with wildcards, prefixes, redirects.

use super::*;

fn with(endpoint: &str) -> String {
    format!("{BASE}{PIPELINE}").replace(
        "[endpoints.e]\nservice = \"http\"\n",
        &format!("[endpoints.e]\n{endpoint}\n"),
    )
}

fn redirect(options: &str) -> String {
    with(&format!(
        "service = \"redirect\"\noptions = {{ {options} }}"
    ))
    .replace("backends = [\"b\"]\n", "")
    .replace("middleware = []\n", "")
}

#[test]
fn hosts_may_be_wildcards() {
    let hosts = |list: &str| {
        let config = ok(&with(&format!("service = \"http\"\nhosts = {list}")));
        config.pipelines[0].endpoints[0].hosts.clone()
    };
    assert_eq!(
        hosts("[\"A.example\", \"*.Example.com\", \"*.localhost\"]"),
        ["a.example", "*.example.com", "*.localhost"]
    );
    for wrong in [
        "*",
        "*.",
        "*example.com",
        "a.*.com",
        "*.*.com",
        "**.com",
        "*.10.0.0.1",
    ] {
        let text = with(&format!("service = \"http\"\nhosts = [\"{wrong}\"]"));
        one_error(&text, "is not a host name");
    }
    let twice = with("service = \"http\"\nhosts = [\"*.example.com\", \"*.EXAMPLE.com\"]");
    one_error(&twice, "is named twice");
    // Nothing but the Management API's own names can speak to it.
    let managed = BASE.replace(
        "network = \"management\"",
        "network = \"management\"\nhosts = [\"*.example.com\"]",
    );
    one_error(&format!("{managed}{PIPELINE}"), "is not a host name");
}

#[test]
fn two_pipelines_may_share_a_wildcard_and_a_name_below_it() {
    let second = "[pipelines.q]\nnetworks = [\"public\"]\nendpoints = [\"f\"]\nmiddleware = []\n\
                  backends = [\"b\"]\n[endpoints.f]\nservice = \"http\"\nhosts = ";
    let first = with("service = \"http\"\nhosts = [\"*.example.com\"]");
    for host in ["a.example.com", "*.a.example.com", "*.com"] {
        ok(&format!("{first}{second}[\"{host}\"]\n"));
    }
    let same = format!("{first}{second}[\"*.example.com\"]\n");
    one_error(&same, "claims \"/\" of host \"*.example.com\"");
}

#[test]
fn a_prefix_may_be_added() {
    let added = |options: &str| {
        let config = ok(&with(&format!(
            "service = \"http\"\noptions = {{ {options} }}"
        )));
        config.pipelines[0].endpoints[0].add_prefix.clone()
    };
    assert_eq!(added("path_prefix = \"/a\""), "/");
    assert_eq!(added("path_prefix = \"/a\", add_prefix = \"/v1/\""), "/v1");
    for wrong in ["v1", "/a/../b", "/a//b", "/a?b"] {
        let text = with(&format!(
            "service = \"http\"\noptions = {{ add_prefix = \"{wrong}\" }}"
        ));
        one_error(&text, "endpoints.e.options.add_prefix");
    }
}

#[test]
fn a_redirect_needs_neither_backends_nor_steps() {
    let chain = "[[middleware]]\ntype = \"jwt-auth\"\nconfig = { jwks_url = \
                 \"https://a.example/jwks\", issuer = \"i\", audience = \"a\" }\n";
    for chain in ["", chain] {
        let config = ok(&format!(
            "{}{chain}",
            redirect("to = \"https://new.example{path}\"")
        ));
        let pipeline = &config.pipelines[0];
        assert!(pipeline.steps.is_empty() && pipeline.backends.is_empty());
        assert_eq!(pipeline.open(), None);
        let open = config.notes.iter().any(|note| note.text.contains("open"));
        assert!(!open, "{:?}", config.notes);
        let Service::Redirect(redirect) = &pipeline.endpoints[0].service else {
            panic!("{:?}", pipeline.endpoints[0]);
        };
        assert_eq!(redirect.to_string(), "308 https://new.example{path}");
    }
    let status = ok(&redirect("to = \"/new{path}\", status = 302"));
    let Service::Redirect(redirect) = &status.pipelines[0].endpoints[0].service else {
        panic!("{:?}", status.pipelines[0].endpoints[0]);
    };
    assert_eq!(redirect.status, 302);
}

#[test]
fn redirect_refusals() {
    let to = "to = \"https://new.example{path}\"";
    for (text, want) in [
        (redirect(""), "endpoints.e.to: is missing"),
        (
            redirect("to = \"https://{host}{path}\""),
            "the endpoint names no hosts",
        ),
        (
            redirect("to = \"https://{path}\""),
            "neither a URL nor a path",
        ),
        (redirect("to = \"//{path}\""), "neither a URL nor a path"),
        (
            redirect("to = \"https://new.example{uri}\""),
            "placeholder that is not known",
        ),
        (
            redirect(&format!("{to}, status = 303")),
            "is not the status of a redirect",
        ),
        (
            redirect(&format!("{to}, status = 200")),
            "is not the status of a redirect",
        ),
        (
            redirect(&format!("{to}, strip_prefix = true")),
            "has no use in a redirect",
        ),
        (
            redirect(&format!("{to}, add_prefix = \"/x\"")),
            "has no use in a redirect",
        ),
        (redirect(&format!("{to}, tos = 1")), "unknown key \"tos\""),
        (
            with("service = \"http\"\nto = \"/x\""),
            "unknown key \"to\"",
        ),
        (
            redirect(to).replace(
                "endpoints = [\"e\"]",
                "endpoints = [\"e\"]\nmiddleware = []\nbackends = [\"b\"]",
            ),
            "pipelines.p.backends: a pipeline of redirect endpoints has no backends",
        ),
        (
            with(&format!(
                "service = \"redirect\"\n{to}\n[endpoints.f]\nservice = \"http\"\n\
                 path_prefix = \"/f\""
            ))
            .replace("endpoints = [\"e\"]", "endpoints = [\"e\", \"f\"]"),
            "endpoint \"e\" is of service redirect, endpoint \"f\" of http",
        ),
        (
            format!("{BASE}{PIPELINE}").replace("\"echo\"", "\"redirect\""),
            "unknown service \"redirect\"",
        ),
    ] {
        one_error(&text, want);
    }
    ok(&redirect(
        "to = \"https://{host}{path}\", hosts = [\"old.example\"]",
    ));
    ok(&redirect(
        "to = \"https://{host}{path}\", hosts = [\"*.old.example\"]",
    ));
}
