//! Records as they stand in the log, in text and in JSON.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use super::*;
use crate::telemetry::escape::is_harmful;

static UPSTREAM: PeerAddress = PeerAddress::Inet(SocketAddr::V4(SocketAddrV4::new(
    Ipv4Addr::new(10, 0, 0, 5),
    3000,
)));

fn record() -> Record<'static> {
    Record {
        client: Some([192, 0, 2, 7].into()),
        host: Some("edge.example"),
        method: "GET",
        path: Some("/api/é\u{202e}"),
        version: Version::HTTP_2,
        tls: Some("TLSv1.3"),
        status: Some(200),
        bytes: 12,
        duration: Duration::from_micros(1500),
        time_to_head: Some(Duration::from_micros(900)),
        pipeline: Some("api"),
        backend: Some("app"),
        upstream: Some(&UPSTREAM),
        upstream_protocol: Some(Version::HTTP_2),
        attempts: 2,
        grpc_status: Some(14),
        auth: Some("jwt"),
        subject: Some("al\"ice\u{1b}"),
        reason: None,
        shadow: None,
        request_id: Some("id-1"),
        trace: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
        user_agent: Some(b"curl/8 \"x\""),
        referer: Some(b"https://app.example/a?token=x"),
    }
}

fn line(record: &Record<'_>, now: Duration, json: bool) -> String {
    let mut line = LogLine::default();
    line.begin(now, json);
    record.visit(&mut line);
    String::from_utf8(line.end().to_vec()).unwrap()
}

#[test]
fn a_record_in_text() {
    let now = Duration::from_millis(1_795_000_000_047);
    assert_eq!(
        line(&record(), now, false),
        "2026-11-18T11:06:40.047Z INFO  harmony::access: request client=192.0.2.7 \
         host=edge.example method=GET path=/api/é\\u{202e} version=HTTP/2.0 tls=TLSv1.3 \
         status=200 bytes=12 duration_us=1500 head_us=900 pipeline=api \
         backend=app upstream=10.0.0.5:3000 \
         upstream_protocol=HTTP/2.0 attempts=2 grpc_status=14 auth=jwt \
         subject=\"al\\\"ice\\u{1b}\" reason=- shadow=- id=id-1 \
         trace_id=0af7651916cd43dd8448eb211c80319c user_agent=\"curl/8 \\\"x\\\"\" \
         referer=\"https://app.example/a\"\n"
    );
}

#[test]
fn a_unix_socket_is_one_value_whatever_its_path() {
    for (path, text, json) in [
        ("/run/app.sock", "unix:/run/app.sock", "unix:/run/app.sock"),
        ("/run/a b\"", "unix:/run/a\\u{20}b\\\"", "unix:/run/a b\\\""),
    ] {
        let socket = PeerAddress::Unix(std::path::Path::new(path).into());
        let record = || Record {
            upstream: Some(&socket),
            ..record()
        };
        let now = Duration::from_secs(1_795_000_000);
        let got = line(&record(), now, false);
        assert!(
            got.contains(&format!(" upstream={text} upstream_protocol=")),
            "{got}"
        );
        let got = line(&record(), now, true);
        assert!(got.contains(&format!(",\"upstream\":\"{json}\",")), "{got}");
    }
}

#[test]
fn a_record_in_json() {
    let now = Duration::from_millis(1_795_000_001_999);
    let client = Some("2001:db8::1".parse().unwrap());
    let upstream = PeerAddress::Inet("[2001:db8::2]:80".parse().unwrap());
    let text = line(
        &Record {
            client,
            upstream: Some(&upstream),
            ..record()
        },
        now,
        true,
    );
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "time": "2026-11-18T11:06:41.999Z",
        "level": "INFO",
        "target": TARGET,
        "message": "request",
        "client": "2001:db8::1",
        "host": "edge.example",
        "method": "GET",
        "path": "/api/é\u{202e}",
        "version": "HTTP/2.0",
        "tls": "TLSv1.3",
        "status": 200,
        "bytes": 12,
        "duration_us": 1500,
        "head_us": 900,
        "pipeline": "api",
        "backend": "app",
        "upstream": "[2001:db8::2]:80",
        "upstream_protocol": "HTTP/2.0",
        "attempts": 2,
        "grpc_status": 14,
        "auth": "jwt",
        "subject": "al\"ice\u{1b}",
        "reason": null,
        "shadow": null,
        "id": "id-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "user_agent": "curl/8 \"x\"",
        "referer": "https://app.example/a"
    });
    assert_eq!(found, expected);
    assert_eq!(text.matches('\n').count(), 1);
}

#[test]
fn a_record_waits_for_what_steps_in_shadow_make_of_it() {
    let now = Duration::from_secs(1_795_000_000);
    let denied = Some("jwt:expired,acl b:policy_denied");
    for json in [false, true] {
        let at_once = Record {
            shadow: denied,
            ..record()
        };
        let mut line_of = LogLine::default();
        line_of.begin(now, json);
        record().visit(&mut line_of);
        let parts = line_of.split_at_shadow();
        line_of.begin(now, !json);
        record().visit(&mut line_of);
        line_of.join_at_shadow(parts, denied, json);
        let later = String::from_utf8(line_of.end().to_vec()).unwrap();
        assert_eq!(later, line(&at_once, now, json));
        assert!(json || later.contains(" shadow=jwt:expired,acl\\u{20}b:policy_denied "));
    }
}

