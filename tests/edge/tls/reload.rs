//! What a reload changes of TLS: everything, for new connections; nothing, for those that are
//! there; nothing at all, when a file is wrong.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Listening;
use crate::support::authority::{Authority, Pair, expired};
use crate::support::poll::becomes_true;
use crate::support::ports::Port;
use crate::support::tls::Offer;
use crate::support::{Edge, Settings, eventually};

#[test]
fn a_certificate_that_was_replaced_is_shown_to_new_connections_and_old_ones_live_on() {
    let listening = Listening::with().start();
    let mut kept = listening.offer().shake(listening.port(), "localhost");
    assert_eq!(kept.get("/s").expect("an answer").status, 200);
    let renewed = listening.authority.server(&["localhost"]);
    listening.replace(&renewed);
    assert_eq!(listening.reload().0, 200);
    assert_eq!(
        listening.offer().shake(listening.port(), "localhost").certificate(),
        renewed.chain()[0]
    );
    assert_eq!(kept.get("/s").expect("an answer on the old connection").status, 200);
    assert_eq!(kept.certificate(), listening.pair.chain()[0]);

    // By a signal, and under another path.
    let again = listening.authority.server(&["localhost"]);
    listening.write("tls/new.pem", &again.certificate);
    listening.write("tls/new.key", &again.key);
    listening.edge.rewrite(|text| {
        text.replace("tls/cert.pem", "tls/new.pem").replace("tls/key.pem", "tls/new.key")
    });
    listening.edge.signal(Signal::SIGHUP);
    eventually("the third certificate", Duration::from_secs(10), || {
        let shown = listening.offer().shake(listening.port(), "localhost").certificate();
        (shown == again.chain()[0]).then_some(())
    });
    assert_eq!(kept.get("/s").expect("an answer on the old connection").status, 200);
}

#[test]
fn the_watcher_sees_to_it_by_itself() {
    let listening = Listening::with().watching().start();
    let mut kept = listening.offer().shake(listening.port(), "localhost");
    let shown = || listening.offer().shake(listening.port(), "localhost").certificate();
    // Written in place, key first or certificate first; and put in place of the old ones, as most
    // programs do that renew.
    for round in 0..3 {
        let renewed = listening.authority.server(&["localhost"]);
        let files = [("tls/cert.pem", &renewed.certificate), ("tls/key.pem", &renewed.key)];
        let started = Instant::now();
        match round {
            0 => files.iter().for_each(|(name, content)| listening.write(name, content)),
            1 => files.iter().rev().for_each(|(name, content)| listening.write(name, content)),
            _ => files.iter().for_each(|(name, content)| {
                listening.write("tls/next", content);
                std::fs::rename(
                    listening.edge.directory().join("tls/next"),
                    listening.edge.directory().join(name),
                )
                .unwrap();
            }),
        }
        eventually("the new certificate", Duration::from_secs(20), || {
            (shown() == renewed.chain()[0]).then_some(())
        });
        let took = started.elapsed();
        eprintln!("a new handshake saw the new certificate after {took:?}");
        // 2 s on a machine that has time for it.
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(kept.get("/s").expect("an answer on the old connection").status, 200);
    }
    assert_eq!(kept.certificate(), listening.pair.chain()[0]);
}

#[test]
fn a_warning_is_logged_when_it_is_new() {
    let listening = Listening::with().start();
    let warnings = || listening.edge.log().matches("the certificate expired on").count();
    let reload = |path: &str, generation: u32| {
        listening.edge.rewrite(|text| text.replace("path_prefix = \"/s", path));
        let (status, answer) = listening.reload();
        assert!(status == 200 && answer.contains("reloaded"), "{answer}");
        // The log has this line after the warnings.
        let line = format!("generation {generation} is in service");
        eventually(&line, Duration::from_secs(10), || {
            listening.edge.log().contains(&line).then_some(())
        });
    };
    listening.replace(&listening.authority.server_with(&["localhost"], expired));
    reload("path_prefix = \"/s/a", 2);
    assert_eq!(warnings(), 1);
    reload("path_prefix = \"/s/b", 3);
    assert_eq!(warnings(), 1, "{}", listening.edge.log());
}

#[test]
fn a_wrong_file_keeps_the_old_certificate() {
    let listening = Listening::with().start();
    let other = listening.authority.server(&["localhost"]);
    let cases = [
        ("tls/key.pem", &*other.key, "the key does not belong to the certificate"),
        ("tls/key.pem", "", "the file is not in PEM form"),
        ("tls/cert.pem", "junk", "the file is not in PEM form"),
        ("tls/cert.pem", &*other.key, "the file holds no certificate"),
    ];
    for (name, content, expected) in cases {
        listening.replace(&listening.pair);
        listening.write(name, content);
        let (status, answer) = listening.reload();
        assert_eq!(status, 422, "{name}: {answer}");
        assert!(
            answer.contains(expected) && answer.contains("network.tls.") && answer.contains(name),
            "{answer}"
        );
        assert_eq!(
            listening.offer().shake(listening.port(), "localhost").certificate(),
            listening.pair.chain()[0]
        );
    }
    std::fs::remove_file(listening.edge.directory().join("tls/cert.pem")).unwrap();
    assert_eq!(listening.reload().0, 422);
    listening.replace(&other);
    assert_eq!(listening.reload().0, 200);
    assert_eq!(
        listening.offer().shake(listening.port(), "localhost").certificate(),
        other.chain()[0]
    );
}

