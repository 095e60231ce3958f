//! Backends, targets, and the credentials that upstreams get.

use super::*;

pub(super) fn http_backend(keys: &str) -> String {
    format!(
        "{BASE}{}\n{keys}",
        PIPELINE.replace("service = \"echo\"", "service = \"http\"")
    )
}

pub(super) fn backend(text: &str) -> HttpBackend {
    match &ok(text).pipelines[0].backends[0].target {
        BackendTarget::Http(http) => (**http).clone(),
        BackendTarget::Echo => panic!("an echo"),
    }
}

#[test]
fn addresses_of_backends() {
    let target = "[targets.t]\nconnection.host = \"T.example\"\nconnection.port = 8888\n\
                  connection.protocol = \"https\"\nconnection.base_path = \"/t\"\n\
                  timeout_secs = 7\nmax_retries = 2\n";
    for (keys, want) in [
        (
            "base_url = \"http://10.0.0.5:3000\"",
            (false, "10.0.0.5", 3000, "/"),
        ),
        (
            "options = { url = \"https://A.example/base/\" }",
            (true, "a.example", 443, "/base"),
        ),
        (
            "options = { base_url = \"http://[::1]/b\", path_prefix = \"/c\" }",
            (false, "::1", 80, "/b/c"),
        ),
        (
            "connection = { host = \"h\", port = 1, protocol = \"https\", base_path = \"/x/\" }",
            (true, "h", 1, "/x"),
        ),
        (
            "connection = { host = \"https://h/x\", port = 1 }",
            (true, "h", 1, "/x"),
        ),
        ("target_ref = \"t\"", (true, "t.example", 8888, "/t")),
        (
            "target_ref = \"targets.t\"\nconnection.host = \"other\"\npath_prefix = \"/p\"",
            (true, "other", 8888, "/t/p"),
        ),
        (
            "target_ref = \"t\"\nbase_url = \"http://own\"",
            (false, "own", 80, "/"),
        ),
    ] {
        let got = backend(&http_backend(&format!("{keys}\n{target}")));
        let [got] = got.upstreams.as_slice() else {
            panic!("{keys}: {got:?}");
        };
        assert_eq!(
            (got.tls, got.host.as_str(), got.port, got.base_path.as_str()),
            want,
            "{keys}"
        );
    }
    let got = backend(&http_backend(&format!("target_ref = \"t\"\n{target}")));
    assert_eq!((got.head_timeout.as_secs(), got.max_retries), (7, 2));
    let got = backend(&http_backend(&format!(
        "target_ref = \"t\"\ntimeout_secs = 8\ntotal_timeout_secs = 9\nhost = \"upstream\"\n\
         {target}"
    )));
    assert_eq!(
        (
            got.head_timeout.as_secs(),
            got.total_timeout,
            got.send_upstream_host
        ),
        (8, Some(Duration::from_secs(9)), true)
    );
    let got = backend(&http_backend("base_url = \"http://h\""));
    assert_eq!(
        (
            got.connect_timeout.as_secs(),
            got.head_timeout.as_secs(),
            got.read_timeout.as_secs(),
            got.total_timeout,
            got.max_retries,
            got.max_connections
        ),
        (5, 30, 60, None, 1, None)
    );
    let got = backend(&http_backend(
        "base_url = \"http://h\"\nmax_connections = 7",
    ));
    assert_eq!(got.max_connections, Some(7));
    assert!(got.credential.is_none() && got.ca_cert_path.is_none() && !got.send_upstream_host);
}

