//! Header rules: what upstreams and clients get besides, and what no rule can touch.

use crate::grpc::raw;
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Program, Settings, Upstream};

const RULES: &str = r#"
[middleware.rules]
type = "headers"
[middleware.rules.config.request]
set = { X-Client = "{client_ip}", X-Asked = "{host}/{request_id}", X-User = "u:{subject}", X-Team = "{claim:team}", X-Deep = "{claim:org.unit}", X-Fixed = "one two" }
add = { X-Tag = "edge", X-Who = "{subject}" }
remove = ["X-Debug"]
[middleware.rules.config.response]
set = { Strict-Transport-Security = "max-age=1", X-Seen = "{subject}" }
add = { X-Tag = "edge" }
remove = ["Server"]
[middleware.secure]
type = "headers"
config = { security_headers = true, response = { set = { Referrer-Policy = "no-referrer" }, remove = ["X-Frame-Options"] } }
"#;

fn jwt(issuer: &Issuer) -> String {
    format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\noptional = true\nconfig = {{ jwks_url = \"{}\", \
         issuer = \"https://auth.example.com\", audience = \"harmony-api\" }}\n",
        issuer.url()
    )
}

#[test]
fn an_upstream_gets_what_the_rules_say_and_nothing_of_the_same_name() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let route = Route::to("api", &upstream).prefix("/api").steps(&["jwt", "rules"]).text();
    let text = Settings::bare().and(&route).and(RULES).and(&jwt(&issuer));
    let edge = Edge::configured(text).start();
    let forged = |request: Request| {
        let names = ["X-Client", "x_client", "X.Asked", "X!User", "X-User", "X_Team", "X-Team"];
        let more = ["X-Fixed", "X-Who", "x_who", "X-Debug", "x~debug"];
        let names = names.into_iter().chain(more);
        names.fold(request, |request, name| request.header(name, "forged"))
    };
    let token = issuer.token().claim("team", "a\u{e9}b\r\nX: y");
    let token = token.claim("org", serde_json::json!({ "unit": "ops" })).sign();
    for http2 in [false, true] {
        for signed in [true, false] {
            upstream.clear();
            let request = forged(edge.get("/api/x").host("h.example:81")).header("X-Tag", "mine");
            let request = if signed { request.bearer(&token) } else { request };
            let response = if http2 { request.http2() } else { request }.send();
            assert_eq!(response.status, 200);
            let head = upstream.only().head;
            let all = head.fields.iter().map(|(name, value)| format!("{name}: {value}"));
            let all: Vec<String> = all.collect();
            assert!(!all.iter().any(|line| line.contains("forged")), "{all:#?}");
            assert_eq!(head.fields("x-client"), ["127.0.0.1"]);
            assert_eq!(head.fields("x-fixed"), ["one two"]);
            assert_eq!(head.fields("x-tag"), ["mine", "edge"]);
            let id = head.field("x-request-id").unwrap();
            assert_eq!(head.fields("x-asked"), [format!("h.example/{id}")]);
            // Without an identity there is no such field: not even the client's.
            let (user, team, who): (&[&str], &[&str], &[&str]) = match signed {
                true => (&["u:alice"], &["a%C3%A9b%0D%0AX:%20y"], &["alice"]),
                false => (&[], &[], &[]),
            };
            assert_eq!(head.fields("x-user"), user);
            assert_eq!(head.fields("x-team"), team);
            assert_eq!(head.field("x-deep"), signed.then_some("ops"));
            assert_eq!(head.fields("x-who"), who);
            assert_eq!(response.fields("x-seen"), who);
        }
    }
}

#[test]
fn a_client_gets_what_the_rules_say_from_whoever_answers() {
    let upstream = Upstream::with(|exchange| {
        exchange.read_body();
        let fields = [
            ("Server", "leaky/1.0"),
            ("X-Tag", "app"),
            ("Strict-Transport-Security", "max-age=9"),
            ("Content-Security-Policy", "default-src 'none'"),
            ("X-Frame-Options", "DENY"),
        ];
        exchange.answer(200, &fields, b"hello");
    });
    let step = "[middleware.deny]\ntype = \"policies\"\nrules = [{ type = \"deny_all\" }]\n";
    let tables = Route::to("api", &upstream).prefix("/api").steps(&["rules"]).text()
        + &Route::to("denied", &upstream).prefix("/denied").steps(&["deny", "rules"]).text()
        + &Route::to("secure", &upstream).prefix("/secure").steps(&["secure"]).text()
        + &Route::to("refused", &upstream).prefix("/refused").steps(&["deny", "secure"]).text();
    let edge = Edge::configured(Settings::bare().and(&tables).and(RULES).and(step)).start();
    for http2 in [false, true] {
        let get = |target: &str| {
            let request = edge.get(target);
            if http2 { request.http2() } else { request }.send()
        };
        let response = get("/api/x");
        assert_eq!(response.fields("strict-transport-security"), ["max-age=1"]);
        assert_eq!(response.fields("x-tag"), ["app", "edge"]);
        assert_eq!(response.field("server"), None);
        assert_eq!(response.text(), "hello");
        let denied = get("/denied/x");
        assert_eq!(denied.status, 403);
        assert_eq!(denied.fields("strict-transport-security"), ["max-age=1"]);
        assert_eq!(denied.json()["error"], "Forbidden");
        let secure = get("/secure/x");
        let security = |name: &str| secure.fields(name);
        assert_eq!(security("strict-transport-security"), ["max-age=9"]);
        assert_eq!(security("content-security-policy"), ["default-src 'none'"]);
        assert_eq!(security("x-content-type-options"), ["nosniff"]);
        assert_eq!(security("referrer-policy"), ["no-referrer"]);
        assert!(security("x-frame-options").is_empty());
        let refused = get("/refused/x");
        assert_eq!(refused.fields("content-security-policy"), ["frame-ancestors 'self'"]);
        let hsts = ["max-age=31536000; includeSubDomains"];
        assert_eq!(refused.fields("strict-transport-security"), hsts);
        assert_eq!(refused.fields("x-content-type-options"), ["nosniff"]);
    }
    let call = raw::call(edge.port(), "/denied/a.B/C", &[]);
    assert_eq!(call.field("grpc-status"), Some("7"));
    assert_eq!(call.field("strict-transport-security"), Some("max-age=1"));
}

