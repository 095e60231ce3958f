//! Cross-origin resource sharing: preflights are answered before anybody has to authenticate, and a
//! page can read every answer of its pipeline.

use crate::grpc::raw;
use crate::support::ports::Port;
use crate::support::proof::Sender;
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::upstream::Exchange;
use crate::support::{Edge, Issuer, Program, Response, Settings, Upstream};

const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";
const CORS: &str = "[middleware.cors]\ntype = \"cors\"\nconfig = { allow_origins = \
                    [\"https://app.example\", \"https://*.apps.example\"], allow_methods = \
                    [\"GET\", \"PUT\"], allow_headers = [\"Authorization\", \"X-Extra\"], \
                    expose_headers = [\"X-Total\"], allow_credentials = true, \
                    max_age_secs = 600 }\n\
                    [middleware.any]\ntype = \"cors\"\nconfig = { allow_origins = [\"*\"] }\n";

fn steps(issuer: &Issuer) -> String {
    format!(
        "{CORS}[middleware.jwt]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \"{}\", issuer = \
         \"https://auth.example.com\", audience = \"harmony-api\" }}\n\
         [middleware.deny]\ntype = \"policies\"\nrules = [{{ type = \"allow_all\" }}, \
         {{ type = \"header\", mode = \"deny\", headers = [{{ name = \"X-Extra\", match_type = \
         \"exact\", value = \"deny\" }}] }}]\n\
         [middleware.limit]\ntype = \"policies\"\nrules = [{{ type = \"allow_all\" }}, \
         {{ type = \"rate_limit\", max_requests = 1, window_seconds = 600 }}]\n",
        issuer.url()
    )
}

/// What an upstream says that knows better.
fn boastful(exchange: &mut Exchange) {
    exchange.read_body();
    let fields = [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Private-Network", "true"),
        ("Access-Control-Expose-Headers", "X-Secret"),
        ("Vary", "Accept"),
    ];
    exchange.answer(200, &fields, b"hello");
}

fn preflight(edge: &Edge, target: &str, origin: &str, method: &str) -> Request {
    edge.request("OPTIONS", target)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization")
}

/// All of its CORS fields and `Vary`, in order.
fn fields(response: &Response) -> Vec<String> {
    let fields = response.head.fields.iter().map(|(name, value)| (name.to_lowercase(), value));
    let mut fields: Vec<String> = fields
        .filter(|(name, _)| name.starts_with("access-control-") || name == "vary")
        .map(|(name, value)| format!("{}: {value}", name.trim_start_matches("access-control-")))
        .collect();
    fields.sort();
    fields
}

const ALLOWED: [&str; 4] = [
    "allow-credentials: true",
    "allow-origin: https://app.example",
    "expose-headers: X-Total",
    "vary: Origin",
];

fn allowed() -> Vec<String> {
    ALLOWED.map(|field| field.replace("X-Total", "x-total")).to_vec()
}

/// The same where an answer has these fields too, which say what the page is to do.
fn allowed_with(own: &str) -> Vec<String> {
    allowed().iter().map(|field| field.replace("x-total", &format!("x-total{own}"))).collect()
}

#[test]
fn a_preflight_is_answered_by_the_edge() {
    let (issuer, upstream) = (Issuer::start(), Upstream::with(boastful));
    let routes = Route::to("api", &upstream).prefix("/api").steps(&["cors", "jwt"]).text()
        + &Route::to("any", &upstream).prefix("/any").steps(&["any", "jwt"]).text();
    let edge = Edge::configured(Settings::bare().and(&routes).and(&steps(&issuer))).start();
    for http2 in [false, true] {
        let send = |request: Request| if http2 { request.http2() } else { request }.send();
        for origin in [APP, "https://x.y.apps.example"] {
            let response = send(preflight(&edge, "/api/x", origin, "PUT"));
            assert_eq!((response.status, response.body.len()), (204, 0), "{origin}");
            let expected = [
                "allow-credentials: true".to_owned(),
                "allow-headers: authorization, x-extra".to_owned(),
                "allow-methods: GET, PUT".to_owned(),
                format!("allow-origin: {origin}"),
                "max-age: 600".to_owned(),
                "vary: Origin".to_owned(),
            ];
            assert_eq!(fields(&response), expected, "{origin}");
        }
        for origin in [
            EVIL,
            "null",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://apps.example",
            "https://evil.example?.apps.example",
        ] {
            let response = send(preflight(&edge, "/api/x", origin, "PUT"));
            assert_eq!(response.status, 403, "{origin}");
            assert_eq!(fields(&response), ["vary: Origin"], "{origin}");
        }
        let response = send(preflight(&edge, "/any/x", EVIL, "POST"));
        assert_eq!(response.status, 204);
        assert_eq!(fields(&response), ["allow-methods: GET, HEAD, POST", "allow-origin: *"]);
        // Nothing else that says OPTIONS passes without a token.
        for request in [
            edge.request("OPTIONS", "/api/x").header("Origin", APP),
            edge.request("OPTIONS", "/api/x").header("Access-Control-Request-Method", "GET"),
            preflight(&edge, "/api/x", APP, "not a method"),
            preflight(&edge, "/api/x", APP, "GET").header("Access-Control-Request-Method", "PUT"),
            edge.get("/api/x").header("Origin", APP).header("Access-Control-Request-Method", "GET"),
        ] {
            assert_eq!(send(request).status, 401);
        }
        let twice = preflight(&edge, "/api/x", APP, "GET").header("Origin", APP);
        assert_eq!(send(twice).status, 403);
    }
    assert_eq!(upstream.count(), 0, "no preflight goes on");
    // A body does not disturb the connection.
    let (responses, _) = edge.raw(format!(
        "OPTIONS /api/x HTTP/1.1\r\nHost: a\r\nOrigin: {APP}\r\nContent-Length: 5\r\n\
         Access-Control-Request-Method: GET\r\n\r\nhello"
    ));
    assert_eq!(responses.iter().map(|it| it.status).collect::<Vec<_>>(), [204]);
    let metrics = edge.manage("/metrics").send().text();
    assert!(metrics.contains("reason=\"cors_origin\""), "{metrics}");
}

