//! TLS on listeners and to upstreams, and the step `mutual-tls`. What is in the files does not
//! count here: any file does.

use super::*;

/// A network with TLS that asks for certificates, and a pipeline with a step on it.
fn with_step(network: &str, step: &str) -> String {
    format!(
        "{BASE}[network.x.http]\nbind_port = 1\n{network}\n[pipelines.p]\nnetworks = [\"x\"]\n\
         endpoints = [\"e\"]\nmiddleware = [\"m\"]\n\
         [endpoints.e]\nservice = \"echo\"\n[middleware.m]\ntype = \"mutual-tls\"\n{step}"
    )
}

const PAIR: &str = "cert_path = \"harmony.toml\"\nkey_path = \"reference.toml\"\n";
const ASKS: &str = "cert_path = \"harmony.toml\"\nkey_path = \"reference.toml\"\n\
                    client_ca_path = \"harmony.toml\"\n";

#[test]
fn how_many_connections_a_listener_takes() {
    let with =
        |value: &str| format!("{BASE}[network.x.http]\nbind_port = 1\nmax_connections = {value}\n");
    let config = ok(&with("7"));
    let limits = config.networks.iter().map(|it| it.max_connections);
    assert_eq!(limits.collect::<Vec<_>>(), [None, None, Some(7)]);
    for value in ["0", "1000001", "\"many\""] {
        one_error(&with(value), "network.x.http.max_connections");
    }
}

#[test]
fn what_a_listener_holds_its_clients_to() {
    let with = |line: &str| format!("{BASE}[network.x.http]\nbind_port = 1\n{line}\n");
    let limits = |line: &str| {
        let config = ok(&with(line));
        let network = &config.networks[2];
        (network.max_connections_per_address, network.min_body_rate)
    };
    assert_eq!(limits(""), (5_000, 240));
    assert_eq!(
        limits("max_connections_per_address = 0\nmin_body_rate = 0"),
        (0, 0)
    );
    assert_eq!(
        limits("max_connections_per_address = 7\nmin_body_rate = 1000"),
        (7, 1000)
    );
    for line in [
        "max_connections_per_address = -1",
        "max_connections_per_address = 1000001",
        "min_body_rate = -1",
        "min_body_rate = \"240\"",
    ] {
        let key = line.split(' ').next().unwrap();
        one_error(&with(line), &format!("network.x.http.{key}"));
    }
}

#[test]
fn certificates_of_a_listener() {
    let text = format!(
        "{BASE}[network.x.http]\nbind_port = 1\n{ASKS}certificates = [{{ cert_path = \
         \"reference.toml\", key_path = \"harmony.toml\" }}]\n"
    );
    let config = ok(&text);
    let tls = config.networks[2].tls.as_ref().unwrap();
    let (one, other) = (
        Path::new("conf/harmony.toml"),
        Path::new("conf/reference.toml"),
    );
    let files: Vec<_> = tls
        .certificates
        .iter()
        .map(|files| (&*files.cert_path, &*files.key_path))
        .collect();
    assert_eq!(files, [(one, other), (other, one)]);
    assert_eq!(tls.client_ca_path.as_deref(), Some(one));
    assert!(
        config.files.iter().any(|file| file == other),
        "the watcher hears of it"
    );
    assert_eq!(config.networks[0].tls, None);
}

#[test]
fn listener_refusals() {
    for (keys, want) in [
        (
            "cert_path = \"harmony.toml\"",
            "network.x.http.key_path: is missing",
        ),
        (
            "key_path = \"harmony.toml\"",
            "network.x.http.cert_path: is missing",
        ),
        ("certificates = []", "network.x.http.certificates: is empty"),
        (
            "certificates = [{}]",
            "network.x.http.certificates[0].cert_path: is missing",
        ),
        (
            "certificates = [{ cert_path = \"harmony.toml\", key_pat = \"harmony.toml\" }]",
            "did you mean \"key_path\"?",
        ),
        (
            "client_ca_path = \"harmony.toml\"",
            "has no meaning on a listener without TLS",
        ),
        ("force_https = \"yes\"", "expected a boolean"),
        ("force_https = 0", "must be from 1 to 65535"),
    ] {
        let lines = errors(&format!("{BASE}[network.x.http]\nbind_port = 1\n{keys}\n"));
        assert!(
            lines.iter().any(|line| line.contains(want)),
            "{keys}: {lines:#?}"
        );
    }
    let none = format!("{BASE}[network.x.http]\nbind_port = 1\n{PAIR}")
        .replace("harmony.toml", "none.pem");
    assert!(errors(&none)[0].contains("network.x.http.cert_path: conf/none.pem cannot be read: "));
    refused(
        &format!("[network.x.http]\nbind_address = \"unix:/x\"\n{PAIR}"),
        "network.x.http: a Unix socket has no TLS",
    );
}

