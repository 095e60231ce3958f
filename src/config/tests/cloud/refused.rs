//! What a text from the cloud may not hold.

use super::*;

#[test]
fn what_it_may_not_hold() {
    let house = House::new();
    let with = |lines: &str| format!("{CLOUD}{lines}\n");
    let replaced = |from: &str, to: &str| {
        assert!(CLOUD.contains(from));
        CLOUD.replace(from, to)
    };
    let to = |url: &str| replaced("http://10.0.0.7:80", url);
    for (text, want) in [
        // tables of the operator's
        (
            with("[proxy]\nid = \"other\""),
            "proxy.id: is for the local files",
        ),
        (
            with("[proxy]\nthreads = 4"),
            "proxy.threads: is for the local files",
        ),
        (
            with("[network.evil.http]\nbind_port = 1"),
            "network.evil: is for the local files",
        ),
        (
            with("[network.public.http]\nbind_port = 1"),
            "network.public.http.bind_port: is for the",
        ),
        (
            with("[management]\nallow_from = [\"0.0.0.0/0\"]"),
            "management.allow_from: is for the",
        ),
        (
            with("[runbeam]\nenabled = true"),
            "runbeam.enabled: is for the local files",
        ),
        (
            with("[provider.runbeam]\napi = \"https://x\""),
            "provider.runbeam: is for the local",
        ),
        (
            with("[logging]\nlog_level = \"trace\""),
            "logging.log_level: is for the local files",
        ),
        (
            format!("logging = 3\n{CLOUD}"),
            "logging: is for the local files to set",
        ),
        (with("[nonsense]\na = 1"), "nonsense: unknown key"),
        (
            with("[mesh]\na = 1"),
            "mesh: the table \"mesh\" is not something",
        ),
        (
            "[[middleware]]\ntype = \"passthru\"\n".into(),
            "middleware: [[middleware]] stands in the local",
        ),
        ("pipelines = 3".into(), "pipelines: expected a table"),
        // secrets and files
        (
            to("http://${HOME}:80"),
            "backends.c.base_url: is a reference that the local files do not have",
        ),
        (
            to("http://${file:/etc/hostname}"),
            "backends.c.base_url: is a reference",
        ),
        (
            to("http://${NONE:-h}/"),
            "backends.c.base_url: is a reference",
        ),
        (
            replaced(
                "https://c.example/jwks",
                "https://c.example/${credential:x}",
            ),
            "middleware.c.config.jwks_url: is a reference",
        ),
        (
            replaced(
                "jwks_url = \"https://c.example/jwks\"",
                "jwks_path = \"/etc/passwd\"",
            ),
            "middleware.c.config.jwks_path: names a file",
        ),
        (
            replaced(
                "jwks_url = \"https://c.example/jwks\"",
                "public_key_path = \"key.pem\"",
            ),
            "middleware.c.config.public_key_path: names a file",
        ),
        (
            with("[middleware.d]\ntype = \"basic-auth\"\nhtpasswd_path = \"/etc/shadow\""),
            "middleware.d.htpasswd_path: names a file",
        ),
        // the same reference, at another place and at the same place of another table
        (
            with("[authentications.d]\nmethod = \"bearer\"\ntoken = \"${LONG}\""),
            "authentications.d.token: is a reference",
        ),
        (
            with("[authentications.out]\nmethod = \"bearer\"\ntoken = \"x${LONG}\""),
            "authentications.out: the local files have it too",
        ),
        // the local files' credentials
        (
            replaced(
                "service = \"http\"\nbase",
                "service = \"http\"\nauthentication = \"authentications.out\"\nbase",
            ),
            "backends.c.authentication: is a credential of the local files",
        ),
        (
            replaced("base_url", "target_ref = \"t\"\nbase_url"),
            "backends.c.target_ref: is a credential of the local files",
        ),
        (
            with(
                "[targets.c]\nconnection.host = \"h\"\noptions = { authentication = \
                 \"authentications.out\" }",
            ),
            "targets.c.options.authentication: is a credential of the local files",
        ),
        (
            replaced("backends = [\"c\"]", "backends = [\"b\"]"),
            "backend \"b\" of the local files gets a credential",
        ),
        // the Management API
        (
            to("http://127.0.0.1:19090"),
            "backends.c: points at the Management API",
        ),
        (
            to("http://localhost:19090/admin"),
            "backends.c: points at the Management API",
        ),
        (
            to("http://x.localhost.:19090"),
            "backends.c: points at the Management API",
        ),
        (
            to("http://0.0.0.0:19090"),
            "backends.c: points at the Management API",
        ),
        (
            to("http://[::1]:19090"),
            "backends.c: points at the Management API",
        ),
        (
            to("http://[::ffff:7f00:1]:19090"),
            "backends.c: points at the Management API",
        ),
        (
            replaced(
                "base_url = \"http://10.0.0.7:80\"",
                "upstreams = [\"http://10.0.0.7:80\", { url = \"http://127.0.0.1:19090\" }]",
            ),
            "backends.c: points at the Management API",
        ),
        (
            replaced(
                "base_url = \"http://10.0.0.7:80\"",
                "connection = { host = \"127.1.1.1\", port = 19090 }",
            ),
            "backends.c: points at the Management API",
        ),
        // what nobody may reach, in every spelling
        (
            to("http://169.254.169.254/latest"),
            "backends.c: points at a link-local address",
        ),
        (
            to("http://[::ffff:169.254.169.254]"),
            "points at a link-local address",
        ),
        (
            to("http://[::169.254.169.254]"),
            "points at a link-local address",
        ),
        (
            to("http://[64:ff9b::a9fe:a9fe]"),
            "points at a link-local address",
        ),
        (
            to("https://[fe80::1]:8443"),
            "points at a link-local address",
        ),
        (
            to("http://224.0.0.251"),
            "points at a multicast or broadcast address",
        ),
        (to("http://0.0.0.0:80"), "points at an unspecified address"),
        (to("http://[::]:80"), "points at an unspecified address"),
        (
            to("http://[fd00:ec2::254]"),
            "points at the address of a metadata service",
        ),
        (to("unix:/run/app.sock"), "points at a unix socket"),
        (to("unix:/run/app.sock:/base"), "points at a unix socket"),
        (to("http://2852039166"), "must name a valid host"),
        (to("http://0xA9FEA9FE"), "must name a valid host"),
        (to("http://0XA9FEA9FE"), "must name a valid host"),
        (to("http://0251.0376.0251.0376"), "must name a valid host"),
        (to("http://0xa9.0xfe.0xa9.0xfe"), "must name a valid host"),
        (to("http://169.254.43518"), "must name a valid host"),
        (to("http://169.254.169.254."), "must name a valid host"),
        (to("http://[fe80::1%25eth0]"), "must name a valid host"),
        (
            replaced(
                "jwks_url = \"https://c.example/jwks\"",
                "jwks_allow_http = true, jwks_url = \"http://169.254.169.254/jwks\"",
            ),
            "jwks_url points at a link-local address",
        ),
        // a hash that keeps a core busy for minutes
        (
            replaced(
                "type = \"jwt-auth\"\nconfig = { jwks_url = \"https://c.example/jwks\", issuer = \
                 \"i\", audience = \"a\" }",
                "type = \"basic-auth\"\nconfig = { username = \"u\", password_hash = \
                 \"$2b$15$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\" }",
            ),
            "has bcrypt cost 15, and the cloud's are at most 14",
        ),
        (
            replaced("\"public\"", "\"management\""),
            "pipelines.c.networks: network \"management\" is that of the Management API",
        ),
        // names and places of the local files
        (
            CLOUD.replace(".c]", ".p]"),
            "pipelines.p: the local files have it too",
        ),
        (
            replaced("/c\"", "/p\""),
            "endpoint \"c\" claims \"/p\" on network \"public\", and so does endpoint \"e\" of \
             pipeline \"p\"",
        ),
        (
            replaced("/c\"", "/p\", methods = [\"OPTIONS\"]"),
            "endpoint \"c\" claims \"/p\" on network \"public\", and so does endpoint \"e\" of \
             pipeline \"p\"",
        ),
        (
            replaced("/c\"", "/p/x\""),
            "takes requests of pipeline \"p\" of the local files",
        ),
        (
            replaced("/c\"", "/P/x\""),
            "takes requests of pipeline \"p\" of the local files",
        ),
        (
            replaced("/c\"", "/\", hosts = [\"a.example\"]"),
            "takes requests of pipeline \"p\" of the local files",
        ),
        (
            replaced("/c\"", "/p/x\", hosts = [\"*.example\"]"),
            "takes requests of pipeline \"p\" of the local files",
        ),
        (
            replaced(
                "/c\"",
                "/p\", hosts = [\"a.example\"], methods = [\"POST\"]",
            ),
            "takes requests of pipeline \"p\" of the local files",
        ),
        (
            CLOUD.replace(
                "https://c.example/jwks",
                "http://127.0.0.1:19090/admin/info",
            ),
            "jwks_url points at the Management API",
        ),
        (
            with("[middleware.passthru]\ntype = \"log_dump\""),
            "middleware.passthru: the local files have it",
        ),
        ("[pipelines".into(), "cloud change c1:1: "),
    ] {
        let lines = house.refused(&text);
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("cloud change c1") && line.contains(want)),
            "{text}\nwant {want}\ngot {lines:#?}"
        );
    }
}