#[test]
fn backend_refusals() {
    for (keys, want) in [
        ("", "20: backends.b.base_url: is missing"),
        (
            "base_url = \"http://h\"\nmax_connections = 0",
            "24: backends.b.max_connections: must be",
        ),
        (
            "base_url = \"10.0.0.5:3000\"",
            "23: backends.b.base_url: must begin with",
        ),
        (
            "base_url = \"http://h/a/../b\"",
            "must not contain a dot segment",
        ),
        ("base_url = \"http://h/?a=b\"", "must not have a query"),
        (
            "base_url = \"http://h\"\nconnection.host = \"g\"",
            "base_url: is given beside `connection`",
        ),
        (
            "base_url = \"http://h\"\ntimeout_secs = 0",
            "timeout_secs: must be from 1 to 3600",
        ),
        (
            "base_url = \"https://h\"\nca_cert_path = \"none.pem\"",
            "ca_cert_path: conf/none.pem cannot be read: ",
        ),
        (
            "base_url = \"https://my_host.example.com\"",
            "has an underscore before the first dot",
        ),
        (
            "base_url = \"http://h\"\nhost = \"h\"",
            "host: must be \"client\" or \"upstream\"",
        ),
        (
            "base_url = \"http://h\"\ntimeout_sec = 3",
            "did you mean \"timeout_secs\"?",
        ),
        (
            "connection = { host = \"h:1\" }",
            "connection.host: is not a host name",
        ),
        (
            "connection = { host = \"h\", protocol = \"h3\" }",
            "the protocol \"h3\" is not something that an HTTP edge does; use \"https\"",
        ),
        ("target_ref = \"t\"", "unknown target \"t\""),
        (
            "target_ref = \"t\"\n[targets.t]\nenabled = false\nconnection.host = \"h\"",
            "target_ref: is switched off",
        ),
        (
            "target_ref = \"t\"\n[targets.t]\nconnection = { host = \"h\", hots = \"h\" }",
            "targets.t.connection.hots: unknown key \"hots\"; did you mean \"host\"?",
        ),
        (
            "base_url = \"http://h\"\nauthentication = \"authentications.x\"",
            "unknown authentication \"x\"",
        ),
    ] {
        one_error(&http_backend(keys), want);
    }
}

#[test]
fn credentials_for_upstreams() {
    let with = |method: &str| {
        http_backend(&format!(
            "base_url = \"https://h\"\nauthentication = \"authentications.x\"\n\
             [authentications.x]\n{method}\n"
        ))
    };
    let value = |method: &str| {
        backend(&with(method))
            .credential
            .map(|credential| credential.0.expose().to_owned())
    };
    assert_eq!(
        value(
            "method = \"basic\"\noptions = { username = \"Aladdin\", password = \"open sesame\" }"
        )
        .as_deref(),
        Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    );
    assert_eq!(
        value("method = \"bearer\"\noptions.token = \"${LONG}\"").as_deref(),
        Some("Bearer 0123456789abcdef0123456789abcdef")
    );
    assert_eq!(value("method = \"none\""), None);
    for (method, want) in [
        (
            "method = \"basic\"\nusername = \"u\"",
            "authentications.x.password: is missing",
        ),
        (
            "method = \"basic\"\nusername = \"u:v\"\npassword = \"p\"",
            "a user name has no colon",
        ),
        (
            "method = \"bearer\"\ntoken = \"${EMPTY}\"",
            "the token must be visible ASCII and not empty",
        ),
        (
            "method = \"bearer\"\ncredentials_path = \"x\"\ntoken = \"t\"",
            "credentials_path is not served by this version",
        ),
        (
            "method = \"jwt\"\njwks_url = \"https://h/\"\nissuer = \"i\"\naudience = \"a\"",
            "is a check, not what an upstream gets",
        ),
    ] {
        one_error(&with(method), want);
    }
    let plain = ok(&with("method = \"bearer\"\ntoken = \"t\"").replace("https://h", "http://h"));
    assert_eq!(
        warnings(&plain),
        ["conf/h.toml:20: backends.b: its credential travels over http"]
    );
    assert!(
        warnings(&ok(
            &with("method = \"bearer\"\ntoken = \"t\"").replace("https://h", "http://127.0.0.1")
        ))
        .is_empty()
    );
    let target = http_backend(
        "target_ref = \"t\"\n[targets.t]\nconnection = { host = \"h\", protocol = \"https\" }\n\
         authentication = \"authentications.x\"\n[authentications.x]\nmethod = \"bearer\"\n\
         token = \"t\"\n",
    );
    assert!(backend(&target).credential.is_some());
}

