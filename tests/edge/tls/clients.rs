//! `mutual-tls`: the certificate of the connection says who a request is from.

use std::time::Duration;

use super::Listening;
use crate::support::Edge;
use crate::support::Settings;
use crate::support::authority::{Authority, Pair, expired, with_uri};
use crate::support::edge::command;
use crate::support::poll::{becomes_true, eventually};
use crate::support::ports::Port;
use crate::support::tls::Offer;

const ASKS: &str = "client_ca_path = \"clients.pem\"";

fn asking(clients: &Authority, steps: &str, tables: &str) -> Listening {
    Listening::with()
        .network(ASKS)
        .file("clients.pem", &clients.pem())
        .pipeline(&format!("middleware = {steps}"))
        .and(tables)
        .start()
}

#[test]
fn none_right_foreign_and_expired() {
    let clients = Authority::new("clients");
    let listening = asking(&clients, "[\"m\"]", "[middleware.m]\ntype = \"mutual-tls\"\n");
    let with = |pair: &Pair| Offer::with_certificate(&listening.authority, pair);

    let none = listening.offer().get(listening.port(), "/s").expect("an answer");
    assert_eq!(none.status, 401);
    assert_eq!(none.fields("www-authenticate"), ["ClientCertificate realm=\"harmony\""]);
    assert_eq!(none.json()["error"], "Unauthorized");

    let answer = with(&clients.client("alice")).get(listening.port(), "/s").expect("an answer");
    assert_eq!(answer.status, 200);
    let headers = &answer.json()["headers"];
    assert_eq!(
        (&headers["x-auth-method"], &headers["x-auth-subject"]),
        (&"mutual-tls".into(), &"alice".into())
    );
    let logged = |words: &str| {
        becomes_true(Duration::from_secs(10), || listening.edge.log().contains(words))
    };
    assert!(logged("auth=mutual-tls subject=\"alice\""));

    for (what, pair) in [
        ("foreign", Authority::new("others").client("alice")),
        ("expired", clients.client_with("alice", expired)),
        ("a server's", clients.server(&["localhost"])),
        ("self-made, by a client", {
            let alice = clients.client("alice");
            let other = Authority::new("alice").client("alice");
            Pair { certificate: other.certificate.clone() + &alice.certificate, key: other.key }
        }),
    ] {
        assert!(with(&pair).get(listening.port(), "/s").is_err(), "{what}");
    }
    for words in [
        "failed: invalid peer certificate: UnknownIssuer",
        "failed: invalid peer certificate: certificate expired",
    ] {
        assert!(logged(words), "{words}\n{}", listening.edge.log());
    }
}

#[test]
fn no_header_stands_for_a_certificate() {
    let clients = Authority::new("clients");
    let listening = asking(&clients, "[\"m\"]", "[middleware.m]\ntype = \"mutual-tls\"\n");
    let alice = clients.client("alice");
    let encoded: String = alice.certificate.lines().filter(|line| !line.starts_with('-')).collect();
    let client_cert = format!(":{encoded}:");
    let spoofed = [
        ("X-Auth-Method", "mutual-tls"),
        ("X-Auth-Subject", "root"),
        ("X_Auth_Subject", "root"),
        ("Client-Cert", &*client_cert),
        ("X-SSL-Client-Verify", "SUCCESS"),
    ];
    let mut nobody = listening.offer().shake(listening.port(), "localhost");
    assert_eq!(nobody.request("/s", &spoofed).expect("an answer").status, 401);
    let mut somebody =
        Offer::with_certificate(&listening.authority, &alice).shake(listening.port(), "localhost");
    let answer = somebody.request("/s", &spoofed).expect("an answer").json();
    assert_eq!(answer["headers"]["x-auth-subject"], "alice");
    assert_eq!(answer["headers"]["x_auth_subject"], serde_json::Value::Null);
    assert_eq!(answer["headers"]["client-cert"], serde_json::Value::Null, "RFC 9440 section 2.4");
}

#[test]
fn lists_and_other_names() {
    let clients = Authority::new("clients");
    let tables = "[middleware.m]\ntype = \"mutual-tls\"\nconfig = { subject_from = \"uri\", \
                  subjects = [\"spiffe://x/billing\", \"spiffe://x/audit\"] }\n";
    let listening = asking(&clients, "[\"m\"]", tables);
    let get = |pair| {
        Offer::with_certificate(&listening.authority, &pair)
            .get(listening.port(), "/s")
            .expect("an answer")
    };
    let answer = get(clients.client_with("billing", with_uri("spiffe://x/billing")));
    assert_eq!(answer.json()["headers"]["x-auth-subject"], "spiffe://x/billing");
    let other = get(clients.client_with("billing", with_uri("spiffe://x/other")));
    assert_eq!((other.status, other.json()["error"].as_str()), (403, Some("Forbidden")));
    assert_eq!(get(clients.client("billing")).status, 401, "without such a name, nobody is named");
    for words in ["reason=subject_not_allowed", "reason=unsafe_subject"] {
        assert!(
            becomes_true(Duration::from_secs(10), || listening.edge.log().contains(words)),
            "{words}"
        );
    }
}

