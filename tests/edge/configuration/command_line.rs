//! Arguments, exit statuses, and a start that fails before it began.

use std::net::TcpListener;

use super::with;
use crate::support::ports::Port;
use crate::support::{Edge, Issuer, Program, Upstream};

#[test]
fn a_good_file_is_ok_by_both_names_of_the_check_and_nothing_is_opened_or_fetched() {
    let issuer = Issuer::start();
    let text = with("http://127.0.0.1:1/jwks.json", &issuer.url());
    // Both ports are taken: a check that listened would fail.
    let (public, management) = (Port::claim(), Port::claim());
    let listeners =
        [&public, &management].map(|port| TcpListener::bind(("127.0.0.1", port.number())).unwrap());
    let text = text.replace("18080", &public.to_string()).replace("19090", &management.to_string());
    for check in ["--check", "-t"] {
        Program::with(&["-c", "harmony.toml", check])
            .file("harmony.toml", &text)
            .run()
            .assert_ok(check);
    }
    assert_eq!(issuer.fetches(), 0);
    drop(listeners);
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["--nonsense"] as &[&str],
        &["-c"],
        &["nonsense"],
        &["demo", "--port", "x"],
        &["demo", "--port", "99999"],
        &["-c", "a", "-c", "b"],
        &["--check=maybe"],
    ] {
        let ran = Program::with(arguments).run();
        assert_eq!(ran.status, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn version_and_help_are_on_standard_output() {
    for arguments in [["--version"], ["-V"]] {
        let ran = Program::with(&arguments).run();
        assert_eq!(
            (ran.status, ran.stdout.trim()),
            (Some(0), concat!("harmony-edge ", env!("CARGO_PKG_VERSION")))
        );
    }
    let ran = Program::with(&["--help"]).run();
    assert_eq!(ran.status, Some(0));
    for word in ["--config", "--check", "demo"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
}

#[test]
fn a_broken_file_ends_the_start_before_a_listener_opens() {
    let port = Port::claim();
    let text = with("18080", &port.to_string()).replace("audience", "audiance");
    let ran = Program::with(&["-c", "harmony.toml"]).file("harmony.toml", &text).run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["harmony.toml:", "audiance"]);
    TcpListener::bind(("127.0.0.1", port.number())).expect("nobody listens");
}

#[test]
fn an_address_that_is_taken_is_1_and_named() {
    let (public, management) = (Port::claim(), Port::claim());
    let text = with("18080", &public.to_string()).replace("19090", &management.to_string());
    for taken in [&public, &management] {
        let _listener = TcpListener::bind(("127.0.0.1", taken.number())).unwrap();
        let ran = Program::with(&["-c", "harmony.toml"]).file("harmony.toml", &text).run();
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        ran.error_with(&[&taken.to_string()]);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

#[test]
fn a_stop_with_nothing_in_flight_is_prompt_and_0() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    for signal in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        let mut edge = Edge::with_jwt(&issuer, &upstream).start();
        assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
        // An idle connection is nothing in flight.
        let _idle = edge.connect();
        edge.signal(signal);
        assert_eq!(edge.exit_status(std::time::Duration::from_secs(5)).code(), Some(0), "{signal}");
    }
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let key = crate::support::keys::RsaKey::number(0);
    let text =
        with("jwks_url = \"http://127.0.0.1:1/jwks.json\",", "public_key_path = \"keys/key.pem\",");
    let program = Program::with(&["-c", "etc/harmony.toml", "--check"])
        .file("etc/harmony.toml", &text)
        .file("etc/keys/key.pem", &key.public_pem());
    program.run().assert_ok("a key beside the file");
}

#[test]
fn the_start_says_what_it_serves() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream)
        .env("RUST_LOG", "info")
        .and(
            "[pipelines.unguarded]\nnetworks = [\"public\"]\nendpoints = [\"unguarded\"]\n\
             middleware = []\nbackends = [\"app\"]\n[endpoints.unguarded]\nservice = \"http\"\n\
             options = { path_prefix = \"/unguarded\" }\n",
        )
        .start();
    let log = edge.log();
    for word in ["edge-1", "public", "management", "/api", "jwt", "unguarded"] {
        assert!(log.contains(word), "{word}:\n{log}");
    }
    // Where the machine lets a process have few files open, that is a warning too.
    let is_warning = |line: &&str| line.contains(" WARN ") && !line.contains("files open");
    let warnings: Vec<&str> = log.lines().filter(is_warning).collect();
    assert!(
        matches!(&*warnings, [line] if line.contains("pipeline \"unguarded\" is open: anyone may \
                                                      pass")),
        "an open pipeline is a warning:\n{log}"
    );
}
