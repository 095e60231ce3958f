//! TLS to upstreams: verified, always.

use std::time::Duration;

use crate::support::authority::{Authority, Pair, expired};
use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::tls::SecureUpstream;
use crate::support::{Edge, Program, Settings, eventually};

/// An edge whose `/api` leads to `https://HOST` at the upstream's port.
fn leading_to(host: &str, upstream: &SecureUpstream, lines: &str) -> EdgeBuilder {
    let text = Settings::open_to(1).backend(lines).text();
    let url = format!("https://{host}:{}/", upstream.port());
    Edge::configured(Settings::of_text(&text.replace("http://127.0.0.1:1", &url)))
}

#[track_caller]
fn status(edge: &Edge) -> u16 {
    // A name is not resolved yet in the first moments.
    eventually("an answer that counts", Duration::from_secs(15), || {
        Some(edge.get("/api/x").send().status).filter(|status| *status != 503)
    })
}

#[test]
fn an_authority_of_its_own_and_the_name_that_is_asked_for() {
    let authority = Authority::new("upstreams");
    let upstream = SecureUpstream::start(&authority.server(&["localhost", "127.0.0.1", "::1"]));
    for (host, name) in [("localhost", Some("localhost")), ("127.0.0.1", None)] {
        let edge = leading_to(host, &upstream, "ca_cert_path = \"ca.pem\"")
            .file("ca.pem", &authority.pem())
            .start();
        assert_eq!(status(&edge), 200, "{host}");
        assert_eq!(upstream.names().last(), Some(&name.map(str::to_owned)), "{host}");
        let before = upstream.handshakes();
        for _ in 0..20 {
            assert_eq!(status(&edge), 200);
        }
        // The answer may be here before the connection is free again.
        assert!(upstream.handshakes() < before + 10, "connections are kept");
    }
}

#[test]
fn what_cannot_be_verified_is_502_and_the_log_says_why() {
    let (authority, other) = (Authority::new("upstreams"), Authority::new("others"));
    let good = authority.server(&["localhost"]);
    let cases: [(&str, Pair, &Authority, &str, &str); 4] = [
        (
            "unknown authority",
            good.clone(),
            &other,
            "localhost",
            "is not from a trusted authority; set ca_cert_path of the backend",
        ),
        (
            "another name",
            authority.server(&["elsewhere.example"]),
            &authority,
            "localhost",
            "is for another name",
        ),
        ("no address in it", good, &authority, "127.0.0.1", "is for another name"),
        (
            "expired",
            authority.server_with(&["localhost"], expired),
            &authority,
            "localhost",
            "has expired",
        ),
    ];
    for (what, pair, trusted, host, words) in cases {
        let upstream = SecureUpstream::start(&pair);
        let edge = leading_to(host, &upstream, "ca_cert_path = \"ca.pem\"")
            .file("ca.pem", &trusted.pem())
            .start();
        assert_eq!(status(&edge), 502, "{what}");
        assert!(
            becomes_true(Duration::from_secs(10), || edge.log().contains("reason=upstream_tls")),
            "{what}: {}",
            edge.log()
        );
        let log = edge.log();
        let line = log
            .lines()
            .find(|line| line.contains("upstream app failed"))
            .unwrap_or_else(|| panic!("{what}: {log}"));
        assert!(
            line.contains(words) && line.contains(&format!("{host}:{}: TLS: ", upstream.port())),
            "{what}: {line}"
        );
        assert_eq!(upstream.handshakes(), 0, "{what}");
    }
}

#[test]
fn without_ca_cert_path_the_systems_authorities_count() {
    let authority = Authority::new("upstreams");
    let upstream = SecureUpstream::start(&authority.server(&["localhost"]));
    let edge = leading_to("localhost", &upstream, "").file("ca.pem", &authority.pem());
    let trusting = edge.env("SSL_CERT_FILE", "ca.pem").start();
    assert_eq!(status(&trusting), 200);
    let other = leading_to("localhost", &upstream, "")
        .file("ca.pem", &Authority::new("others").pem())
        .env("SSL_CERT_FILE", "ca.pem")
        .start();
    assert_eq!(status(&other), 502);
}