#[test]
fn whether_a_listener_speaks_tls_needs_a_restart() {
    let mut listening = Listening::with().start();
    listening.edge.rewrite(|text| {
        text.replace("cert_path = \"tls/cert.pem\"\nkey_path = \"tls/key.pem\"\n", "")
    });
    let (status, answer) = listening.reload();
    assert_eq!(status, 422);
    assert!(answer.contains("restart required: network.tls"), "{answer}");
    assert_eq!(listening.offer().get(listening.port(), "/s").expect("an answer").status, 200);
    listening.edge.restart();
    assert!(listening.offer().get(listening.port(), "/s").is_err());
}

#[test]
fn where_every_listener_speaks_tls_a_process_answers_itself_and_hands_over() {
    let (public, management) = (Port::claim(), Port::claim());
    let authority = Authority::new("servers");
    let pair = authority.server(&["localhost"]);
    let text = format!(
        "[proxy]\nid = \"edge-1\"\n[network.public.http]\nbind_address = \"127.0.0.1\"\n\
         bind_port = {public}\n\
         cert_path = \"cert.pem\"\nkey_path = \"key.pem\"\n[pipelines.p]\n\
         networks = [\"public\"]\nendpoints = [\"e\"]\n\
         [endpoints.e]\nservice = \"echo\"\noptions = {{ path_prefix = \"/s\" }}\n"
    );
    let number = public.number();
    let edge = Edge::configured(Settings::of_text(&text)).on_ports(public, management);
    let mut edge =
        edge.file("cert.pem", &pair.certificate).file("key.pem", &pair.key).start_listening();
    let offer = Offer::trusting(&authority);
    let mut kept = offer.shake(number, "localhost");
    assert_eq!(kept.get("/s").expect("an answer").status, 200);
    let renewed = authority.server(&["localhost"]);
    std::fs::write(edge.directory().join("cert.pem"), &renewed.certificate).unwrap();
    std::fs::write(edge.directory().join("key.pem"), &renewed.key).unwrap();
    let mut old = edge.upgrade();
    assert_eq!(kept.get("/s").expect("an answer of the old process").status, 200);
    assert_eq!(offer.shake(number, "localhost").certificate(), renewed.chain()[0]);
    let ended = eventually("the end of the old process", Duration::from_secs(60), || {
        old.try_wait().expect("a status")
    });
    assert_eq!(ended.code(), Some(0));
    assert!(!edge.log().contains("does not answer itself"), "{}", edge.log());
}

#[test]
fn clients_are_asked_for_certificates_from_a_reload_on() {
    let builder = Listening::with();
    let (old, new) = (Authority::new("old clients"), Authority::new("new clients"));
    let (alice, bob) = (old.client("alice"), new.client("bob"));
    let listening =
        builder.network("# asks").file("old.pem", &old.pem()).file("new.pem", &new.pem()).start();
    let step = "[middleware.m]\ntype = \"mutual-tls\"\n";
    listening.edge.rewrite(|text| {
        text.replace("# asks", "client_ca_path = \"old.pem\"")
            .replace("endpoints = [\"secure\"]", "endpoints = [\"secure\"]\nmiddleware = [\"m\"]")
            + step
    });
    let mut nobody = listening.offer().shake(listening.port(), "localhost");
    assert_eq!(nobody.get("/s").expect("an answer").status, 200);
    assert_eq!(listening.reload().0, 200);
    assert_eq!(nobody.get("/s").expect("an answer").status, 401, "the connection was never asked");

    let with = |pair: &Pair| Offer::with_certificate(&listening.authority, pair);
    let mut kept = with(&alice).shake(listening.port(), "localhost");
    assert_eq!(kept.get("/s").expect("an answer").json()["headers"]["x-auth-subject"], "alice");
    assert!(with(&bob).get(listening.port(), "/s").is_err());

    // The authority is exchanged: a connection of the old one does not outlive it.
    listening.write("old.pem", &format!("{}{}", old.pem(), new.pem()));
    assert_eq!(listening.reload().0, 200);
    assert_eq!(kept.get("/s").expect("an answer").status, 200, "still trusted beside the new one");
    assert_eq!(with(&bob).get(listening.port(), "/s").expect("an answer").status, 200);
    listening.write("old.pem", &new.pem());
    assert_eq!(listening.reload().0, 200);
    assert_eq!(kept.get("/s").expect("an answer").status, 401);
    assert!(with(&alice).get(listening.port(), "/s").is_err());
    assert!(becomes_true(Duration::from_secs(10), || listening
        .edge
        .log()
        .contains("untrusted_certificate")));
}