#[test]
fn in_a_group_with_a_key() {
    let clients = Authority::new("clients");
    let tables = "[middleware.m]\ntype = \"mutual-tls\"\noptional = true\n[middleware.k]\n\
                  type = \"api-key\"\n\
                  keys = [{ id = \"k1\", hash = \
                  \"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\" }]\n";
    let listening = asking(&clients, "[\"m\", \"k\"]", tables);
    let mut nobody = listening.offer().shake(listening.port(), "localhost");
    let refused = nobody.get("/s").expect("an answer");
    assert_eq!(
        refused.fields("www-authenticate"),
        ["ClientCertificate realm=\"harmony\"", "ApiKey realm=\"harmony\""]
    );
    let key = nobody.request("/s", &[("X-API-Key", "foo")]).expect("an answer");
    assert_eq!(key.json()["headers"]["x-auth-subject"], "k1");
    let mut alice = Offer::with_certificate(&listening.authority, &clients.client("alice"))
        .shake(listening.port(), "localhost");
    let both = alice.request("/s", &[("X-API-Key", "foo")]).expect("an answer").json();
    assert_eq!(
        (&both["headers"]["x-auth-subject"], &both["headers"]["x-api-key"]),
        (&"alice".into(), &serde_json::Value::Null)
    );
}

#[test]
fn no_session_brings_a_certificate_along_unverified() {
    let clients = Authority::new("clients");
    let listening = asking(&clients, "[\"m\"]", "[middleware.m]\ntype = \"mutual-tls\"\n");
    let offer = Offer::with_certificate(&listening.authority, &clients.client("alice"));
    for _ in 0..3 {
        let mut secure = offer.shake(listening.port(), "localhost");
        assert_eq!(secure.get("/s").expect("an answer").status, 200);
        assert!(!secure.is_resumed());
    }
}

#[test]
fn ctl_calls_a_management_network_with_tls() {
    let authority = Authority::new("servers");
    // Whatever names the certificate has, and whoever issued it.
    let pair = authority.server(&["edge.internal"]);
    let (public, management) = (Port::claim(), Port::claim());
    let text = format!(
        "[proxy]\nid = \"edge-1\"\n[network.public.http]\nbind_address = \"127.0.0.1\"\n\
         bind_port = {public}\n\
         [network.management.http]\nbind_address = \"127.0.0.1\"\nbind_port = {management}\n\
         cert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n\
         [management]\nenabled = true\nnetwork = \"management\"\n"
    );
    let edge = Edge::configured(Settings::of_text(&text))
        .file("cert.pem", &pair.certificate)
        .file("key.pem", &pair.key);
    let edge = edge.on_ports(public, management).start_listening();
    let run = |arguments: &[&str]| {
        let mut command = command(edge.directory());
        let output = command.args(arguments).output().expect("it runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let calls = [
        &["ctl", "-c", "harmony.toml", "status"][..],
        &["ctl", "-c", "harmony.toml", "connections"],
        &["revoke", "-c", "harmony.toml", "--list"],
    ];
    eventually("the management network", Duration::from_secs(20), || run(calls[0]).0.then_some(()));
    for call in calls {
        let (succeeded, error) = run(call);
        assert!(succeeded, "{call:?}: {error}");
    }
    let other = authority.server(&["edge.internal"]);
    std::fs::write(edge.directory().join("cert.pem"), &other.certificate).unwrap();
    let (succeeded, error) = run(calls[0]);
    assert!(!succeeded && error.contains("not the certificate that the configuration"), "{error}");
}

#[test]
fn the_management_api_behind_certificates() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let pair = authority.server(&["localhost"]);
    let (public, management) = (Port::claim(), Port::claim());
    let text = format!(
        "[proxy]\nid = \"edge-1\"\n[network.public.http]\nbind_address = \"127.0.0.1\"\n\
         bind_port = {public}\n\
         [network.management.http]\nbind_address = \"0.0.0.0\"\nbind_port = {management}\n\
         cert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n\
         client_ca_path = \"clients.pem\"\n[management]\nenabled = true\nnetwork = \"management\"\n"
    );
    let number = management.number();
    let edge = Edge::configured(Settings::of_text(&text))
        .file("cert.pem", &pair.certificate)
        .file("key.pem", &pair.key)
        .file("clients.pem", &clients.pem());
    let edge = edge.on_ports(public, management).start_listening();
    let operator = Offer::with_certificate(&authority, &clients.client("operator"));
    let answer = eventually("the management network", Duration::from_secs(20), || {
        operator.get(number, "/admin/config/status").ok()
    });
    assert_eq!(answer.status, 200);
    // The audit log says whose call it was.
    let told = || edge.log().contains("\"who\":\"certificate operator, no token\"");
    assert!(becomes_true(Duration::from_secs(5), told), "{}", edge.log());
    assert!(
        Offer::trusting(&authority).get(number, "/health").is_err(),
        "without a certificate there is no request"
    );
    assert!(
        Offer::with_certificate(&authority, &Authority::new("x").client("operator"))
            .get(number, "/health")
            .is_err()
    );
    drop(edge);
}
