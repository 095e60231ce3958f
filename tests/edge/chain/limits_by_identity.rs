//! Limits by who asks: rates and requests in flight, by subject, claim, key, client and route; and
//! what answers say of them.

use std::time::Duration;

use super::{BILLING, step};
use crate::support::request::Request;
use crate::support::settings::Route;
use crate::support::{Edge, Issuer, Response, Settings, Upstream};

/// The step `name` with this one limit.
fn limit(name: &str, rule: &str) -> String {
    format!(
        "[middleware.{name}]\ntype = \"policies\"\n\
         rules = [{{ type = \"allow_all\" }}, {{ id = \"often\", {rule} }}]\n"
    )
}

fn rate(name: &str, most: u32, options: &str) -> String {
    limit(
        name,
        &format!("type = \"rate_limit\", max_requests = {most}, window_seconds = 3600{options}"),
    )
}

fn jwt(issuer: &Issuer) -> String {
    format!(
        "[middleware.jwt]\ntype = \"jwt-auth\"\n[middleware.jwt.config]\njwks_url = \"{}\"\n\
         issuer = \"https://auth.example.com\"\naudience = \"harmony-api\"\n",
        issuer.url()
    )
}

fn key_step() -> String {
    let key = BILLING.entry("");
    step("keys", "api-key", "", &format!("header = \"X-API-Key\"\nkeys = [{key}]"))
}

fn with_key(request: Request) -> Request {
    request.header("X-API-Key", BILLING.key())
}

fn statuses<const N: usize>(request: impl Fn() -> Request) -> [u16; N] {
    [(); N].map(|()| request().send().status)
}

#[test]
fn each_subject_claim_and_client_has_a_count_of_its_own() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    for (by, apart, together) in [
        ("\"subject\"", "sub", "azp"),
        ("\"client_id\"", "client_id", "sub"),
        ("\"claim:tenant.id\"", "tenant.id", "sub"),
        ("[\"subject\", \"claim:tenant.id\"]", "tenant.id", "azp"),
        ("\"client\"", "", "sub"),
    ] {
        let route = Route::to("api", &upstream).prefix("/api").steps(&["jwt", "few"]);
        let tables = jwt(&issuer) + &rate("few", 2, &format!(", by = {by}"));
        let edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
        let send = |claims: &[(&str, &str)]| {
            let mut token = issuer.token().claim("client_id", "c");
            token = token.claim("tenant.id", "t");
            for (name, value) in claims.iter().filter(|(name, _)| !name.is_empty()) {
                token = token.claim(name, *value);
            }
            edge.get("/api/x").bearer(&token.sign()).send().status
        };
        let found = [(); 3].map(|()| send(&[]));
        assert_eq!(found, [200, 200, 429], "{by}");
        assert_eq!(send(&[(together, "other")]), 429, "{by}");
        let other = if apart.is_empty() { 429 } else { 200 };
        assert_eq!(send(&[(apart, "other")]), other, "{by}");
    }
}

#[test]
fn a_subject_that_looks_like_an_address_is_not_that_address() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let tables = jwt(&issuer)
        + "[middleware.jwt-or-none]\ntype = \"jwt-auth\"\noptional = true\n"
        + &format!(
            "[middleware.jwt-or-none.config]\njwks_url = \"{}\"\n\
             issuer = \"https://auth.example.com\"\naudience = \"harmony-api\"\n",
            issuer.url()
        )
        + &rate("few", 2, ", by = \"subject\"");
    let route = Route::to("api", &upstream).prefix("/api").steps(&["jwt-or-none", "few"]);
    let edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
    let token = issuer.token().claim("sub", "127.0.0.1").sign();
    let named = || edge.get("/api/x").bearer(&token);
    assert_eq!(statuses(named), [200, 200, 429]);
    // Who has no subject counts by address.
    assert_eq!(statuses(|| edge.get("/api/x")), [200, 200, 429]);
}

#[test]
fn keys_and_routes() {
    let upstream = Upstream::start();
    let routes = ["a", "b"].map(|name| {
        Route::to(name, &upstream).prefix(&format!("/{name}")).steps(&["keys", "few"]).text()
    });
    for (by, b_after_a) in [("\"key\"", 429), ("\"route\"", 200), ("[\"key\", \"route\"]", 200)] {
        let tables = key_step() + &rate("few", 2, &format!(", by = {by}"));
        let edge = Edge::configured(Settings::bare().and(&routes.concat()).and(&tables)).start();
        let get = |path: &str| with_key(edge.get(path));
        assert_eq!(statuses(|| get("/a/x")), [200, 200, 429], "{by}");
        assert_eq!(get("/b/x").send().status, b_after_a, "{by}");
    }
}

#[test]
fn a_claim_chooses_the_number() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let limits = ", by = \"subject\", limits = { \"claim:plan\" = { gold = 3, free = 1 } }";
    let route = Route::to("api", &upstream).prefix("/api").steps(&["jwt", "few"]);
    let tables = jwt(&issuer) + &rate("few", 2, limits);
    let edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
    for (plan, most) in [("gold", 3), ("free", 1), ("none", 2)] {
        let token = issuer.token().claim("sub", plan).claim("plan", plan).sign();
        let responses = [(); 4].map(|()| edge.get("/api/x").bearer(&token).send());
        let passed = responses.iter().filter(|response| response.status == 200).count();
        assert_eq!(passed, most, "{plan}");
        let policy = format!("\"few/rules often\";q={most};w=3600");
        assert_eq!(responses[0].field("ratelimit-policy"), Some(&*policy), "{plan}");
    }
}

