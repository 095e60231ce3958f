use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a proxy at 127.0.0.1 sent, and what is left: each field with its value.
fn reconciled(fields: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut request = RequestHeader::build("GET", b"/", None).unwrap();
    for (name, value) in fields {
        request.append_header(*name, *value).unwrap();
    }
    reconcile(&mut request, ip("127.0.0.1"), |address| {
        address.is_loopback()
    });
    let shown =
        |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut left: Vec<_> = request.headers.iter().map(shown).collect();
    left.sort_unstable();
    left
}

#[test]
fn each_field_gets_what_only_the_other_one_says() {
    for (fields, left) in [
        (&[][..], &[][..]),
        (
            &[(
                "forwarded",
                "for=192.0.2.7;proto=https;host=a.example;by=10.0.0.1",
            )],
            &[
                "forwarded: for=192.0.2.7;proto=https;host=a.example;by=10.0.0.1",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: a.example",
                "x-forwarded-proto: https",
            ],
        ),
        (
            &[
                ("x-forwarded-for", "192.0.2.7, 2001:db8::1, 127.0.0.2:80"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "a.example:8443"),
            ],
            &[
                "forwarded: for=192.0.2.7, for=\"[2001:db8::1]\";host=\"a.example:8443\"\
                 ;proto=https, for=\"127.0.0.2:80\"",
                "x-forwarded-for: 192.0.2.7, 2001:db8::1, 127.0.0.2:80",
                "x-forwarded-host: a.example:8443",
                "x-forwarded-proto: https",
            ],
        ),
        (
            &[
                ("forwarded", "For=\"[2001:DB8::1]:4711\" ; Proto=http"),
                ("forwarded", "for=_hidden, for=\"127.0.0.2:_x\""),
            ],
            &[
                "forwarded: For=\"[2001:DB8::1]:4711\" ; Proto=http",
                "forwarded: for=_hidden, for=\"127.0.0.2:_x\"",
                "x-forwarded-for: [2001:DB8::1]:4711, _hidden, 127.0.0.2",
            ],
        ),
        (
            &[
                ("forwarded", "proto=https"),
                ("x-forwarded-for", "192.0.2.7"),
            ],
            &["forwarded: for=192.0.2.7", "x-forwarded-for: 192.0.2.7"],
        ),
        (
            &[("forwarded", "proto=https")],
            &["x-forwarded-proto: https"],
        ),
        (
            &[("x-forwarded-proto", "https")],
            &["x-forwarded-proto: https"],
        ),
        (
            &[("x-forwarded-for", "junk, a\"b, \"192.0.2.7\"")],
            &[
                "forwarded: for=unknown, for=unknown, for=192.0.2.7",
                "x-forwarded-for: junk, a\"b, \"192.0.2.7\"",
            ],
        ),
    ] {
        assert_eq!(reconciled(fields), left, "{fields:?}");
    }
}

#[test]
fn what_agrees_stays_as_it_came() {
    let fields = [
        (
            "forwarded",
            "for=\"192.0.2.7:1\";secret=x;proto=HTTPS, for=127.0.0.2;proto=http",
        ),
        (
            "x-forwarded-for",
            "9.9.9.9, 192.0.2.7, 127.0.0.3, 127.0.0.2",
        ),
        ("x-forwarded-proto", "https"),
    ];
    let left = fields.map(|(name, value)| format!("{name}: {value}"));
    assert_eq!(reconciled(&fields), left);
}

#[test]
fn who_names_no_client_adds_no_scheme_and_no_host() {
    let forwarded = "for=192.0.2.7;proto=https;host=evil.example";
    let left = reconciled(&[("forwarded", forwarded), ("x-forwarded-for", "192.0.2.7")]);
    assert_eq!(
        left,
        ["forwarded: for=192.0.2.7", "x-forwarded-for: 192.0.2.7"]
    );
    let left = reconciled(&[
        ("forwarded", "for=192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
    ]);
    assert_eq!(
        left,
        ["forwarded: for=192.0.2.7", "x-forwarded-for: 192.0.2.7"]
    );
}

#[test]
fn a_contradiction_leaves_no_client() {
    for forwarded in [
        "for=192.0.2.8",
        "for=127.0.0.1",
        "for=unknown",
        "for=192.0.2.7, for=10.0.0.1",
        "for=192.0.2.7, proto=https",
        "for=\"192.0.2.7, for=192.0.2.7",
        "for=192.0.2.7, ",
        ", for=192.0.2.7",
        "for=192.0.2.7;for=192.0.2.7",
        "for = 192.0.2.7",
        "for=192.0.2.7 x",
        "for=",
        "192.0.2.7",
        "",
    ] {
        let left = reconciled(&[
            ("forwarded", forwarded),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-proto", "https"),
        ]);
        assert!(
            left.contains(&"x-forwarded-for: unknown".to_owned()),
            "{forwarded} {left:?}"
        );
        assert!(
            left[0].starts_with("forwarded: for=unknown;proto=http"),
            "{forwarded} {left:?}"
        );
    }
    let left = reconciled(&[("forwarded", "for=\"192.0.2.7, 10.0.0.1\"")]);
    assert_eq!(
        left,
        [
            "forwarded: for=\"192.0.2.7, 10.0.0.1\"",
            "x-forwarded-for: unknown"
        ]
    );
}

#[test]
fn a_contradiction_about_scheme_or_host_is_settled_on_the_safe_side() {
    let left = reconciled(&[
        ("forwarded", "for=192.0.2.7;proto=http;host=a.example"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b.example"),
    ]);
    assert_eq!(
        left,
        [
            "forwarded: for=192.0.2.7;proto=http",
            "x-forwarded-for: 192.0.2.7",
            "x-forwarded-proto: http"
        ]
    );
}

#[test]
fn an_element_of_our_own() {
    let value = HeaderValue::from_static;
    assert_eq!(
        element(ip("192.0.2.7"), Some(&value("a.example")), &value("https")),
        "for=192.0.2.7;host=a.example;proto=https"
    );
    assert_eq!(
        element(
            ip("2001:db8::1"),
            Some(&value("[::1]:8443")),
            &value("http")
        ),
        "for=\"[2001:db8::1]\";host=\"[::1]:8443\";proto=http"
    );
    assert_eq!(
        element(ip("192.0.2.7"), None, &value("http")),
        "for=192.0.2.7;proto=http"
    );
}