#[test]
fn unix_sockets() {
    for (keys, socket, base_path) in [
        ("base_url = \"unix:/run/app.sock\"", "/run/app.sock", "/"),
        ("url = \"unix:/run/app.sock:/\"", "/run/app.sock", "/"),
        (
            "base_url = \"unix:/run/app.sock:/v1/\"",
            "/run/app.sock",
            "/v1",
        ),
        (
            "options = { base_url = \"unix:/run/a:b.sock:/v1\", path_prefix = \"/c\" }",
            "/run/a:b.sock",
            "/v1/c",
        ),
        ("upstreams = [{ url = \"unix:/a.sock\" }]", "/a.sock", "/"),
        ("target_ref = \"t\"", "/t.sock", "/t"),
    ] {
        let target = "[targets.t]\nbase_url = \"unix:/t.sock:/t\"\n";
        let got = backend(&http_backend(&format!("{keys}\n{target}")))
            .upstreams
            .remove(0);
        assert_eq!(got.socket.as_deref(), Some(Path::new(socket)), "{keys}");
        assert_eq!(
            (got.tls, got.base_path.as_str()),
            (false, base_path),
            "{keys}"
        );
        assert_eq!(got.authority(), "localhost");
        assert_eq!(
            (got.origin(), got.server()),
            (format!("unix:{socket}"), got.origin())
        );
        match base_path {
            "/" => assert_eq!(got.shown(), got.origin()),
            path => assert_eq!(got.shown(), format!("unix:{socket}:{path}")),
        }
    }
    let own = "target_ref = \"t\"\nconnection = { host = \"h\", port = 8 }\n[targets.t]\n\
               base_url = \"unix:/t.sock\"\n";
    let got = backend(&http_backend(own)).upstreams.remove(0);
    assert_eq!(
        (got.socket.as_ref(), got.origin().as_str()),
        (None, "http://h:8")
    );
}

#[test]
fn refused_unix_sockets() {
    let long = format!("base_url = \"unix:/{}\"", "a".repeat(107));
    for (keys, want) in [
        (
            "base_url = \"unix:run/app.sock\"",
            "base_url: must have an absolute path after \"unix:\"; write it like \
             \"unix:/run/app.sock\"",
        ),
        ("base_url = \"unix:\"", "must have an absolute path after"),
        (
            "base_url = \"unix:///run/app.sock\"",
            "must have an absolute path after",
        ),
        (
            "base_url = \"unix:/run/\"",
            "must have the path of a socket after",
        ),
        (
            "base_url = \"unix:/run/a\\nb\"",
            "must have the path of a socket after",
        ),
        (
            long.as_str(),
            "by a path of 108 bytes, more than the system's 107",
        ),
        (
            "base_url = \"unix:/a.sock:/v1/../x\"",
            "must not contain a dot segment",
        ),
        ("base_url = \"unix:/a.sock:/v1?x\"", "must not contain '?'"),
        (
            "base_url = \"https://unix:/a.sock\"",
            "base_url: must have a port from 1 to 65535",
        ),
        (
            "base_url = \"unix:/a.sock\"\nprotocol = \"https\"",
            "base_url: is a unix socket, which is spoken to without TLS",
        ),
        (
            "connection.host = \"unix:/a.sock\"",
            "connection.host: is not a host name; a unix socket is named by base_url",
        ),
        (
            "target_ref = \"t\"\nconnection.port = 8\n[targets.t]\nbase_url = \"unix:/t.sock\"",
            "its target names a unix socket, which has no port",
        ),
        (
            "upstreams = [\"unix:/a.sock\", \"unix:/a.sock:/x\"]",
            "names a host and a port that stand in the list already",
        ),
    ] {
        one_error(&http_backend(keys), want);
    }
}
