//! The fields that a proxy adds, replaces and keeps for itself.

use std::time::Duration;

use crate::support::{Edge, Issuer, Settings, Upstream, eventually, secrets};

#[test]
fn what_an_untrusted_peer_says_of_the_way_it_came_is_replaced() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for http2 in [false, true] {
        upstream.clear();
        let request = edge.get("/api/x").host("public.example:8080");
        let request = request
            .header("X-Forwarded-For", "6.6.6.6")
            .header("X-Forwarded-For", "7.7.7.7")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "evil.example");
        assert_eq!(if http2 { request.http2() } else { request }.send().status, 200);
        let seen = upstream.only();
        assert_eq!(seen.head.fields("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(seen.head.fields("x-forwarded-proto"), ["http"]);
        assert_eq!(seen.head.fields("x-forwarded-host"), ["public.example:8080"]);
    }
}

#[test]
fn what_a_trusted_peer_says_is_kept_and_added_to() {
    let upstream = Upstream::start();
    for (trusted, believed) in
        [("127.0.0.0/8", true), ("127.0.0.1/32", true), ("10.0.0.0/8", false)]
    {
        upstream.clear();
        let edge =
            Edge::open(&upstream).proxy(&format!("trusted_proxies = [\"{trusted}\"]")).start();
        let request = edge
            .get("/api/x")
            .header("X-Forwarded-For", "6.6.6.6, 10.1.1.1")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "public.example");
        assert_eq!(request.send().status, 200);
        let seen = upstream.only();
        let way = seen.head.fields("x-forwarded-for").join(", ");
        if believed {
            assert_eq!(way, "6.6.6.6, 10.1.1.1, 127.0.0.1", "{trusted}");
            assert_eq!(
                (seen.head.field("x-forwarded-proto"), seen.head.field("x-forwarded-host")),
                (Some("https"), Some("public.example")),
                "{trusted}"
            );
        } else {
            assert_eq!(way, "127.0.0.1", "{trusted}");
            assert_eq!(seen.head.field("x-forwarded-proto"), Some("http"), "{trusted}");
        }
    }
}

#[test]
fn forwarded_is_written_and_says_what_the_other_fields_say() {
    let upstream = Upstream::start();
    let edge = |trusted: &str| {
        let keys = format!("forwarded = true\ntrusted_proxies = [\"{trusted}\"]");
        Edge::open(&upstream).proxy(&keys).start()
    };
    let seen = |edge: &Edge, fields: &[(&str, &str)]| {
        upstream.clear();
        let request = edge.get("/api/x").host("public.example:8080");
        let request = fields.iter().fold(request, |it, (name, value)| it.header(name, *value));
        assert_eq!(request.send().status, 200);
        let head = upstream.only().head;
        ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
            .map(|name| head.fields(name).join(" | "))
    };
    let own = "for=127.0.0.1;host=\"public.example:8080\";proto=http";
    let untrusting = edge("10.0.0.0/8");
    for fields in [&[][..], &[("Forwarded", "for=6.6.6.6;proto=https"), ("forwarded", "for=x")]] {
        let expected = [own, "127.0.0.1", "http", "public.example:8080"];
        assert_eq!(seen(&untrusting, fields), expected);
    }
    let trusting = edge("127.0.0.0/8");
    for (fields, expected) in [
        (&[][..], [own, "127.0.0.1", "http", "public.example:8080"]),
        (
            &[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a.example")],
            ["for=127.0.0.1;host=a.example;proto=https", "127.0.0.1", "https", "a.example"],
        ),
        (
            &[("Forwarded", "for=\"[2001:db8::1]:4711\";proto=https;host=a.example;by=_gw")],
            [
                &format!("for=\"[2001:db8::1]:4711\";proto=https;host=a.example;by=_gw, {own}"),
                "[2001:db8::1]:4711, 127.0.0.1",
                "https",
                "a.example",
            ],
        ),
        (
            &[("X-Forwarded-For", "6.6.6.6, 10.1.1.1"), ("X-Forwarded-Proto", "https")],
            [
                &format!("for=6.6.6.6, for=10.1.1.1;proto=https, {own}"),
                "6.6.6.6, 10.1.1.1, 127.0.0.1",
                "https",
                "public.example:8080",
            ],
        ),
        (
            &[("X-Forwarded-For", "10.1.1.1"), ("Forwarded", "for=6.6.6.6")],
            [&format!("for=unknown, {own}"), "unknown, 127.0.0.1", "http", "public.example:8080"],
        ),
    ] {
        assert_eq!(seen(&trusting, fields), expected, "{fields:?}");
    }
}

#[test]
fn forwarded_goes_no_further_where_nobody_has_compared_it() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).proxy("trusted_proxies = [\"127.0.0.0/8\"]").start();
    let request = edge.get("/api/x").header("Forwarded", "for=6.6.6.6");
    assert_eq!(request.header("X-Forwarded-For", "10.1.1.1").send().status, 200);
    let head = upstream.only().head;
    assert!(head.fields("forwarded").is_empty());
    assert_eq!(head.fields("x-forwarded-for"), ["10.1.1.1, 127.0.0.1"]);
}

