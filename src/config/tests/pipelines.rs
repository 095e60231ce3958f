//! Pipelines, endpoints, and steps as a chain.

use super::*;

fn with_steps(list: &str, steps: &str) -> String {
    format!(
        "{BASE}{}{steps}",
        PIPELINE.replace("middleware = []", &format!("middleware = {list}"))
    )
}

/// A `jwt-auth` step with more keys.
fn jwt(name: &str, keys: &str) -> String {
    JWT.replace("middleware.jwt", &format!("middleware.{name}")) + keys + "\n"
}

#[test]
fn a_pipeline_is_whole() {
    let config = ok(&with_steps("[\"jwt\"]", JWT).replace(
        "service = \"http\"",
        "service = \"http\
         \"\nhosts = [\"API.example\"]\noptions = { path_prefix = \"/api/\", methods = [\"get\", \
         \"POST\"], max_body_size = 9 }",
    ));
    let pipeline = &config.pipelines[0];
    assert_eq!(
        (
            &*pipeline.name,
            &*pipeline.networks[0],
            pipeline.steps.len()
        ),
        ("p", "public", 1)
    );
    let endpoint = &pipeline.endpoints[0];
    assert_eq!(
        (endpoint.path_prefix.as_str(), endpoint.max_body_size),
        ("/api", 9)
    );
    assert_eq!(
        (endpoint.hosts.clone(), endpoint.methods.len()),
        (vec!["api.example".to_owned()], 2)
    );
    assert!(matches!(pipeline.backends[0].target, BackendTarget::Echo));
    let plain = ok(&format!("{BASE}{PIPELINE}"));
    let endpoint = &plain.pipelines[0].endpoints[0];
    assert_eq!(
        (
            endpoint.path_prefix.as_str(),
            endpoint.max_body_size,
            endpoint.methods.len()
        ),
        ("/", 10 * 1024 * 1024, 0)
    );
    assert!(plain.pipelines[0].steps.is_empty());
    let limited = ok(&format!("{BASE}{PIPELINE}").replace(
        "id = \"edge-1\"",
        "id = \"e\"\ncontent_limits.max_body_size = 5",
    ));
    assert_eq!(limited.pipelines[0].endpoints[0].max_body_size, 5);
}

#[test]
fn how_a_pipelines_servers_read_paths() {
    let with = |pipeline: &str, endpoint: &str| {
        let pipeline = format!("{pipeline}\nbackends = [\"b\"]");
        let endpoint = format!("[endpoints.e]\n{endpoint}\n");
        let text = PIPELINE.replace("backends = [\"b\"]", &pipeline);
        format!("{BASE}{}", text.replace("[endpoints.e]\n", &endpoint))
    };
    let read = |pipeline: &str, endpoint: &str| {
        let config = ok(&with(pipeline, endpoint));
        let pipeline = &config.pipelines[0];
        (
            pipeline.case_sensitive_paths,
            pipeline.reject_encoded_slashes,
            pipeline.endpoints[0].prefix_boundary,
        )
    };
    assert_eq!(read("", ""), (false, false, PrefixBoundary::Segment));
    assert_eq!(
        read(
            "case_sensitive_paths = true\nencoded_slashes = \"reject\"",
            "options = { prefix_boundary = \"word\" }"
        ),
        (true, true, PrefixBoundary::Word)
    );
    assert_eq!(
        read(
            "case_sensitive_paths = false\nencoded_slashes = \"keep\"",
            "prefix_boundary = \"segment\""
        ),
        (false, false, PrefixBoundary::Segment)
    );
    for (pipeline, endpoint, want) in [
        ("case_sensitive_paths = \"yes\"", "", "case_sensitive_paths"),
        (
            "encoded_slashes = \"rejects\"",
            "",
            "did you mean \"reject\"",
        ),
        ("encoded_slashes = true", "", "encoded_slashes"),
        ("", "prefix_boundary = \"words\"", "did you mean \"word\""),
        ("prefix_boundary = \"word\"", "", "prefix_boundary"),
    ] {
        let lines = errors(&with(pipeline, endpoint));
        assert!(lines.len() == 1 && lines[0].contains(want), "{lines:?}");
    }
}

