//! `harmony-edge explain`: the same decision as the running edge, told to the operator.

use crate::configuration::{GOOD, with};
use crate::support::settings::Route;
use crate::support::token::{Token, now};
use crate::support::{Edge, Issuer, Program, Settings, Upstream};

fn explain(issuer: &Issuer, arguments: &[&str]) -> String {
    explain_with(issuer, arguments, "")
}

fn explain_with(issuer: &Issuer, arguments: &[&str], stdin: &str) -> String {
    let step = "  audience = \"harmony-api\",\n";
    let more = "  required_claims = { team = \"blue\" },\n  required_scopes = [\"read\"],\n";
    let text = with(step, &format!("{step}{more}"));
    let text = text.replace("http://127.0.0.1:1/jwks.json", &issuer.url());
    let mut all = vec!["explain", "-c", "harmony.toml"];
    all.extend_from_slice(arguments);
    let ran = Program::with(&all).file("harmony.toml", &text).stdin(stdin).run();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    ran.stdout
}

fn good(issuer: &Issuer) -> Token {
    issuer.token().claim("team", "blue").claim("scope", "write read")
}

#[test]
fn it_tells_route_steps_and_what_the_upstream_gets() {
    let issuer = Issuer::start();
    let token = good(&issuer).sign();
    let field = format!("Authorization: Bearer {token}");
    let told = explain(
        &issuer,
        &[
            "--request",
            "GET /api/x?secret=1",
            "--header",
            &field,
            "--header",
            "X-Auth-Subject: root",
            "--from",
            "192.0.2.7",
        ],
    );
    for line in [
        "pipeline api, endpoint api at /api",
        "jwt: authenticated as alice",
        "protocol  HTTP/1.1\nforwarded to app",
        "x-auth-subject: alice",
        "x-forwarded-for: 192.0.2.7",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(
        !told.contains(&token) && !told.contains("secret=1") && !told.contains("root"),
        "{told}"
    );
}

#[test]
fn it_tells_what_is_spoken_to_the_upstream() {
    for (scheme, version, protocol, line) in [
        ("http", "auto", "HTTP/1.1", "GET /x HTTP/1.1"),
        ("https", "1.1", "HTTP/1.1", "GET /x HTTP/1.1"),
        ("http", "2", "HTTP/2, with prior knowledge (h2c)", "GET /x HTTP/2"),
        ("https", "2", "HTTP/2, by ALPN", "GET /x HTTP/2"),
        ("https", "auto", "HTTP/2 or HTTP/1.1, by ALPN", "GET /x\n"),
    ] {
        let route = Route::to_url("all", &format!("{scheme}://127.0.0.1:1"))
            .prefix("/")
            .backend(&format!("http_version = \"{version}\""));
        let text = Settings::bare().and(&route.text()).text();
        let text = text.replace("{port}", "18080").replace("{mport}", "18081");
        let arguments = ["explain", "-c", "harmony.toml", "--request", "GET /x"];
        let ran = Program::with(&arguments).file("harmony.toml", &text).run();
        let told = ran.stdout;
        assert!(told.contains(&format!("protocol  {protocol}\nforwarded to all")), "{told}");
        assert!(told.contains(&format!("          {line}")), "{told}{}", ran.stderr);
    }
}

#[test]
fn it_tells_why_not_and_what_the_client_gets() {
    let issuer = Issuer::start();
    let expired = format!("Authorization: Bearer {}", issuer.token().expired().sign());
    for (arguments, lines) in [
        (
            &["--request", "GET /api/x"] as &[&str],
            [
                "jwt: nothing presented",
                "answered  by the edge itself: missing",
                "HTTP/1.1 401 Unauthorized",
            ],
        ),
        (
            &["--request", "GET /api/x", "--header", &expired],
            ["jwt: rejected: expired", "error=\"invalid_token\"", "HTTP/1.1 401 Unauthorized"],
        ),
        (&["--request", "GET /nowhere"], ["route     none", "no_route", "HTTP/1.1 404 Not Found"]),
        (&["--request", "GET /api/%2f"], ["route     none", "path", "HTTP/1.1 400 Bad Request"]),
    ] {
        let told = explain(&issuer, arguments);
        for line in lines {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
}

#[test]
fn a_request_that_is_none_is_an_error() {
    for arguments in [["--request", "GET"], ["--network", "nonsense"]] {
        let mut all = vec!["explain", "-c", "harmony.toml", "--request", "GET /"];
        if arguments[0] == "--request" {
            all.truncate(3);
        }
        all.extend_from_slice(&arguments);
        let ran = Program::with(&all).file("harmony.toml", GOOD).run();
        assert_eq!(ran.status, Some(1), "{arguments:?}: {}", ran.stderr);
    }
}

#[test]
fn it_names_the_value_and_the_claim_that_do_not_fit() {
    let issuer = Issuer::start();
    let past = now() - 3600;
    let ahead = now() + 3600;
    for (token, expected) in [
        (
            good(&issuer).claim("iss", "https://evil.example"),
            "wrong_issuer: iss is \"https://evil.example\", the step takes \
             \"https://auth.example.com\""
                .to_owned(),
        ),
        (good(&issuer).without("iss"), "wrong_issuer: iss is absent, the step takes".to_owned()),
        (
            good(&issuer).claim("aud", vec!["one", "two"]),
            "wrong_audience: aud is [\"one\",\"two\"], the step takes \"harmony-api\"".to_owned(),
        ),
        (good(&issuer).claim("exp", past), format!("expired: exp is {past} (")),
        (good(&issuer).claim("exp", past), " s ago, and leeway_secs is 60".to_owned()),
        (good(&issuer).without("exp"), "no_expiry: exp is absent".to_owned()),
        (good(&issuer).claim("nbf", ahead), format!("not_yet_valid: nbf is {ahead} (")),
        (good(&issuer).claim("iat", ahead), format!("not_yet_valid: iat is {ahead} (")),
        (
            good(&issuer).claim("team", "red"),
            "claim_missing: team is \"red\", and has to have \"blue\"".to_owned(),
        ),
        (
            good(&issuer).without("team"),
            "claim_missing: team is absent, and has to have \"blue\"".to_owned(),
        ),
        (
            good(&issuer).claim("scope", "write"),
            "scope_missing: scope is \"write\", and has to hold \"read\"".to_owned(),
        ),
        (
            good(&issuer).without("scope"),
            "scope_missing: scope is absent, and has to hold \"read\"".to_owned(),
        ),
        (
            good(&issuer).header("typ", "at+dpop"),
            "wrong_type: typ is \"at+dpop\", the step takes \"jwt\" or \"at+jwt\"".to_owned(),
        ),
        (
            good(&issuer).header("alg", "RS512"),
            "wrong_algorithm: alg is \"RS512\", the step takes \"RS256\"".to_owned(),
        ),
        (
            good(&issuer).header("crit", vec!["x"]),
            "unsupported_header: its header has crit, which is not understood here".to_owned(),
        ),
        (good(&issuer).kid("k9"), "unknown_kid: kid is \"k9\"".to_owned()),
        (good(&issuer).claim("sub", 5), "malformed: sub is 5".to_owned()),
        (
            good(&issuer).claim("exp", "tomorrow"),
            "malformed: exp is \"tomorrow\", not a number".to_owned(),
        ),
        (good(&issuer).raw_claims("{}}"), "malformed: its claims are no JSON object".to_owned()),
    ] {
        let token = token.sign();
        let told = explain_with(&issuer, &["--request", "GET /api/x", "--token-stdin"], &token);
        let line = format!("jwt: rejected: {expected}");
        let line = if expected.starts_with(' ') { expected.as_str() } else { &line };
        assert!(told.contains(line), "{line}: {told}");
        assert!(!told.contains(&token), "{told}");
    }
    let field = "Authorization: Bearer not.a-token";
    let told = explain(&issuer, &["--request", "GET /api/x", "--header", field]);
    assert!(
        told.contains("jwt: rejected: malformed: a token is three parts in base64url"),
        "{told}"
    );
}

#[test]
fn it_takes_a_whole_url_and_a_token_from_standard_input() {
    let issuer = Issuer::start();
    let token = good(&issuer).sign();
    for stdin in [format!("{token}\n"), format!("Bearer {token}\r\n"), token.clone()] {
        let url = "GET https://api.example.com/api/x?q=1";
        let told = explain_with(&issuer, &["--request", url, "--token-stdin"], &stdin);
        for line in
            ["jwt: authenticated as alice", "host: api.example.com", "GET /x?[query] HTTP/1.1"]
        {
            assert!(told.contains(line), "{line}: {told}");
        }
    }
    let told = explain(&issuer, &["--request", "http://h:18080/nowhere"]);
    assert!(told.contains("HTTP/1.1 404 Not Found"), "{told}");
    for (arguments, stdin) in [
        (&["--token-stdin"][..], ""),
        (&["--token-stdin"], "two\nlines"),
        (&["--token-stdin", "--header", "Authorization: Bearer x"], "y"),
    ] {
        let mut all = vec!["explain", "-c", "harmony.toml", "--request", "GET /"];
        all.extend_from_slice(arguments);
        let text = with("http://127.0.0.1:1/jwks.json", &issuer.url());
        let ran = Program::with(&all).file("harmony.toml", &text).stdin(stdin).run();
        assert_eq!(ran.status, Some(1), "{arguments:?}: {}", ran.stdout);
    }
}

/// A request as the command has it.
struct Asked<'a> {
    request: &'a str,
    fields: Vec<&'a str>,
}

impl<'a> Asked<'a> {
    fn of(request: &'a str, fields: &[&'a str]) -> Self {
        Self { request, fields: fields.to_vec() }
    }

    /// What the command makes of it with the configuration of a running edge.
    fn explained(&self, edge: &Edge) -> String {
        let file = edge.directory().join("harmony.toml");
        let mut arguments =
            vec!["explain", "-c", file.to_str().unwrap(), "--request", self.request];
        for field in &self.fields {
            arguments.extend(["--header", field]);
        }
        let ran = Program::with(&arguments).run();
        assert_eq!(ran.status, Some(0), "{}: {}", self.request, ran.stderr);
        ran.stdout
    }

    /// The same request on the wire: what it is answered, or `None` where the upstream got it.
    fn answered(&self, edge: &Edge, upstream: &Upstream) -> Option<(u16, Vec<String>)> {
        upstream.clear();
        let fields: String = self.fields.iter().map(|field| format!("{field}\r\n")).collect();
        let names_host = self.fields.iter().any(|field| field.starts_with("Host:"));
        let host = if names_host { "" } else { "Host: localhost\r\n" };
        let head = format!("{} HTTP/1.1\r\n{host}{fields}\r\n", self.request);
        let first = edge.connect().send(head).response();
        let fields = ["www-authenticate", "allow", "location"];
        let fields = fields.iter().flat_map(|name| first.fields(name)).map(str::to_owned);
        (upstream.count() == 0).then(|| (first.status, fields.collect()))
    }
}

/// The status and fields of the answer, if the edge gives it.
fn told(explained: &str) -> Option<(u16, Vec<String>)> {
    let head = explained.lines().skip_while(|line| !line.starts_with("answered"));
    let mut head = head.skip(1).map(str::trim);
    let status = head.next()?.split(' ').nth(1)?.parse().ok()?;
    let fields: Vec<(String, String)> = head
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let of = |wanted: &str| {
        let fields = fields.iter().filter(move |(name, _)| name == wanted);
        fields.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    Some((status, ["www-authenticate", "allow", "location"].map(of).concat()))
}

/// `/api` takes a token or, without one, a key in the query; `/admin` is another place, where a
/// cookie's key has to be.
fn house(issuer: &Issuer, upstream: &Upstream) -> Edge {
    // SHA-256 of "opensesame" and of "k".
    let hash = "d9fb92e3bbe65be1f1aad4a82eef4567f7a1ebe2cd110c8049b9698be7a70c88";
    let tables = format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\noptional = true\n\
         [middleware.jwt.config]\njwks_url = \"{}\"\nissuer = \"https://auth.example.com\"\n\
         audience = \"harmony-api\"\n\
         [middleware.key]\ntype = \"api-key\"\n\
         [middleware.key.config]\nquery = \"api_key\"\n\
         keys = [{{ id = \"k\", hash = \"{hash}\" }}]\n\
         [middleware.cookie]\ntype = \"api-key\"\n\
         [middleware.cookie.config]\ncookie = \"key\"\n\
         keys = [{{ id = \"k\", hash = \"{hash}\" }}]\n\
         [middleware.flood]\ntype = \"policies\"\nrules = [{{ type = \"allow_all\" }}, \
         {{ id = \"tries\", type = \"rate_limit\", max_requests = 50, window_seconds = 60, \
         count = \"attempts\" }}]\n\
         [middleware.rules]\ntype = \"policies\"\n\
         rules = [{{ id = \"all\", type = \"allow_all\" }}, \
         {{ id = \"secret\", type = \"path\", mode = \"deny\", paths = [\"/secret/{{*rest}}\"] }}, \
         {{ id = \"often\", type = \"rate_limit\", max_requests = 500, window_seconds = 60 }}]\n",
        issuer.url()
    );
    let api = Route::to("api", upstream).prefix("/api").steps(&["jwt", "key", "rules"]);
    let api = api.endpoint("methods = [\"GET\", \"POST\"]\nmax_body_size = 10");
    let admin = Route::to("admin", upstream).prefix("/admin").steps(&["flood", "rules", "cookie"]);
    let open = Route::to("open", upstream).prefix("/");
    let routes = [api, admin, open].map(|route| route.text()).concat();
    Edge::configured(Settings::bare().and(&routes).and(&tables)).start()
}

#[test]
fn an_echo_gets_a_body_of_the_length_that_is_told() {
    let issuer = Issuer::start();
    let text = with(
        "service = \"http\"\noptions = { path_prefix",
        "service = \"echo\"\noptions = { path_prefix",
    );
    let text = text.replace("http://127.0.0.1:1/jwks.json", &issuer.url());
    let field = format!("Authorization: Bearer {}", good(&issuer).sign());
    let ran = Program::with(&[
        "explain",
        "-c",
        "harmony.toml",
        "--request",
        "POST /api/x",
        "--header",
        &field,
        "--header",
        "Content-Length: 5",
    ]);
    let ran = ran.file("harmony.toml", &text).run();
    assert!(ran.stdout.contains("HTTP/1.1 200 OK"), "{}{}", ran.stdout, ran.stderr);
}

#[test]
fn it_says_what_the_edge_does() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = house(&issuer, &upstream);
    let good = format!("Authorization: Bearer {}", issuer.token().sign());
    let expired = format!("Authorization: Bearer {}", issuer.token().expired().sign());
    let (good, expired) = (good.as_str(), expired.as_str());
    let key = "GET /api/x?api_key=opensesame";
    for (request, fields, lines) in [
        // A group: the left step, the right one, neither, both, and one that is rejected.
        (
            "GET /api/x",
            &[good][..],
            &[
                "jwt: authenticated as alice by Authorization",
                "key: skipped: jwt has decided",
                "rules: rule \"all\" allows",
                "rule \"secret\" does not match /api/x",
                "limit     rules/rules often: 500 requests in 60 s, 500 left",
                "forwarded to api",
            ][..],
        ),
        (
            key,
            &[],
            &[
                "jwt: nothing presented: no Authorization",
                "key: authenticated as k by query parameter api_key",
                "withheld  query parameter api_key: forward_credential is false",
            ],
        ),
        (
            key,
            &["Authorization: Basic YTpi"],
            &[
                "jwt: nothing presented: what Authorization holds is of another kind",
                "withheld  Authorization: no step has verified what it holds",
            ],
        ),
        (
            key,
            &[good],
            &[
                "key: skipped: jwt has decided; what query parameter api_key holds is not verified",
                "withheld  query parameter api_key: no step has verified what it holds",
            ],
        ),
        (
            "GET /api/x",
            &[],
            &[
                "key: nothing presented: no query parameter api_key",
                "rules: not reached",
                "limit     rules/rules often: not counted",
                "by the edge itself: missing",
            ],
        ),
        (
            key,
            &[expired],
            &[
                "jwt: rejected: expired: exp is",
                "key: skipped: jwt has decided",
                "rules: not reached",
            ],
        ),
        // Credentials that come twice.
        (
            "GET /api/x",
            &[good, good],
            &[
                "jwt: rejected: repeated: Authorization is there more than once",
                "key: not reached",
                "by the edge itself: repeated",
            ],
        ),
        (
            "GET /api/x?api_key=opensesame&api_key=x",
            &[good],
            &["jwt: rejected: repeated: query parameter api_key is there more than once"],
        ),
        (
            "GET /admin",
            &["Cookie: key=opensesame; key=x"],
            &["cookie: rejected: repeated: cookie key is there more than once"],
        ),
        (
            "GET /admin",
            &["Cookie: key=opensesame", good, good],
            &["cookie: rejected: repeated: Authorization is there more than once"],
        ),
        ("GET /admin", &["Cookie: key=opensesame"], &["cookie: authenticated as k by cookie key"]),
        // What counts attempts counts where it stands, all else at the end.
        (
            "GET /admin",
            &[],
            &[
                "limit     flood/rules tries: 50 requests in 60 s, 50 left",
                "limit     rules/rules often: not counted",
            ],
        ),
        // Readings of a path, and its case.
        (
            "GET /api/a%2Fb",
            &[good],
            &[
                "path      /api/a%2Fb, which other servers may read as /api/a/b",
                "rule \"all\" allows /api/a/b",
            ],
        ),
        (
            "GET /api/secret%2Fb",
            &[good],
            &["rules: rule \"secret\" denies the path read as /api/secret/b", "policy_denied"],
        ),
        ("GET /api;v/x", &[good], &["route     none", "path: path belongs to another endpoint"]),
        ("GET /API/x", &[good], &["route     none", "for servers that fold case"]),
        ("GET /apix", &[], &["pipeline open", "forwarded to open"]),
        ("GET /a/%2e%2e%5cb", &[], &["path: path holds a percent-escape that is not allowed"]),
        // The method and the size of the body.
        (
            "DELETE /api/x",
            &[good],
            &["jwt: authenticated", "limit     rules/rules often: not counted", "itself: method"],
        ),
        ("DELETE /api/x", &[], &["by the edge itself: missing"]),
        ("TRACE /api/x", &[good], &["route     none", "itself: method"]),
        (
            "POST /api/x",
            &[good, "Content-Length: 11"],
            &["jwt: authenticated", "often: not counted", "itself: body_too_large"],
        ),
        // What is no request, to the listener or to who serves it.
        (
            "GET /a b",
            &[],
            &["route     none", "itself: target: the request target has a byte that"],
        ),
        ("GET /a\u{1}", &[], &["itself: target"]),
        ("G@T /a", &[], &["itself: bad_line"]),
        ("GET /a", &["A: b\nC: d"], &["itself: bad_line"]),
        ("GET /a", &["A b: c"], &["itself: unreadable_head"]),
        (
            "CONNECT h:443",
            &["Host: h:443"],
            &["itself: unreadable_head", "HTTP/1.1 405 Method Not Allowed"],
        ),
        ("GET /a", &["Host: h", "Host: i"], &["itself: unreadable_head"]),
        ("GET /a", &["Host: h/x"], &["HTTP/1.1 400 Bad Request"]),
        ("GET /a", &["Content-Length: 1", "Content-Length: 1"], &["itself: content_length"]),
        ("GET /a", &["Connection: authorization"], &["itself: nomination"]),
    ] {
        let asked = Asked::of(request, fields);
        let explained = asked.explained(&edge);
        for line in lines {
            assert!(explained.contains(line), "{request}: {line}: {explained}");
        }
        assert!(!explained.contains("opensesame"), "{explained}");
        assert_eq!(told(&explained), asked.answered(&edge, &upstream), "{request}: {explained}");
    }
}