#[test]
fn a_page_can_read_every_answer_of_its_pipeline() {
    let (issuer, upstream) = (Issuer::start(), Upstream::with(boastful));
    let nobody = Port::claim();
    let dead = format!("http://127.0.0.1:{nobody}");
    let all = ["cors", "deny", "jwt"];
    let routes = Route::to("api", &upstream).prefix("/api").steps(&all).text()
        + &Route::to_url("dead", &dead).prefix("/dead").steps(&["cors"]).text()
        + &Route::to("limited", &upstream).prefix("/limited").steps(&["limit", "cors"]).text()
        + &Route::to("get", &upstream)
            .prefix("/get")
            .endpoint("methods = [\"GET\"]\nmax_body_size = 3")
            .steps(&["cors"])
            .text()
        + &Route::to("any", &upstream).prefix("/any").steps(&["any"]).text();
    let edge = Edge::configured(Settings::bare().and(&routes).and(&steps(&issuer))).start();
    let token = issuer.token().sign();
    let from = |request: Request, origin: &str| request.header("Origin", origin);
    assert_eq!(from(edge.get("/limited/x"), APP).send().status, 200);
    for http2 in [false, true] {
        let send = |request: Request| if http2 { request.http2() } else { request }.send();
        for (status, own, request) in [
            (401, ", www-authenticate", edge.get("/api/x")),
            (401, ", www-authenticate", edge.get("/api/x").bearer("a.b.c")),
            (403, "", edge.get("/api/x").header("X-Extra", "deny")),
            (429, ", retry-after, ratelimit, ratelimit-policy", edge.get("/limited/x")),
            (405, "", edge.request("DELETE", "/get/x")),
            (502, "", edge.get("/dead/x")),
        ] {
            let response = send(from(request.clone(), APP));
            assert_eq!((response.status, fields(&response)), (status, allowed_with(own)));
            let response = send(from(request.clone(), EVIL));
            assert_eq!(fields(&response), ["vary: Origin"], "{status}");
            assert_eq!(fields(&send(request)), ["vary: Origin"], "{status}");
        }
        // What the upstream says of it is replaced.
        let good = || edge.get("/api/x").bearer(&token);
        let response = send(from(good(), APP));
        let mut expected = allowed();
        expected[3] = "vary: Accept, Origin".to_owned();
        assert_eq!((response.status, fields(&response)), (200, expected));
        for request in [good(), from(good(), EVIL), from(good(), "null")] {
            let response = send(request);
            assert_eq!(fields(&response), ["vary: Accept, Origin"]);
            assert_eq!(response.status, 200);
        }
        let twice = send(from(from(good(), APP), APP));
        assert_eq!(fields(&twice), ["vary: Accept, Origin"]);
        // A cache gives the one answer to all.
        for request in [edge.get("/any/x"), from(edge.get("/any/x"), EVIL)] {
            assert_eq!(fields(&send(request)), ["allow-origin: *", "vary: Accept"]);
        }
    }
    let call = raw::call(edge.port(), "/api/a.B/C", &[("origin", APP)]);
    assert_eq!(call.field("grpc-status"), Some("16"));
    assert_eq!(call.field("access-control-allow-origin"), Some(APP));
}