#[test]
fn an_echo_endpoint_needs_no_backend() {
    let text = format!("{BASE}{}", PIPELINE.replace("backends = [\"b\"]\n", ""));
    assert!(errors(&text)[0].contains("pipelines.p.backends: is missing"));
    assert!(
        ok(&text.replace("\"http\"", "\"echo\"")).pipelines[0]
            .backends
            .is_empty()
    );
}

#[test]
fn pipeline_refusals() {
    let text = format!("{BASE}{PIPELINE}");
    for (from, to, want) in [
        (
            "networks = [\"public\"]",
            "",
            "13: pipelines.p.networks: is missing",
        ),
        (
            "networks = [\"public\"]",
            "networks = []",
            "14: pipelines.p.networks: is empty",
        ),
        (
            "networks = [\"public\"]",
            "networks = \"public\"",
            "14: pipelines.p.networks: expected an array, found a string",
        ),
        (
            "networks = [\"public\"]",
            "networks = [\"public\", \"public\"]",
            "\"public\" is named twice",
        ),
        (
            "networks = [\"public\"]",
            "networks = [\"management\"]",
            "14: pipelines.p.networks: network \"management\" is that of the Management API",
        ),
        (
            "endpoints = [\"e\"]",
            "endpoints = [\"f\"]",
            "15: pipelines.p.endpoints: unknown endpoint \"f\"; did you mean \"e\"?",
        ),
        (
            "backends = [\"b\"]",
            "backends = [\"bb\"]",
            "17: pipelines.p.backends: unknown backend \"bb\"; did you mean \"b\"?",
        ),
        (
            "backends = [\"b\"]",
            "backends = [\"b\"]\nmesh = {}",
            "18: pipelines.p.mesh: a mesh is not something",
        ),
        (
            "backends = [\"b\"]",
            "backends = [\"b\"]\nmidleware = []",
            "18: pipelines.p.midleware: unknown key \"midleware\"; did you mean \"middleware\"?",
        ),
        (
            "service = \"http\"",
            "service = \"htpp\"",
            "19: endpoints.e.service: unknown service \"htpp\"; did you mean \"http\"?",
        ),
        (
            "service = \"http\"",
            "",
            "18: endpoints.e.service: is missing",
        ),
        (
            "service = \"http\"",
            "service = \"http\"\nmethods = [\"TRACE\"]",
            "20: endpoints.e.methods: \"TRACE\" is never served",
        ),
        (
            "service = \"http\"",
            "service = \"http\"\nhosts = [\"*.example\"]",
            "\"*.example\" is not a host name",
        ),
        (
            "service = \"http\"",
            "service = \"http\"\npath_prefix = \"/a\"\noptions.path_prefix = \"/b\"",
            "`path_prefix` is defined twice",
        ),
        (
            "service = \"echo\"",
            "service = \"dicom_scu\"\nanything = 1",
            "21: backends.b.service: the service \"dicom_scu\" is not something",
        ),
    ] {
        let lines = errors(&text.replacen(from, to, 1));
        assert!(
            lines.len() == 1 && lines[0].contains(want),
            "{to}\nwant {want}\ngot {lines:#?}"
        );
    }
    let socket = text.replace(
        "bind_address = \"127.0.0.1\"\nbind_port = 18080",
        "bind_address = \"unix:/x\"",
    );
    assert!(errors(&socket)[0].contains("is a Unix socket"));
}