fn fields(response: &Response) -> [Option<&str>; 3] {
    ["ratelimit", "ratelimit-policy", "retry-after"].map(|name| response.field(name))
}

#[test]
fn answers_say_how_much_is_left() {
    let upstream = Upstream::with(|exchange| {
        exchange.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRateLimit: \"theirs\";r=1;t=1\r\n\
              RateLimit: \"more\";r=1;t=1\r\nRateLimit-Policy: \"theirs\";q=1;w=1\r\n\r\n",
        );
    });
    let few = [
        rate("few", 2, ""),
        rate("flood", 5, ", count = \"attempts\""),
        rate("silent", 2, ", headers = false"),
        key_step(),
    ]
    .concat();
    let route = |name: &str, steps: &[&str]| {
        Route::to(name, &upstream).prefix(&format!("/{name}")).steps(steps).text()
    };
    let routes = route("one", &["few"])
        + &route("two", &["flood", "keys", "few"])
        + &route("silent", &["silent"]);
    let edge = Edge::configured(Settings::bare().and(&routes).and(&few)).start();
    let policy = Some("\"few/rules often\";q=2;w=3600");
    for left in [1, 0] {
        let response = edge.get("/one/x").send();
        let limit = format!("\"few/rules often\";r={left};t=3600");
        assert_eq!(fields(&response), [Some(&*limit), policy, None]);
        assert_eq!(response.fields("ratelimit").len(), 1, "in the place of the upstream's");
    }
    let refused = edge.get("/one/x").send();
    let [limit, refused_policy, wait] = fields(&refused);
    assert_eq!((refused.status, refused_policy), (429, policy));
    assert_eq!(limit, Some(&*format!("\"few/rules often\";r=0;t={}", wait.unwrap())));
    // An attempt counts, and is answered so.
    let unknown = edge.get("/two/x").send();
    assert_eq!(unknown.status, 401);
    assert_eq!(unknown.field("ratelimit"), Some("\"flood/rules often\";r=4;t=3600"));
    let both = with_key(edge.get("/two/x")).send();
    assert_eq!(both.status, 429, "the client has used it up");
    let names: Vec<_> = both.field("ratelimit").unwrap().split(';').next().into_iter().collect();
    assert_eq!(names, ["\"flood/rules often\""]);
    assert_eq!(both.field("ratelimit").unwrap().matches(";r=").count(), 2);
    // Without fields of its own a limit leaves the upstream's.
    let silent = edge.get("/silent/x").send();
    assert_eq!(silent.fields("ratelimit").len(), 2);
    assert_eq!(statuses(|| edge.get("/silent/x")), [200, 429]);
    assert_eq!(edge.get("/silent/x").send().field("ratelimit"), None);
}

/// An upstream whose answers begin at once, and end a while later.
fn slow(wait: Duration) -> Upstream {
    Upstream::with(move |exchange| {
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na");
        std::thread::sleep(wait);
        exchange.write(b"b");
    })
}

#[test]
fn only_so_many_are_in_flight_and_every_place_comes_back() {
    let issuer = Issuer::start();
    let upstream = slow(Duration::from_millis(600));
    let route = Route::to("api", &upstream).prefix("/api").steps(&["jwt", "few"]);
    let rule = "type = \"concurrency_limit\", max_in_flight = 2, by = \"subject\"";
    let tables = jwt(&issuer) + &limit("few", rule);
    let edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
    let token = |subject: &str| issuer.token().claim("sub", subject).sign();
    for http2 in [false, true] {
        let responses: Vec<Response> = std::thread::scope(|scope| {
            let begun = ["c", "c", "c", "c", "d"].map(|subject| {
                let request = edge.get("/api/x").bearer(&token(subject));
                let request = if http2 { request.http2() } else { request };
                scope.spawn(move || request.send())
            });
            begun.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let mut statuses: Vec<_> = responses.iter().map(|response| response.status).collect();
        assert_eq!(statuses.pop(), Some(200), "another subject");
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 429, 429]);
        for refused in responses.iter().filter(|response| response.status == 429) {
            assert_eq!(fields(refused), [None, None, Some("1")]);
        }
    }
    // A client that leaves in the middle gives its place back, too.
    for _ in 0..4 {
        let mut client = edge.connect();
        client.send(edge.get("/api/x").bearer(&token("c")).bytes());
        std::thread::sleep(Duration::from_millis(100));
        drop(client);
        std::thread::sleep(Duration::from_millis(700));
    }
    assert_eq!(statuses(|| edge.get("/api/x").bearer(&token("c"))), [200, 200, 200]);
}

#[test]
fn counts_go_on_in_the_process_that_takes_over() {
    let upstream = Upstream::start();
    let route = Route::to("api", &upstream).prefix("/api").steps(&["few"]);
    let tables = rate("few", 3, "");
    let mut edge = Edge::configured(Settings::bare().and(&route.text()).and(&tables)).start();
    assert_eq!(statuses(|| edge.get("/api/x")), [200, 200]);
    let mut old = edge.upgrade();
    assert_eq!(statuses(|| edge.get("/api/x")), [200, 429]);
    let _ = old.wait();
}
