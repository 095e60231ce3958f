//! Pipelines, endpoints, and steps as a chain.

use super::*;

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
            "service = \"http\"\nhosts = [\"*example\"]",
            "\"*example\" is not a host name",
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