fn nothing() -> Record<'static> {
    Record {
        client: None,
        host: None,
        path: None,
        status: None,
        pipeline: None,
        backend: None,
        upstream: None,
        upstream_protocol: None,
        grpc_status: None,
        auth: None,
        subject: None,
        request_id: None,
        tls: None,
        time_to_head: None,
        trace: None,
        user_agent: None,
        referer: None,
        ..record()
    }
}

#[test]
fn what_is_not_known_is_a_dash_or_null() {
    let now = Duration::from_secs(1_795_000_000);
    let text = line(&nothing(), now, false);
    assert!(text.contains(" client=- host=- "), "{text}");
    assert!(text.contains(" status=- bytes=12 "), "{text}");
    assert!(text.contains(" subject=- reason=- "), "{text}");
    let json: serde_json::Value = serde_json::from_str(&line(&nothing(), now, true)).unwrap();
    for key in [
        "client",
        "host",
        "path",
        "status",
        "pipeline",
        "backend",
        "upstream",
        "upstream_protocol",
        "grpc_status",
        "auth",
        "subject",
        "reason",
        "shadow",
        "id",
        "tls",
        "head_us",
        "trace_id",
        "user_agent",
        "referer",
    ] {
        assert_eq!(json.get(key), Some(&serde_json::Value::Null), "{key}");
    }
}

#[test]
fn what_a_client_says_at_length_is_cut() {
    let now = Duration::from_secs(1_795_000_000);
    let long = "é".repeat(300);
    let record = Record {
        user_agent: Some(long.as_bytes()),
        referer: Some(b"https://h/\xff\n#a?b"),
        ..record()
    };
    let json: serde_json::Value = serde_json::from_str(&line(&record, now, true)).unwrap();
    assert_eq!(json["user_agent"], "é".repeat(256));
    assert_eq!(json["referer"], "https://h/\u{fffd}\n");
    let text = line(&record, now, false);
    assert!(
        text.contains(" referer=\"https://h/\u{fffd}\\n\"\n"),
        "{text}"
    );
}

#[test]
fn a_referer_is_shown_without_what_may_be_secret() {
    for (referer, shown) in [
        ("https://u:p@h.example/a@b?x#y", "https://h.example/a@b"),
        ("https://u:p@ss@h.example", "https://h.example"),
        ("https://h.example/a//b@c", "https://h.example/a//b@c"),
        ("https://h.example#access_token=x", "https://h.example"),
        ("//u@h/", "//h/"),
        ("https://u:p@", "https://"),
        ("/a@b", "/a@b"),
        ("?x@y", ""),
    ] {
        let seen = without_secrets(referer.as_bytes());
        assert_eq!(String::from_utf8_lossy(&seen), shown, "{referer}");
    }
}

#[test]
fn json_shows_no_character_that_moves_the_cursor() {
    let agent = "a\u{7f}b\u{9b}31m\u{202e}c\u{a0}d\u{1b}e\u{1f600}";
    let record = Record {
        user_agent: Some(agent.as_bytes()),
        ..record()
    };
    let text = line(&record, Duration::from_secs(1_795_000_000), true);
    assert!(!text.trim_end().contains(is_harmful), "{text:?}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["user_agent"], agent);
}

#[test]
fn nothing_that_a_client_sends_passes_as_a_field_of_its_own() {
    let now = Duration::from_secs(1_795_000_000);
    for blank in [
        " ", "\t", "\n", "\r", "\u{a0}", "\u{2003}", "\u{2028}", "\u{3000}",
    ] {
        let forged = format!("/x{blank}status=200{blank}subject=\"root\"");
        let record = Record {
            host: Some(&forged),
            path: Some(&forged),
            subject: Some(&forged),
            request_id: Some(&forged),
            user_agent: Some(forged.as_bytes()),
            referer: Some(forged.as_bytes()),
            status: Some(400),
            ..record()
        };
        let text = line(&record, now, false);
        let outside: String = without_quoted(&text);
        let named = |key: &str| {
            let fields = outside.split_whitespace();
            fields.filter(|field| field.starts_with(key)).count()
        };
        assert_eq!((named("status="), named("subject=")), (1, 1), "{text}");
        assert!(outside.contains(" status=400 "), "{text}");
        assert_eq!(text.matches('\n').count(), 1, "{text}");
    }
}

/// A line without what stands in quotes, as a parser of `key=value` reads it.
fn without_quoted(line: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    line.chars()
        .filter(|&c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            quoted ^= ends;
            !quoted && !ends
        })
        .collect()
}

#[test]
fn the_time_goes_on() {
    let mut line = LogLine::default();
    for (millis, expected) in [(999, "00.999Z"), (1000, "01.000Z"), (61_010, "01.010Z")] {
        line.begin(Duration::from_millis(millis), false);
        assert_eq!(line.text.get(17..24), Some(expected));
    }
}
