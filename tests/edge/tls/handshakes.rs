//! Handshakes: versions, protocols, names, resumption, and those that never end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::Listening;
use crate::support::authority::Authority;
use crate::support::poll::becomes_true;
use crate::support::tls::Offer;

#[test]
fn both_versions_and_the_upstream_hears_of_https() {
    let listening = Listening::with().start();
    for (version, expected) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let offer = Offer::of_version(&listening.authority, version);
        let mut secure = offer.shake(listening.port(), "localhost");
        assert_eq!(secure.version(), expected);
        for _ in 0..2 {
            let answer = secure.get("/s/x").expect("an answer");
            assert_eq!(answer.status, 200);
            assert_eq!(answer.json()["headers"]["x-forwarded-proto"], "https");
            assert_eq!(
                answer.field("strict-transport-security"),
                None,
                "nothing is promised that nobody asked for"
            );
        }
    }
}

#[test]
fn the_protocol_is_agreed_on() {
    let listening = Listening::with().start();
    for (offered, expected) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let secure = listening.offer().protocols(offered).shake(listening.port(), "localhost");
        assert_eq!(secure.protocol(), expected, "{offered:?}");
    }
    assert!(
        listening.offer().protocols(&["spdy/3"]).connect(listening.port(), "localhost").is_err()
    );
    // Without any, it is HTTP/1.1.
    let mut old = listening.offer().protocols(&[]).shake(listening.port(), "localhost");
    assert_eq!(old.get("/s").expect("an answer").status, 200);
}

#[test]
fn the_name_chooses_the_certificate() {
    let builder = Listening::with();
    let (second, wild) = (
        builder.authority().server(&["second.example"]),
        builder.authority().server(&["*.wild.example"]),
    );
    let certificates = "certificates = [{ cert_path = \"second.pem\", key_path = \"second.key\" \
                        }, { cert_path = \"wild.pem\", key_path = \"wild.key\" }]";
    let listening = builder
        .network(certificates)
        .file("second.pem", &second.certificate)
        .file("second.key", &second.key)
        .file("wild.pem", &wild.certificate)
        .file("wild.key", &wild.key)
        .start();
    for (name, pair) in [
        ("localhost", &listening.pair),
        ("first.example", &listening.pair),
        ("second.example", &second),
        ("a.wild.example", &wild),
    ] {
        assert_eq!(
            listening.offer().shake(listening.port(), name).certificate(),
            pair.chain()[0],
            "{name}"
        );
    }
    // No name, and one that none is for: the first, which a client that checks refuses in the
    // second case.
    assert_eq!(
        listening.offer().nameless().shake(listening.port(), "first.example").certificate(),
        listening.pair.chain()[0]
    );
    for name in ["other.example", "b.a.wild.example"] {
        let refused = listening
            .offer()
            .connect(listening.port(), name)
            .err()
            .expect("no certificate for it")
            .to_string();
        assert!(refused.contains("not valid for name"), "{name}: {refused}");
    }
}

#[test]
fn keys_in_every_form() {
    let Some(pkcs1) = openssl(&["genrsa", "-traditional", "2048"]) else {
        return;
    };
    let Some(sec1) = openssl(&["ecparam", "-name", "prime256v1", "-genkey"]) else {
        return;
    };
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY") && sec1.contains("BEGIN EC PRIVATE KEY"));
    for key in [pkcs1, sec1] {
        crate::support::secrets::remember(&key);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, &key).unwrap();
        let arguments = [
            "req",
            "-x509",
            "-key",
            path.to_str().unwrap(),
            "-subj",
            "/CN=x",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-days",
            "2",
        ];
        let certificate = openssl(&arguments).expect("a certificate");
        let text = "[proxy]\nid = \"x\"\n[network.public.http]\nbind_port = 1\n\
                    cert_path = \"c.pem\"\nkey_path = \"k.pem\"\n";
        let ran = crate::support::Program::check(text)
            .file("c.pem", &certificate)
            .file("k.pem", &key)
            .run();
        ran.assert_ok("a key");
        ran.error_with(&["warning", "k.pem", "everybody on this machine can read the key"]);
    }
}

#[test]
fn a_session_is_resumed_also_after_a_reload() {
    let listening = Listening::with().start();
    for version in [&TLS12, &TLS13] {
        let offer = Offer::of_version(&listening.authority, version);
        let once = || {
            let mut secure = offer.shake(listening.port(), "localhost");
            assert_eq!(secure.get("/s").expect("an answer").status, 200);
            secure.is_resumed()
        };
        assert_eq!([once(), once()], [false, true], "{version:?}");
        listening.edge.rewrite(|text| text + "\n# changed\n");
        assert_eq!(listening.reload().0, 200);
        assert!(once(), "{version:?}");
    }
}