#[test]
fn a_page_can_read_what_the_edge_asks_of_it() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let with = |name: &str, expose: &str| {
        format!(
            "[middleware.{name}]\ntype = \"cors\"\nconfig = {{ allow_origins = [\"{APP}\"], \
             expose_headers = {expose} }}\n"
        )
    };
    let dpop = format!(
        "[middleware.dpop]\ntype = \"jwt-auth\"\nconfig = {{ jwks_url = \"{}\", issuer = \
         \"https://auth.example.com\", audience = \"harmony-api\", dpop = \"require\", \
         dpop_nonce = true }}\n",
        issuer.url()
    );
    let tables = [
        Route::to("none", &upstream).prefix("/none").steps(&["none", "jwt"]).text(),
        Route::to("named", &upstream).prefix("/named").steps(&["named", "jwt"]).text(),
        Route::to("every", &upstream).prefix("/every").steps(&["every", "jwt"]).text(),
        Route::to("bound", &upstream).prefix("/bound").steps(&["none", "dpop"]).text(),
        with("none", "[]"),
        with("named", "[\"WWW-Authenticate\", \"X-Total\"]"),
        with("every", "[\"*\"]"),
        dpop,
        steps(&issuer),
    ];
    let edge = Edge::configured(Settings::bare().and(&tables.concat())).start();
    let sender = Sender::new();
    let bound = issuer.token().claim("cnf", sender.cnf()).sign();
    let proof = |target: &str| {
        let url = format!("http://127.0.0.1:{}{target}", edge.port());
        sender.proof(&url, &bound).sign()
    };
    for (target, exposed) in [
        ("/none/x", "www-authenticate"),
        ("/named/x", "www-authenticate, x-total"),
        ("/every/x", "*"),
        ("/bound/x", "www-authenticate, dpop-nonce"),
    ] {
        let request = match target {
            "/bound/x" => edge.get(target).dpop(&bound, &proof(target)),
            target => edge.get(target),
        };
        let response = request.header("Origin", APP).send();
        let found = response.field("access-control-expose-headers");
        assert_eq!((response.status, found), (401, Some(exposed)), "{target}");
    }
    // To nobody else, and not where there is nothing to read.
    let good = edge.get("/none/x").bearer(&issuer.token().sign()).header("Origin", APP).send();
    let others = edge.get("/none/x").header("Origin", EVIL).send();
    for response in [good, others] {
        assert_eq!(response.field("access-control-expose-headers"), None);
    }
    // Before a route is known, nobody has said who may read.
    let nowhere = edge.get("/nowhere").header("Origin", APP).send();
    assert_eq!((nowhere.status, fields(&nowhere)), (404, Vec::new()));
}

#[test]
fn a_preflight_belongs_to_the_method_that_it_asks_for() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let route = |name: &str, endpoint: &str, steps: &[&str]| {
        let url = format!("http://127.0.0.1:{}/{name}", upstream.port());
        Route::to_url(name, &url).endpoint(endpoint).steps(steps).text()
    };
    let routes = [
        // One place: reading is open and not for pages, writing is for pages.
        route("read", "path_prefix = \"/x\"\nmethods = [\"GET\"]", &[]),
        route("write", "path_prefix = \"/x\"\nmethods = [\"PUT\"]", &["cors", "jwt"]),
        // A route that names OPTIONS has it.
        route("own", "path_prefix = \"/own\"\nmethods = [\"OPTIONS\"]", &[]),
        route("rest", "path_prefix = \"/own\"", &["cors", "jwt"]),
        // No page may use this one, so that OPTIONS is any method.
        route("plain", "path_prefix = \"/plain\"", &["jwt"]),
        route("host", "path_prefix = \"/\"\nhosts = [\"*.example.com\"]", &["cors", "jwt"]),
    ];
    let tables = routes.concat();
    let edge = Edge::configured(Settings::bare().and(&tables).and(&steps(&issuer))).start();
    let status = |target: &str, method: &str| preflight(&edge, target, APP, method).send().status;
    assert_eq!(status("/x/1", "PUT"), 204);
    assert_eq!(status("/x/1", "GET"), 405, "OPTIONS never takes another method's way");
    assert_eq!(status("/plain/1", "GET"), 401);
    assert_eq!(upstream.count(), 0);
    assert_eq!(status("/own/1", "PUT"), 200);
    assert_eq!(upstream.only().target(), "/own/1");
    assert_eq!(preflight(&edge, "/y", APP, "GET").host("a.example.com").send().status, 204);
    assert_eq!(status("/nowhere", "GET"), 404);
    // Other readings of the path have to belong to the same route, for preflights too.
    assert_eq!(status("/own/..%2fx/1", "PUT"), 400);
}

#[test]
fn explain_shows_what_becomes_of_an_origin() {
    let upstream = Upstream::start();
    let route = Route::to("api", &upstream).prefix("/api").steps(&["cors"]).text();
    let text = Settings::bare().and(&route).and(CORS).text();
    let text = text.replace("{port}", "1").replace("{mport}", "2");
    for (request, origin, expected) in [
        ("OPTIONS /api/x", APP, "HTTP/1.1 204"),
        ("OPTIONS /api/x", EVIL, "by the edge itself: cors_origin"),
        ("GET /api/x", APP, "cors: pages of this origin may read the answer"),
        ("GET /api/x", EVIL, "cors: no page of this origin may read the answer"),
    ] {
        let origin = format!("Origin: {origin}");
        let asked = "Access-Control-Request-Method: GET";
        let arguments = ["--request", request, "--header", &origin, "--header", asked];
        let all = [&["explain", "-c", "harmony.toml"][..], &arguments[..]].concat();
        let ran = Program::with(&all).file("harmony.toml", &text).run();
        assert!(ran.stdout.contains(expected), "{request}: {}\n{}", ran.stdout, ran.stderr);
    }
}