#[test]
fn the_client_is_the_one_that_both_fields_name() {
    let upstream = Upstream::start();
    let steps = "middleware = [\"access\"]\n[middleware.access]\ntype = \"policies\"\nrules = \
                 [{ type = \"ip_allow\", ip_addresses = [\"203.0.113.0/24\"] }]";
    let tables = format!(
        "[pipelines.p]\nnetworks = [\"public\"]\nendpoints = [\"e\"]\nbackends = [\"app\"]\n\
         {steps}\n\
         [endpoints.e]\nservice = \"http\"\n[backends.app]\nservice = \"http\"\n\
         base_url = \"http://127.0.0.1:{}\"\n",
        upstream.port()
    );
    let proxy = "forwarded = true\ntrusted_proxies = [\"127.0.0.0/8\"]";
    let edge = Edge::configured(Settings::bare().proxy(proxy).and(&tables)).start();
    for (fields, status) in [
        (&[("Forwarded", "for=203.0.113.7")][..], 200),
        (&[("Forwarded", "for=\"203.0.113.7:80\""), ("X-Forwarded-For", "203.0.113.7")], 200),
        (&[("Forwarded", "for=203.0.113.7, for=9.9.9.9")], 403),
        (&[("Forwarded", "for=203.0.113.7"), ("X-Forwarded-For", "9.9.9.9")], 403),
        (&[("Forwarded", "for=9.9.9.9"), ("X-Forwarded-For", "203.0.113.7")], 403),
        (&[("Forwarded", "for=\"203.0.113.7"), ("X-Forwarded-For", "203.0.113.7")], 403),
        (&[("Forwarded", "for=unknown")], 403),
        (&[("Forwarded", "for=203.0.113.7"), ("Forwarded", "for=9.9.9.9")], 403),
    ] {
        let request = edge.get("/x");
        let request = fields.iter().fold(request, |it, (name, value)| it.header(name, *value));
        assert_eq!(request.send().status, status, "{fields:?}");
    }
}

#[test]
fn via_names_the_protocol_and_goes_behind_what_is_there() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let via = |http2: bool, before: Option<&str>| {
        upstream.clear();
        let request = edge.get("/api/x");
        let request = before.map_or(request.clone(), |before| request.header("Via", before));
        assert_eq!(if http2 { request.http2() } else { request }.send().status, 200);
        upstream.only().head.fields("via").join(", ")
    };
    assert!(via(false, None).starts_with("1.1 "), "{}", via(false, None));
    assert!(via(true, None).starts_with('2'), "{}", via(true, None));
    let both = via(false, Some("1.0 fred"));
    assert!(both.starts_with("1.0 fred, 1.1 "), "{both}");
}

#[test]
fn the_host_is_the_clients_unless_the_backend_wants_its_own() {
    let upstream = Upstream::start();
    let own = format!("127.0.0.1:{}", upstream.port());
    for (setting, http2, host) in [
        ("", false, "public.example"),
        ("", true, "public.example"),
        ("host = \"upstream\"", false, own.as_str()),
        ("host = \"upstream\"", true, own.as_str()),
    ] {
        upstream.clear();
        let edge = Edge::open(&upstream).backend(setting).start();
        let request = edge.get("/api/x").host("public.example");
        assert_eq!(if http2 { request.http2() } else { request }.send().status, 200);
        let seen = upstream.only();
        assert_eq!(seen.head.field("host"), Some(host), "{setting:?} (HTTP/2: {http2})");
        assert_eq!(seen.head.field("x-forwarded-host"), Some("public.example"), "{setting:?}");
    }
}