#[test]
fn who_does_not_shake_hands_is_cut_off_and_nobody_else_waits() {
    let listening = Listening::with().start();
    let started = Instant::now();
    let silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", listening.port())).unwrap()).collect();
    let mut slow = TcpStream::connect(("127.0.0.1", listening.port())).unwrap();
    slow.write_all(&[22, 3, 1, 2, 0, 1]).unwrap();
    assert_eq!(listening.offer().get(listening.port(), "/s").expect("an answer").status, 200);
    for mut stream in silent.into_iter().chain([slow]) {
        stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
        assert!(matches!(stream.read(&mut [0; 100]), Ok(0) | Err(_)));
        assert!(stream.take_error().unwrap().is_none());
    }
    let waited = started.elapsed();
    assert!((9..35).contains(&waited.as_secs()), "{waited:?}");
    let counted =
        "harmony_connections_closed_total{network=\"tls\",reason=\"handshake_timeout\"} 21\n";
    assert!(becomes_true(Duration::from_secs(10), || {
        listening.edge.manage("/metrics").send().text().contains(counted)
    }));
    let log = listening.edge.log();
    assert!(!log.contains("TLS handshake with"), "no line for each of them: {log}");
}

#[test]
fn at_the_cap_an_unfinished_handshake_makes_room_for_who_finishes() {
    let listening = Listening::with().network("max_connections = 2").start();
    // The start has tried the listener.
    let open = |count: u32| {
        let line = format!("harmony_connections_open{{network=\"tls\"}} {count}\n");
        becomes_true(Duration::from_secs(20), || {
            listening.edge.manage("/metrics").send().text().contains(&line)
        })
    };
    assert!(open(0));
    let mut kept = listening.offer().shake(listening.port(), "localhost");
    assert_eq!(kept.get("/s").expect("an answer").status, 200);
    let mut silent = TcpStream::connect(("127.0.0.1", listening.port())).unwrap();
    assert!(open(2));
    assert_eq!(listening.offer().get(listening.port(), "/s").expect("an answer").status, 200);
    silent.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(silent.read(&mut [0; 100]), Ok(0)), "it was cut at once");
    assert_eq!(kept.get("/s").expect("an answer").status, 200);
}

#[test]
fn a_head_that_trickles_through_tls_is_cut_with_a_word() {
    let listening = Listening::with().start();
    let mut secure = listening.offer().shake(listening.port(), "localhost");
    let started = Instant::now();
    let answer = secure.unfinished("GET /s HTTP/1.1\r\nHost: h\r\n").expect("an answer");
    assert_eq!(answer.status, 408);
    assert!((9..35).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[test]
fn what_is_no_tls_and_a_foreign_authority_end_with_a_line_that_says_so() {
    let listening = Listening::with().start();
    // Plain HTTP has a test of its own.
    let mut plain = TcpStream::connect(("127.0.0.1", listening.port())).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    plain.write_all(b"\0\0\x12\x04\0\0\0\0\0").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert!(
        Offer::trusting(&Authority::new("another")).connect(listening.port(), "localhost").is_err()
    );
    let told = |words: &str| {
        becomes_true(Duration::from_secs(10), || listening.edge.log().contains(words))
    };
    assert!(told("failed: received corrupt message"), "{}", listening.edge.log());
    assert!(told("failed: received fatal alert"), "{}", listening.edge.log());
}

/// What openssl prints, or `None` after saying that it is not here.
fn openssl(arguments: &[&str]) -> Option<String> {
    let Ok(output) = std::process::Command::new("openssl").args(arguments).output() else {
        eprintln!("skipped: needs openssl");
        return None;
    };
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn plain_http_at_a_port_of_tls_is_told_so() {
    let listening = Listening::with().start();
    let body = "x".repeat(100_000);
    for request in [
        "GET /s HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{body}"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", listening.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{answer}");
        assert_eq!(
            body,
            "{\"error\":\"Bad Request\",\"message\":\"this port speaks TLS: use https://\"}"
        );
    }
    let told = || listening.edge.log().contains("it spoke plain HTTP, and was told to use https");
    assert!(becomes_true(Duration::from_secs(20), told), "{}", listening.edge.log());
    // What is neither is closed, and others are served.
    let mut stream = TcpStream::connect(("127.0.0.1", listening.port())).unwrap();
    stream.write_all(b"\0\0\0\0").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(listening.offer().get(listening.port(), "/s").expect("an answer").status, 200);
}