#[test]
fn https_is_forced_to_the_port_that_speaks_it() {
    let networks = |forced: &str, ports: &[u16]| {
        let tls: String = ports
            .iter()
            .map(|port| format!("[network.tls{port}.http]\nbind_port = {port}\n{PAIR}"))
            .collect();
        format!("{BASE}[network.x.http]\nbind_port = 1\nforce_https = {forced}\n{tls}")
    };
    for (forced, ports, expected) in [
        ("true", &[][..], Some(443)),
        ("true", &[8443], Some(8443)),
        ("true", &[8443, 443], Some(443)),
        ("9443", &[8443, 7443], Some(9443)),
        ("false", &[8443], None),
    ] {
        let config = ok(&networks(forced, ports));
        assert_eq!(
            config.networks[2].https_port, expected,
            "{forced} {ports:?}"
        );
    }
    one_error(
        &networks("true", &[8443, 7443]),
        "force_https = true is ambiguous",
    );
    let itself = ok(&format!(
        "{BASE}[network.x.http]\nbind_port = 1\nforce_https = true\n{PAIR}"
    ));
    assert_eq!(itself.networks[2].https_port, None);
    assert!(
        itself
            .notes
            .iter()
            .any(|note| note.text.contains("speaks TLS only"))
    );
    let management = BASE.replace("bind_port = 19090", "bind_port = 19090\nforce_https = true");
    assert!(errors(&management)[0].contains("has no meaning on the network of the Management API"));
}

#[test]
fn the_management_network_is_protected_by_certificates_and_not_by_tls() {
    let open = BASE.replace(
        "127.0.0.1\"\nbind_port = 19090",
        "0.0.0.0\"\nbind_port = 19090",
    );
    let with =
        |keys: &str| open.replace("bind_port = 19090\n", &format!("bind_port = 19090\n{keys}"));
    ok(&with(ASKS));
    assert!(errors(&with(PAIR))[0].contains("carries the Management API"));
}

#[test]
fn a_password_over_tls_is_no_exposure() {
    let password = "[middleware.m]\ntype = \"api-key\"\nkeys = \
                    [\"87207b91fab152124aa70b6f4f769649f0b310e481cf3c7190a6033af14c5bc4\"]\n";
    let text = |network: &str| {
        let mut text = with_step(network, "");
        text.truncate(text.find("[middleware.m]").unwrap());
        text + password
    };
    assert!(warnings(&ok(&text("")))[0].contains("which is not encrypted"));
    assert_eq!(warnings(&ok(&text(PAIR))), [""; 0]);
}

#[test]
fn mutual_tls() {
    let config = ok(&with_step(
        ASKS,
        "optional = true\nconfig = { subject_from = \"uri\", subjects = [\"spiffe://x/a\"], sans \
         = [\"DNS:A.example\", \"IP:10.0.0.1\", \"URI:x:y\", \"email:a@b\"] }\n",
    ));
    let step = auth_step(&config);
    let expected = MutualTls {
        subject: CertificateSubject::Uri,
        subjects: vec!["spiffe://x/a".to_owned()],
        names: vec![
            AlternativeName::Dns("a.example".to_owned()),
            AlternativeName::Ip([10, 0, 0, 1].into()),
            AlternativeName::Uri("x:y".to_owned()),
            AlternativeName::Email("a@b".to_owned()),
        ],
    };
    assert!(step.optional);
    assert_eq!(step.settings, expected.into());
    let by_name = with_step(ASKS, "").replace(
        "type = \"mutual-tls\"",
        "authentication = \"authentications.a\"",
    ) + "[authentications.a]\nmethod = \"mutual_tls\"\nsubjects = \"a\"\n";
    assert!(ok(&by_name).pipelines[0].steps[0].authenticates());
}

#[test]
fn mutual_tls_refusals() {
    for (network, step, want) in [
        (
            PAIR,
            "",
            "step \"m\" needs client certificates, and network \"x\" does not ask for any",
        ),
        (
            "",
            "",
            "does not ask for any; set cert_path, key_path and client_ca_path there",
        ),
        (
            ASKS,
            "forward_credential = true\n",
            "has no meaning here: a certificate never travels",
        ),
        (ASKS, "subject_from = \"cn\"\n", "unknown subject \"cn\""),
        (ASKS, "subjects = []\n", "m.subjects: is empty"),
        (ASKS, "subjects = [\"Zo\u{eb}\"]\n", "must be visible ASCII"),
        (
            ASKS,
            "sans = [\"a.example\"]\n",
            "is not a subject alternative name; write \"DNS:NAME\"",
        ),
        (
            ASKS,
            "sans = [\"IP:x\"]\n",
            "is not a subject alternative name",
        ),
        (ASKS, "subject = \"a\"\n", "did you mean \"subjects\"?"),
    ] {
        one_error(&with_step(network, step), want);
    }
    let partly =
        with_step(ASKS, "").replace("networks = [\"x\"]", "networks = [\"x\", \"public\"]");
    assert!(warnings(&ok(&partly))[0].contains("network \"public\" does not ask for any"));
}

#[test]
fn authorities_of_upstreams() {
    let backend = |keys: &str| {
        format!(
            "{BASE}{}",
            PIPELINE.replace("service = \"echo\"", &format!("service = \"http\"\n{keys}"))
        )
    };
    for keys in [
        "base_url = \"https://h\"\nca_cert_path = \"harmony.toml\"",
        "connection = { host = \"h\", protocol = \"https\", ca_cert_path = \"harmony.toml\" }",
        "target_ref = \"t\"\n[targets.t]\nconnection = { host = \"h\", protocol = \"https\", \
         ca_cert_path = \"harmony.toml\" }",
    ] {
        let config = ok(&backend(keys));
        let BackendTarget::Http(http) = &config.pipelines[0].backends[0].target else {
            panic!("{keys}");
        };
        assert_eq!(
            http.ca_cert_path.as_deref(),
            Some(Path::new("conf/harmony.toml")),
            "{keys}"
        );
    }
    let plain = errors(&backend(
        "base_url = \"http://h\"\nca_cert_path = \"harmony.toml\"",
    ));
    assert!(
        plain[0].contains("ca_cert_path is for https, and the address is http"),
        "{plain:?}"
    );
}