#[test]
fn fields_of_one_connection_stay_on_it() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.answer(
            200,
            &[
                ("Connection", "X-Back"),
                ("X-Back", "1"),
                ("Keep-Alive", "timeout=5"),
                ("X-Kept", "1"),
            ],
            b"ok",
        );
    });
    let edge = Edge::open(&upstream).start();
    let request = edge
        .get("/api/x")
        .header("Connection", "keep-alive, X-Hop, X-Other")
        .header("X-Hop", "1")
        .header("X-Other", "2")
        .header("X-Kept", "3");
    let response = request
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip")
        .send();
    let seen = upstream.only();
    for name in ["x-hop", "x-other", "keep-alive", "proxy-connection", "te"] {
        assert!(!seen.head.has(name), "{name} at the upstream: {:?}", seen.head.fields(name));
    }
    assert_eq!(seen.head.field("x-kept"), Some("3"));
    assert_eq!(
        (response.status, response.text().as_str(), response.field("x-kept")),
        (200, "ok", Some("1"))
    );
    for name in ["x-back", "keep-alive"] {
        assert!(!response.head.has(name), "{name} at the client: {:?}", response.fields(name));
    }
}

#[test]
fn every_request_has_an_id_that_both_sides_see() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let mut ids = Vec::new();
    for http2 in [false, true, false] {
        upstream.clear();
        let request = edge.get("/api/x");
        let response = if http2 { request.http2() } else { request }.send();
        let id = response.field("x-request-id").expect("an id in the response").to_owned();
        assert_eq!(upstream.only().head.field("x-request-id"), Some(id.as_str()));
        ids.push(id);
    }
    let denied = edge.get("/nowhere").send();
    ids.push(denied.field("x-request-id").expect("an id in a refusal").to_owned());
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "no two are the same");
    let id = denied.field("x-request-id").unwrap();
    eventually("the same id in the log", Duration::from_secs(20), || {
        edge.log().contains(id).then_some(())
    });
}

#[test]
fn the_upstream_gets_the_credential_that_is_meant_for_it() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let secret = "upstreamTokenThatNobodyElseMaySee0123456789";
    secrets::remember(secret);
    let edge = Edge::configured(
        Settings::with_jwt(&issuer, &upstream)
            .backend("authentication = \"authentications.bearer\"")
            .and(
                "[authentications.bearer]\nmethod = \"bearer\"\n\
                 options = { token = \"${UPSTREAM_TOKEN}\" }",
            ),
    )
    .env("UPSTREAM_TOKEN", secret)
    .start();
    assert_eq!(edge.get("/api/x").bearer(&issuer.token().sign()).send().status, 200);
    assert_eq!(
        upstream.only().head.field("authorization"),
        Some(format!("Bearer {secret}").as_str())
    );
    upstream.clear();

    let edge = Edge::open(&upstream)
        .backend("authentication = \"authentications.basic\"")
        .and(
            "[authentications.basic]\nmethod = \"basic\"\n\
             options = { username = \"edge\", password = \"${PASSWORD}\" }",
        )
        .env("PASSWORD", secret)
        .start();
    assert_eq!(
        edge.get("/api/x").header("Authorization", "Basic of-the-client").send().status,
        200
    );
    let basic = upstream.only().head.field("authorization").unwrap_or_default().to_owned();
    secrets::remember(basic.trim_start_matches("Basic "));
    assert_eq!(
        basic,
        format!(
            "Basic {}",
            base64::Engine::encode(
                &base64::engine::general_purpose::STANDARD,
                format!("edge:{secret}")
            )
        )
    );
}