#[test]
fn interim_responses_and_trailers_are_cleared_too() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 103 Early\r\nLink: x\r\nServer: leaky\r\n\
              Access-Control-Allow-Origin: *\r\n\r\nHTTP/1.1 200 OK\r\n\
              Transfer-Encoding: chunked\r\nServer: leaky\r\n\r\n3\r\nabc\r\n\
              0\r\nServer: leaky\r\nX-Sum: 1\r\n\r\n",
        );
    });
    let cors = "[middleware.pages]\ntype = \"cors\"\nallow_origins = [\"https://a.example\"]\n";
    let route = Route::to("api", &upstream).prefix("/api").steps(&["pages", "rules"]).text();
    let edge = Edge::configured(Settings::bare().and(&route).and(RULES).and(cors)).start();
    let (answers, _) =
        edge.raw("GET /api/x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n");
    assert_eq!((answers[0].status, answers[0].trailers.as_str()), (200, "x-sum: 1\r\n"));
    let mut client = edge.connect();
    client.send("GET /api/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let mut bytes = Vec::new();
    client.rest(&mut |piece| bytes.extend_from_slice(piece));
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"), "{text}");
}

#[test]
fn no_rule_changes_the_edges_own_challenge() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let route = Route::to("api", &upstream).prefix("/api").steps(&["jwt", "mine"]).text();
    let rules = "[middleware.mine]\ntype = \"headers\"\nconfig = { response = { set = \
                 { WWW-Authenticate = \"Mine\" }, remove = [\"DPoP-Nonce\"] } }\n";
    let jwt = jwt(&issuer).replace("optional = true\n", "");
    let edge = Edge::configured(Settings::bare().and(&route).and(rules).and(&jwt)).start();
    let refused = edge.get("/api/x").send();
    assert_eq!(refused.status, 401);
    assert_eq!(refused.fields("www-authenticate").len(), 1);
    assert!(refused.field("www-authenticate").unwrap().starts_with("Bearer"));
    let passed = edge.get("/api/x").bearer(&issuer.token().sign()).send();
    assert_eq!((passed.status, passed.field("www-authenticate")), (200, Some("Mine")));
}

#[test]
fn a_value_from_a_reference_is_shown_nowhere() {
    let upstream = Upstream::start();
    let step = "[middleware.key]\ntype = \"headers\"\nconfig = { request = { set = { X-Key = \
                \"${UPSTREAM_KEY}\", X-Mixed = \"${UPSTREAM_KEY}-{host}\" } } }\n";
    let echo = "[pipelines.echo]\nnetworks = [\"public\"]\nendpoints = [\"echo\"]\nmiddleware = \
                [\"key\"]\n[endpoints.echo]\nservice = \"echo\"\npath_prefix = \"/echo\"\n";
    let route = Route::to("api", &upstream).prefix("/api").steps(&["key"]).text();
    let settings = Settings::bare().and(&route).and(step).and(echo);
    let text = settings.text().replace("{port}", "1").replace("{mport}", "2");
    let edge = Edge::configured(settings).env("UPSTREAM_KEY", "k3y-of-the-upstream").start();
    assert_eq!(edge.get("/api/x").host("h").send().status, 200);
    assert_eq!(upstream.only().head.field("x-key"), Some("k3y-of-the-upstream"));
    assert_eq!(upstream.only().head.field("x-mixed"), Some("k3y-of-the-upstream-h"));
    let echoed = edge.get("/echo/x").send().text();
    assert!(!echoed.contains("k3y") && !echoed.contains("x-key"), "{echoed}");
    assert!(!edge.log().contains("k3y-of-the-upstream"));
    let ran = Program::with(&["explain", "-c", "harmony.toml", "--request", "GET /api/x"])
        .file("harmony.toml", &text)
        .env("UPSTREAM_KEY", "k3y-of-the-upstream")
        .run();
    assert!(ran.stdout.contains("key: sets x-key, x-mixed of the request"), "{}", ran.stdout);
    assert!(ran.stdout.contains("x-key: [masked]"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("k3y"), "{}", ran.stdout);
}