#[test]
fn steps_that_are_not_served() {
    for (kind, want) in [
        (
            "transform",
            "the step \"transform\" is not something that an HTTP edge does; the edge does not \
             touch bodies",
        ),
        ("webhook", "the step \"webhook\" is not something"),
        (
            "json_extractor",
            "the step \"json_extractor\" is not something",
        ),
        (
            "jwt-aut",
            "unknown step type \"jwt-aut\"; did you mean \"jwt-auth\"?",
        ),
    ] {
        refused(
            &format!("[middleware.m]\ntype = \"{kind}\"\nfoo = 1\noptions = {{ bar = [] }}\n"),
            want,
        );
    }
    refused(
        "[middleware.m]\nissuer = \"i\"\n",
        "12: middleware.m.type: is missing",
    );
    refused(
        "[middleware.m]\ntype = \"passthru\"\nfoo = 1\n",
        "14: middleware.m.foo: unknown key",
    );
    refused(
        "[middleware.m]\ntype = \"passthru\"\nauthentication = \"authentications.x\"\n",
        "has no meaning on a step that does not authenticate",
    );
}

#[test]
fn sides_and_bare_names() {
    let config = ok(&with_steps(
        "{ left = [\"jwt\"], right = [\"passthru\"] }",
        JWT,
    ));
    assert_eq!(config.pipelines[0].steps.len(), 1);
    assert_eq!(
        config.notes,
        [Note {
            warning: false,
            text: "conf/h.toml:16: pipelines.p.middleware\
    .right: ignored: an edge has no steps on the response"
                .into()
        }]
    );
    let lines = errors(&with_steps(
        "{ left = [\"jwt\"], right = [\"x\"], lef = [] }",
        JWT,
    ));
    assert!(
        lines.len() == 2
            && lines
                .iter()
                .any(|line| line.contains("did you mean \"left\"?")),
        "{lines:?}"
    );
    let config = ok(&with_steps("[\"passthru\"]", ""));
    assert!(matches!(
        config.pipelines[0].steps[0].kind,
        StepKind::Passthru
    ));
}

#[test]
fn groups_are_whole() {
    let optional = jwt("a", "optional = true");
    let required = jwt("b", "");
    let pass = "[middleware.x]\ntype = \"passthru\"\n";
    for (list, want) in [
        ("[\"a\", \"b\"]", None),
        ("[\"x\", \"a\", \"b\", \"x\"]", None),
        ("[\"b\", \"x\", \"a\"]", None),
        (
            "[\"a\", \"x\", \"b\"]",
            Some("step \"x\" splits the group that the optional step \"a\" begins"),
        ),
        ("[\"a\", \"x\"]", None),
    ] {
        let text = with_steps(list, &format!("{optional}{required}{pass}"));
        match want {
            None => drop(ok(&text)),
            Some(want) => assert!(errors(&text)[0].contains(want), "{list}"),
        }
    }
    let falling = jwt("f", "optional = true\nfallback_on = \"failed\"");
    ok(&with_steps(
        "[\"f\", \"b\"]",
        &format!("{falling}{required}"),
    ));
    let lines = errors(&with_steps(
        "[\"b\", \"f\"]",
        &format!("{falling}{required}"),
    ));
    assert!(
        lines.len() == 1
            && lines[0]
                .starts_with("16: pipelines.p.middleware: step \"f\" is the last of its group"),
        "{lines:?}"
    );
    let lines = errors(&with_steps(
        "[\"f\", \"b\"]",
        &format!(
            "{}{required}",
            falling.replace("optional = true", "optional = false")
        ),
    ));
    assert!(
        lines[0].contains("step \"f\" is the last of its group"),
        "{lines:?}"
    );
}