#[test]
fn other_fields_travel_as_they_are() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        exchange.answer(
            299,
            &[
                ("Set-Cookie", "a=1"),
                ("Set-Cookie", "b=2"),
                ("X-Odd", "~!@#$%^&*()"),
                ("Server", "upstream/1"),
                ("Content-Encoding", "br"),
            ],
            b"ok",
        );
    });
    let edge = Edge::open(&upstream).start();
    let response = edge
        .get("/api/x")
        .header("Cookie", "c=3; d=4")
        .header("Accept-Encoding", "br")
        .header("X-Odd", "a  b\tc")
        .header("X-Twice", "1")
        .header("X-Twice", "2")
        .send();
    let seen = upstream.only();
    assert_eq!(
        (seen.head.field("cookie"), seen.head.field("accept-encoding"), seen.head.field("x-odd")),
        (Some("c=3; d=4"), Some("br"), Some("a  b\tc"))
    );
    assert_eq!(seen.head.fields("x-twice"), ["1", "2"]);
    assert_eq!(
        (response.status, response.fields("set-cookie"), response.field("x-odd")),
        (299, vec!["a=1", "b=2"], Some("~!@#$%^&*()"))
    );
    assert_eq!(response.field("content-encoding"), Some("br"));
}

/// In the order that they came in, though some between them go no further.
#[test]
fn fields_keep_their_order_their_repetitions_and_their_bytes() {
    let lines = [
        "x-a: 1",
        "x-hop: 1",
        "x-b: 2",
        "x-auth-subject: root",
        "x-b: 3",
        "cookie: a=1",
        "x-c: \u{e9}\u{ff}\u{80}",
        "keep-alive: timeout=5",
        "x-d: a  b\tc",
        "authorization: Basic x",
        "x-e: ",
        "proxy-connection: close",
        "x-f: 6",
        "te: gzip",
        "x-g: 7",
    ];
    let kept: Vec<Vec<u8>> = lines
        .iter()
        .filter(|line| line.starts_with("x-") && line.as_bytes()[3] == b':')
        .map(|line| latin1(line))
        .collect();
    let head: Vec<u8> =
        lines.iter().flat_map(|line| [latin1(line), b"\r\n".to_vec()].concat()).collect();
    let answer = [
        &b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\n"[..],
        &head,
        b"Content-Length: 2\r\nX-End: 1\r\n\r\nok",
    ]
    .concat();
    let upstream = Upstream::with(move |exchange| exchange.write(&answer));
    let edge = Edge::open(&upstream).start();
    let mut client = edge.connect();
    client.send(
        [&b"GET /api/x HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\n"[..], &head, b"\r\n"]
            .concat(),
    );
    let mut got = Vec::new();
    client.rest(&mut |piece| got.extend_from_slice(piece));
    for (side, head) in [("upstream", upstream.only().raw), ("client", got)] {
        let fields: Vec<Vec<u8>> = head
            .split(|&byte| byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec())
            .filter(|line| line.starts_with(b"x-") && line.get(3) == Some(&b':'))
            .collect();
        assert_eq!(fields, kept, "at the {side}");
    }
}

/// Each character as the one byte that it is in Latin-1.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

#[test]
fn an_expectation_that_is_not_known_is_417() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for http2 in [false, true] {
        for (expected, status) in [
            ("100-continue", 200),
            ("100-Continue", 200),
            ("", 200),
            ("magic", 417),
            ("100-continue, magic", 417),
            ("100-continued", 417),
            ("magic=1", 417),
        ] {
            let request = edge.post("/api/x", "body").header("Expect", expected);
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, status, "{expected:?} (HTTP/2: {http2})");
        }
    }
    assert!(upstream.requests().iter().all(|it| it.head.field("expect") != Some("magic")));
    let refused = edge.post("/nowhere", "body").header("Expect", "magic").send();
    assert_eq!(refused.status, 404, "what is not admitted is not looked at");
}

#[test]
fn a_hundred_fields_are_counted_as_fields() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    let ask = |fields: &str| {
        let mut client = edge.connect();
        client.send(format!("GET /api/x HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
        client.response().status
    };
    let fields = |count: usize| (0..count).map(|at| format!("X-{at}: 1\r\n")).collect::<String>();
    assert_eq!(ask(&fields(99)), 200, "and Host");
    assert_eq!(ask(&fields(100)), 431);
    // Folded lines are no fields; they are refused for what they are.
    assert_eq!(ask(&format!("{}{}", fields(50), " more\r\n".repeat(60))), 400);
    assert_eq!(ask("X-A: 1\r\n\tmore\r\n"), 400);
}