#[test]
fn hosts_below_a_name_are_somebodys_too() {
    let mut house = House::new();
    house.local = house.local.replace(
        "path_prefix = \"/p\"",
        "path_prefix = \"/p\", hosts = [\"*.a.example\"]",
    );
    let with = |hosts: &str| CLOUD.replace("/c\"", &format!("/p/x\", hosts = [\"{hosts}\"]"));
    for taken in ["*.a.example", "x.a.example", "*.x.a.example"] {
        let lines = house.refused(&with(taken));
        assert!(
            lines[0].contains("takes requests of pipeline \"p\""),
            "{taken}: {lines:?}"
        );
    }
    for free in ["a.example", "*.example", "*.b.example", "b.example"] {
        let config = house.with(&[("c1", true, &with(free))]);
        assert!(
            config.cloud.set_aside.is_empty(),
            "{free}: {:?}",
            config.cloud.set_aside
        );
    }
}

#[test]
fn it_gets_no_secret_by_a_header_rule() {
    let mut house = House::new();
    house.local += "[middleware.key]\ntype = \"headers\"\nconfig = { request = { set = { X-Key = \
                    \"${LONG}\" } } }\n[middleware.plain]\ntype = \"headers\"\nconfig = { request \
                    = { set = { X-Key = \"{subject}\" } } }\n";
    let with = |step: &str| {
        CLOUD.replace(
            "middleware = [\"c\"]",
            &format!("middleware = [\"c\", \"{step}\"]"),
        )
    };
    let lines = house.refused(&with("key"));
    assert!(
        lines[0].contains("sets a header from a reference of the local files"),
        "{lines:?}"
    );
    let config = house.with(&[("c1", true, &with("plain"))]);
    assert_eq!(names(&config), ["p", "c"]);
    let own = "[middleware.own]\ntype = \"headers\"\nconfig = { request = { set = { X-Key = \
               \"${LONG}\" } } }\n";
    let lines = house.refused(&format!("{}{own}", with("own")));
    assert!(
        lines.iter().any(|line| line.contains("is a reference")),
        "{lines:?}"
    );
}