#[test]
fn the_chain_of_the_main_file() {
    let entry = "[[middleware]]\ntype = \"jwt-auth\"\noptional = true\n\
                 config = { jwks_url = \"https://h/\", issuer = \"i\", audience = \"a\" }\n";
    let chain = format!(
        "{entry}{}",
        entry.replace("optional = true", "name = \"second\"")
    );
    let config = ok(&format!("{BASE}{}{chain}", silent_pipeline()));
    assert_eq!(
        config.pipelines[0]
            .steps
            .iter()
            .map(|step| &*step.name)
            .collect::<Vec<_>>(),
        ["middleware[0]", "second"]
    );
    assert!(ok(&with_steps("[]", &chain)).pipelines[0].steps.is_empty());
    assert_eq!(
        ok(&with_steps("[\"second\"]", &chain)).pipelines[0]
            .steps
            .len(),
        1
    );
    let lines = errors(&format!(
        "{BASE}{}{}",
        silent_pipeline(),
        chain.replace("audience", "audiance")
    ));
    assert!(
        lines.len() == 2 && lines[1].starts_with("28: middleware[1].config.audiance: unknown key"),
        "{lines:?}"
    );
}

#[test]
fn the_check_of_an_endpoint_comes_first() {
    let table = "[authentications.x]\nmethod = \"jwt\"\njwks_url = \"https://h/\"\n\
                 issuer = \"i\"\naudience = \"a\"\n";
    let text = with_steps("[\"passthru\"]", table).replace(
        "[endpoints.e]",
        "[endpoints.e]\nauthentication = \"authentications.x\"",
    );
    let config = ok(&text);
    assert_eq!(
        config.pipelines[0]
            .steps
            .iter()
            .map(|step| &*step.name)
            .collect::<Vec<_>>(),
        ["authentications.x", "passthru"]
    );
    let lines = errors(
        &(text.replace("[\"e\"]", "[\"e\", \"f\"]")
            + "[endpoints.f]\nservice = \"http\"\npath_prefix = \"/f\"\n"),
    );
    assert!(
        lines.len() == 1 && lines[0].contains("its endpoints differ in `authentication`"),
        "{lines:?}"
    );
}

#[test]
fn one_place_belongs_to_one_pipeline() {
    let second = |keys: &str| {
        format!(
            "{BASE}{PIPELINE}[pipelines.q]\nnetworks = [\"public\"]\nendpoints = [\"f\"]\n\
             middleware = []\nbackends = [\"b\"]\n[endpoints.f]\nservice = \"http\"\n{keys}\n"
        )
    };
    let lines = errors(&second(""));
    assert_eq!(
        lines,
        [
            "22: pipelines.q: endpoint \"f\" claims \"/\" on network \"public\", and so does \
             endpoint \"e\" of pipeline \"p\"; give one of them another path_prefix, hosts or \
             methods"
        ]
    );
    assert_eq!(errors(&second("methods = [\"GET\"]")).len(), 1);
    let preflight = ok(&second("methods = [\"options\"]"));
    assert_eq!(preflight.pipelines.len(), 2);
    ok(&second("").replacen(
        "service = \"http\"",
        "service = \"http\"\nmethods = [\"OPTIONS\"]",
        1,
    ));
    for clash in ["\"OPTIONS\", \"GET\"", "\"GET\", \"OPTIONS\""] {
        assert_eq!(
            errors(&second(&format!("methods = [{clash}]"))).len(),
            1,
            "{clash}"
        );
    }
    let both = second("methods = [\"OPTIONS\"]");
    let both = both.replacen("\"http\"", "\"http\"\nmethods = [\"OPTIONS\", \"GET\"]", 1);
    assert_eq!(errors(&both).len(), 1);
    ok(&second("path_prefix = \"/f\""));
    ok(&second("hosts = [\"a.example\"]"));
    ok(&second("methods = [\"GET\"]").replacen(
        "service = \"http\"",
        "service = \"http\"\nmethods = [\"POST\"]",
        1,
    ));
    assert!(
        errors(&second("hosts = [\"A.example\"]").replacen(
            "service = \"http\"",
            "service = \"http\"\nhosts = [\"a.example\"]",
            1
        ))[0]
            .contains("of host \"a.example\"")
    );
}