#[test]
fn an_authority_that_was_replaced_counts_from_the_reload_on() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let upstream = SecureUpstream::start(&old.server(&["localhost"]));
    let edge = leading_to("localhost", &upstream, "ca_cert_path = \"ca.pem\"")
        .file("ca.pem", &old.pem())
        .start();
    assert_eq!(status(&edge), 200);
    let replace = |text: &str| {
        std::fs::write(edge.directory().join("ca.pem"), text).unwrap();
        edge.steer("POST", "/admin/reload").send()
    };
    assert_eq!(replace("junk").status, 422);
    assert_eq!(status(&edge), 200);
    assert_eq!(replace(&new.pem()).status, 200);
    assert_eq!(status(&edge), 502, "a kept connection does not outlive the trust in it");
    assert_eq!(replace(&old.pem()).status, 200);
    assert_eq!(status(&edge), 200);
}

#[test]
fn backends_that_trust_others_share_no_connection() {
    let (authority, other) = (Authority::new("upstreams"), Authority::new("others"));
    let upstream = SecureUpstream::start(&authority.server(&["localhost"]));
    let strict = format!(
        "[pipelines.strict]\nnetworks = [\"public\"]\nendpoints = [\"strict\"]\nmiddleware = []\n\
         backends = [\"strict\"]\n[endpoints.strict]\nservice = \"http\"\n\
         options = {{ path_prefix = \"/strict\" }}\n[backends.strict]\nservice = \"http\"\n\
         connection = {{ host = \"localhost\", port = {}, protocol = \"https\", ca_cert_path = \
         \"other.pem\" }}\n",
        upstream.port()
    );
    let text = leading_text(&upstream) + &strict;
    let edge = Edge::configured(Settings::of_text(&text))
        .file("ca.pem", &authority.pem())
        .file("other.pem", &other.pem())
        .start();
    for _ in 0..3 {
        assert_eq!(status(&edge), 200);
        assert_eq!(edge.get("/strict/x").send().status, 502);
    }
}

fn leading_text(upstream: &SecureUpstream) -> String {
    let text = Settings::open_to(1).backend("ca_cert_path = \"ca.pem\"").text();
    text.replace("http://127.0.0.1:1", &format!("https://localhost:{}", upstream.port()))
}

#[test]
fn a_plain_upstream_behind_https_says_so() {
    let plain = crate::support::Upstream::start();
    let text = Settings::open_to(1).backend("ca_cert_path = \"ca.pem\"").text();
    let text = text.replace("http://127.0.0.1:1", &format!("https://127.0.0.1:{}", plain.port()));
    let edge = Edge::configured(Settings::of_text(&text))
        .file("ca.pem", &Authority::new("a").pem())
        .start();
    // The plain one waits for the end of a line that never comes; a request that fails in time is
    // enough.
    plain.close_connections();
    assert!(matches!(status(&edge), 502 | 504));
    assert_eq!(plain.count(), 0);
}

#[test]
fn a_machine_without_authorities() {
    let text = "[proxy]\nid = \"x\"\n[network.public.http]\nbind_port = 1\n[pipelines.p]\n\
                networks = [\"public\"]\nendpoints = [\"e\"]\nmiddleware = []\nbackends = [\"b\"]\n\
                [endpoints.e]\nservice = \"http\"\n[backends.b]\nservice = \"http\"\n\
                base_url = \"https://h.example\"\n";
    let check = |text: &str| {
        Program::check(text)
            .file("empty.pem", "")
            .file("empty/x", "")
            .env("SSL_CERT_FILE", "empty.pem")
            .env("SSL_CERT_DIR", "empty")
    };
    let ran = check(text).run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["backends.b", "this machine trusts no certificate authority", "ca_cert_path"]);
    check(&text.replace("https", "http")).run().assert_ok("nothing to verify");
    let ran = Program::with(&["-c", "harmony.toml"])
        .file("harmony.toml", &text.replace("https", "http"))
        .env("SSL_CERT_FILE", "none.pem")
        .run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&[
        "the certificate authorities of this machine cannot be read",
        "none.pem",
        "SSL_CERT_FILE",
    ]);
}