#[test]
fn the_operator_narrows_what_its_backends_may_be() {
    let mut house = House::new();
    house.local += "[runbeam]\nbackend_allow = [\"10.0.0.0/24\", \"fd00::/8\"]\n";
    let config = house.with(&[("c1", true, CLOUD)]);
    assert_eq!(names(&config), ["p", "c"]);
    for outside in [
        "http://10.0.1.7:80",
        "http://127.0.0.1:80",
        "http://[::1]:80",
    ] {
        let lines = house.refused(&CLOUD.replace("http://10.0.0.7:80", outside));
        let want = "backends.c: points at an address outside of runbeam.backend_allow";
        assert!(lines.iter().any(|line| line.contains(want)), "{lines:#?}");
    }
    // Off or on, what the cloud sent before serves, within the same bounds.
    house.local = house
        .local
        .replace("[runbeam]", "[runbeam]\nenabled = false");
    house.refused(&CLOUD.replace("http://10.0.0.7:80", "http://10.0.1.7:80"));
    house.local = house.local.replace("\"10.0.0.0/24\", \"fd00::/8\"", "");
    house.refused(CLOUD);
    // The local files are not narrowed, nor are their steps where a pipeline of the cloud's uses
    // one.
    house.local = house
        .local
        .replace("backend_allow = []", "backend_allow = [\"10.0.0.7\"]")
        + "[middleware.near]\ntype = \"jwt-auth\"\n\
           config = { jwks_url = \"http://127.0.0.1:1/k\", issuer = \"i\", audience = \"a\" }\n";
    let text = CLOUD.replace("middleware = [\"c\"]", "middleware = [\"near\"]");
    assert_eq!(names(&house.with(&[("c1", true, &text)])), ["p", "c"]);
    assert_eq!(names(&house.with(&[])), ["p"]);
}

#[test]
fn a_document_takes_no_place_of_the_local_files() {
    let table = |path: &str| {
        format!(
            "{CLOUD}[pipelines.c.resource]\nidentifier = \"https://c.example{path}\"\n\
             authorization_servers = [\"https://a.example\"]\n"
        )
    };
    let mut house = House::new();
    assert_eq!(
        names(&house.with(&[("c1", true, &table("/c"))])),
        ["p", "c"]
    );
    let want = "takes requests of pipeline \"p\" of the local files";
    let is_refused = |house: &House, text: &str| {
        let lines = house.refused(text);
        assert!(lines.iter().any(|line| line.contains(want)), "{lines:#?}");
    };
    let local = house.local.clone();
    house.local = local.replace("\"/p\"", "\"/.well-known\"");
    is_refused(&house, &table("/c"));
    // For a host that the cloud names, its document would be found first.
    house.local = local
        + "[pipelines.p.resource]\nidentifier = \"https://p.example/c\"\n\
           authorization_servers = [\"https://a.example\"]\n";
    let named = table("/c").replace("\"/c\" }", "\"/c\", hosts = [\"p.example\"] }");
    is_refused(&house, &named);
    let other = named.replace("https://c.example/c", "https://c.example/d");
    assert_eq!(names(&house.with(&[("c1", true, &other)])), ["p", "c"]);
}
