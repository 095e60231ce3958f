//! Opaque tokens: the issuer is asked about them (RFC 7662).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::support::edge::EdgeBuilder;
use crate::support::poll::becomes_true;
use crate::support::provider::{Asked, DOCUMENT, Reply};
use crate::support::settings::Route;
use crate::support::token::{AUDIENCE, now};
use crate::support::{Edge, Program, Provider, Response, Settings, Upstream, eventually, secrets};

const PATH: &str = "/introspect";
pub const SECRET: &str = "s3:cr%t+ x and so on for long";
/// Who asks.
const CLIENT: &str = "client_id = \"edge\"\nclient_secret = \"${SECRET}\"\n";
const SOON: Duration = Duration::from_secs(15);

/// A provider that knows these tokens.
pub struct Tokens {
    provider: Provider,
    known: Arc<Mutex<HashMap<String, Value>>>,
    reply: Arc<Mutex<Option<Reply>>>,
}

impl Tokens {
    pub fn start() -> Self {
        let provider = Provider::start();
        let known: Arc<Mutex<HashMap<String, Value>>> = Arc::default();
        let reply: Arc<Mutex<Option<Reply>>> = Arc::default();
        let (tokens, instead) = (Arc::clone(&known), Arc::clone(&reply));
        provider.script(PATH, move |asked| {
            if let Some(reply) = instead.lock().unwrap().clone() {
                return reply;
            }
            let tokens = tokens.lock().unwrap();
            let answer = tokens.get(&form(asked, "token")).cloned();
            Reply::Json(answer.unwrap_or_else(|| json!({ "active": false })))
        });
        Self { provider, known, reply }
    }

    /// What is said of a good token.
    pub fn answer(&self) -> Value {
        json!({
            "active": true, "iss": self.provider.url(), "aud": AUDIENCE, "sub": "bob",
            "exp": now() + 600, "scope": "read write", "client_id": "app",
        })
    }

    pub fn know(&self, token: &str, answer: Value) {
        secrets::remember(token);
        self.known.lock().unwrap().insert(token.to_owned(), answer);
    }

    pub fn good(&self, token: &str) {
        self.know(token, self.answer());
    }

    /// Answers every question so; `None`: as it should.
    pub fn say(&self, reply: Option<Reply>) {
        *self.reply.lock().unwrap() = reply;
    }

    /// Whether it was asked about this token.
    pub fn shown(&self, token: &str) -> bool {
        self.provider.asked(PATH).iter().any(|asked| form(asked, "token") == token)
    }

    pub fn questions(&self) -> usize {
        self.provider.asked(PATH).len()
    }

    /// A token of the provider's own, which verifies.
    pub fn signed(&self) -> String {
        self.provider.token("k1", 0).sign()
    }

    /// Lines of a step that asks here about tokens of any issuer.
    pub fn anybodys(&self) -> String {
        secrets::remember(SECRET);
        let url = format!("{}{PATH}", self.provider.url());
        format!("introspection_url = \"{url}\"\naudience = \"{AUDIENCE}\"\n{CLIENT}")
    }

    /// `jwt-auth`, which asks besides.
    pub fn edge_that_verifies(&self, lines: &str, upstream: &Upstream) -> EdgeBuilder {
        secrets::remember(SECRET);
        let issuer = self.provider.url();
        let lines = format!("introspect = true\n{lines}\nissuer = \"{issuer}\"");
        Edge::configured(settings("jwt-auth", &lines, upstream)).env("SECRET", SECRET)
    }

    pub fn edge(&self, lines: &str, upstream: &Upstream) -> EdgeBuilder {
        secrets::remember(SECRET);
        let issuer = format!("issuer = \"{}\"\n{lines}", self.provider.url());
        Edge::configured(settings("introspection", &issuer, upstream)).env("SECRET", SECRET)
    }
}

fn step(kind: &str, lines: &str) -> String {
    format!(
        "[middleware.op]\ntype = \"{kind}\"\n[middleware.op.config]\naudience = \"{AUDIENCE}\"\n\
         {CLIENT}{lines}\n"
    )
}

fn settings(kind: &str, lines: &str, upstream: &Upstream) -> Settings {
    Settings::bare()
        .and(&Route::to("api", upstream).prefix("/api").steps(&["op"]).text())
        .and(&step(kind, lines))
}

/// A field of the form that was sent.
fn form(asked: &Asked, name: &str) -> String {
    let fields = asked.body.split('&').filter_map(|field| field.split_once('='));
    let mut values = fields.filter(|(field, _)| *field == name).map(|(_, value)| value);
    let value = values.next().unwrap_or_default().replace('+', " ");
    percent_decode_str(&value).decode_utf8().unwrap().into_owned()
}

fn get(edge: &Edge, token: &str) -> Response {
    edge.get("/api/x").bearer(token).send()
}

fn status(edge: &Edge, token: &str) -> u16 {
    get(edge, token).status
}

/// A token that no log may show.
fn named(name: &str) -> String {
    let token = format!("opaque-token-of-the-test-{name}");
    secrets::remember(&token);
    token
}

#[test]
fn an_active_token_passes_and_is_asked_about_once() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("claims_to_headers = { client_id = \"X-Client\" }", &upstream).start();
    let token = named("one");
    tokens.good(&token);
    for _ in 0..20 {
        assert_eq!(status(&edge, &token), 200);
    }
    assert_eq!(tokens.questions(), 1);
    let head = upstream.last().head;
    let told = ["x-auth-subject", "x-auth-method", "x-client"].map(|name| head.field(name));
    assert_eq!(told, [Some("bob"), Some("introspection"), Some("app")]);

    let asked = &tokens.provider.asked(PATH)[0];
    let basic = asked.head.field("authorization").unwrap().strip_prefix("Basic ").unwrap();
    let pair = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
    assert_eq!(pair, "edge:s3%3Acr%25t%2B+x+and+so+on+for+long");
    assert_eq!(asked.body, format!("token={token}"));
    assert_eq!(asked.head.field("content-type"), Some("application/x-www-form-urlencoded"));
    assert!(!edge.log().contains("s3%3Acr"));
}

#[test]
fn what_the_answer_has_to_say() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("required_scopes = [\"read\"]\nleeway_secs = 0", &upstream).start();
    let rows: &[(&str, &str, Value, u16)] = &[
        ("good", "sub", json!("a"), 200),
        ("another issuer", "iss", json!("https://x"), 401),
        ("no issuer", "iss", Value::Null, 401),
        ("another audience", "aud", json!("x"), 401),
        ("one of several audiences", "aud", json!(["x", AUDIENCE]), 200),
        ("no audience", "aud", Value::Null, 401),
        ("expired", "exp", json!(now() - 5), 401),
        ("no expiry", "exp", Value::Null, 200),
        ("expiry as text", "exp", json!("x"), 401),
        ("not valid yet", "nbf", json!(now() + 100), 401),
        ("bound by certificate", "cnf", json!({ "x5t#S256": "x" }), 401),
        ("bound by key", "cnf", json!({ "jkt": "x" }), 401),
        ("bound by nothing", "cnf", json!({}), 401),
        ("another scope", "scope", json!("write"), 403),
        ("no scope", "scope", Value::Null, 403),
        ("a subject that no header carries", "sub", json!("a\r\nb"), 401),
        ("active as text", "active", json!("true"), 503),
        ("active as number", "active", json!(1), 503),
        ("no active", "active", Value::Null, 503),
        ("inactive", "active", json!(false), 401),
    ];
    for (number, (name, member, value, want)) in rows.iter().enumerate() {
        let mut answer = tokens.answer();
        let object = answer.as_object_mut().unwrap();
        match value {
            Value::Null => drop(object.remove(*member)),
            value => drop(object.insert((*member).to_owned(), value.clone())),
        }
        let token = named(&number.to_string());
        tokens.know(&token, answer);
        assert_eq!(status(&edge, &token), *want, "{name}");
    }
    assert_eq!(status(&edge, &named("unknown")), 401);
    assert_eq!(edge.get("/api/x").send().status, 401);
}

#[test]
fn a_token_made_inactive_ends_within_its_time_used_meanwhile_or_not() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("cache_secs = 2", &upstream).start();
    let (used, idle) = (named("used"), named("idle"));
    for token in [&used, &idle] {
        tokens.good(token);
        assert_eq!(status(&edge, token), 200);
    }
    tokens.known.lock().unwrap().clear();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2100) {
        let _ = get(&edge, &used);
        thread::sleep(Duration::from_millis(200));
    }
    assert_eq!((status(&edge, &used), status(&edge, &idle)), (401, 401));
    // A refusal is remembered for 10 s, and no longer.
    let questions = tokens.questions();
    tokens.good(&used);
    assert_eq!((status(&edge, &used), tokens.questions()), (401, questions));
    eventually("the token passes again", SOON, || (status(&edge, &used) == 200).then_some(()));
}

#[test]
fn an_answer_never_counts_past_exp() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("leeway_secs = 0", &upstream).start();
    let token = named("short");
    let mut answer = tokens.answer();
    answer["exp"] = json!(now() + 2);
    tokens.know(&token, answer);
    assert_eq!(status(&edge, &token), 200);
    thread::sleep(Duration::from_millis(2100));
    assert_eq!(status(&edge, &token), 401);
}

#[test]
fn without_an_answer_known_tokens_pass_for_their_time_and_then_it_is_503() {
    let (mut tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("cache_secs = 3", &upstream).start();
    let token = named("known");
    tokens.good(&token);
    assert_eq!(status(&edge, &token), 200);
    let begun = Instant::now();
    for (name, reply) in [
        ("failing", Reply::Status(500)),
        ("unauthorized", Reply::Status(401)),
        ("a redirect", Reply::Redirect(tokens.provider.url() + "/elsewhere")),
        ("no answer", Reply::Json(json!([]))),
        ("too large", Reply::Json(json!({ "active": true, "x": "x".repeat(100_000) }))),
    ] {
        tokens.say(Some(reply));
        let answer = get(&edge, &named(&name.replace(' ', "-")));
        assert_eq!((answer.status, answer.head.has("retry-after")), (503, true), "{name}");
    }
    assert_eq!(tokens.provider.asked("/elsewhere").len(), 0);
    tokens.provider.stop();
    assert_eq!(status(&edge, &named("dead")), 503);
    if begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(status(&edge, &token), 200, "its time is not over");
    }
    eventually("its time is over", SOON, || (status(&edge, &token) == 503).then_some(()));
    tokens.say(None);
    tokens.provider.restart();
    assert_eq!(status(&edge, &token), 200);
    let metrics = edge.manage("/metrics").send().text();
    assert!(metrics.contains("harmony_introspections_total{result=\"failed\"} "), "{metrics}");
    let words = "fails: the status is 500, not 200; requests whose tokens";
    assert!(becomes_true(SOON, || edge.log().contains(words)), "{}", edge.log());
    assert!(becomes_true(SOON, || edge.log().contains(" works again")), "{}", edge.log());
}

#[test]
fn a_limit_looks_at_the_time_at_which_the_issuer_has_answered() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let fair = "[middleware.fair]\ntype = \"policies\"\nrules = [{ type = \"allow_all\" }, \
                { type = \"rate_limit\", max_requests = 1, window_seconds = 1 }]\n";
    let issuer = format!("issuer = \"{}\"\n", tokens.provider.url());
    let route = Route::to("api", &upstream).prefix("/api").steps(&["op", "fair"]).text();
    let settings = Settings::bare().and(&route).and(&step("introspection", &issuer)).and(fair);
    let edge = Edge::configured(settings).env("SECRET", SECRET).start();
    let (quick, slow) = (named("quick"), named("slow"));
    tokens.good(&quick);
    assert_eq!(status(&edge, &quick), 200);
    let answer = Box::new(Reply::Json(tokens.answer()));
    tokens.say(Some(Reply::After(Duration::from_millis(1300), answer)));
    assert_eq!(status(&edge, &slow), 200);
}

#[test]
fn a_silent_endpoint_costs_two_seconds_and_no_known_token() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("", &upstream).start();
    let token = named("known");
    tokens.good(&token);
    assert_eq!(status(&edge, &token), 200);
    tokens.say(Some(Reply::Silence));
    let begun = Instant::now();
    let other = &named("silent");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| status(&edge, other));
        for _ in 0..20 {
            assert_eq!(status(&edge, &token), 200);
        }
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(waiting.join().unwrap(), 503);
    });
    let took = begun.elapsed();
    assert!((1900..4000).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_hundred_tokens_are_a_hundred_questions_however_many_requests() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("", &upstream).quiet().start();
    let all: Vec<String> = (0..100).map(|number| named(&format!("{number:03}"))).collect();
    all.iter().for_each(|token| tokens.good(token));
    // The first of them at once, several requests for one token among them.
    thread::scope(|scope| {
        for start in 0..4 {
            let (edge, all) = (&edge, &all);
            scope.spawn(move || {
                let mut client = edge.connect();
                for number in 0..2500 {
                    let token = &all[(number + start / 2) % all.len()];
                    let request = edge.get("/api/x").bearer(token).bytes();
                    assert_eq!(client.send(request).response_to("GET").status, 200);
                }
            });
        }
    });
    assert_eq!(tokens.questions(), 100);
}

#[test]
fn requests_with_one_token_share_one_question_though_the_first_one_leaves() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("", &upstream).start();
    let token = named("shared");
    let answer = Reply::Json(tokens.answer());
    tokens.say(Some(Reply::After(Duration::from_secs(1), Box::new(answer))));
    let mut first = edge.connect();
    first.send(edge.get("/api/x").bearer(&token).bytes());
    eventually("the question", SOON, || (tokens.questions() == 1).then_some(()));
    drop(first);
    thread::scope(|scope| {
        let all: Vec<_> = (0..10).map(|_| scope.spawn(|| status(&edge, &token))).collect();
        for one in all {
            assert_eq!(one.join().unwrap(), 200);
        }
    });
    assert_eq!(tokens.questions(), 1);
}

#[test]
fn questions_are_bounded_for_all_and_for_one_address() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("max_in_flight = 8\ncache_secs = 1", &upstream);
    let edge = edge.proxy("trusted_proxies = [\"127.0.0.1\"]").start();
    let known = named("known");
    tokens.good(&known);
    let of = |address: usize, token: &str| {
        let request = edge.get("/api/x").bearer(token);
        request.header("X-Forwarded-For", format!("192.0.2.{address}"))
    };
    assert_eq!(of(1, &known).send().status, 200);
    thread::sleep(Duration::from_millis(1100));

    tokens.say(Some(Reply::Silence));
    let before = tokens.questions();
    thread::scope(|scope| {
        // Two of an address are asked about, and eight of all.
        for number in 0..3 {
            for address in 1..=5 {
                let request = of(address, &named(&format!("{address}-{number}")));
                scope.spawn(move || assert_eq!(request.send().status, 503));
            }
            thread::sleep(Duration::from_millis(100));
        }
        eventually("eight questions", SOON, || (tokens.questions() - before == 8).then_some(()));
        let begun = Instant::now();
        assert_eq!(of(9, &named("more")).send().status, 503);
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
        // One that passed before waits for its turn, whatever comes from its address.
        tokens.say(None);
        assert_eq!(of(1, &known).send().status, 200);
    });
}

#[test]
fn a_flood_of_made_up_tokens_does_not_slow_known_ones() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("", &upstream).quiet().start();
    let known = named("known");
    tokens.good(&known);
    let answer = Reply::Json(json!({ "active": false }));
    assert_eq!(status(&edge, &known), 200);
    tokens.say(Some(Reply::After(Duration::from_millis(50), Box::new(answer))));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for flood in 0..4 {
            let (edge, stop) = (&edge, &stop);
            scope.spawn(move || {
                let mut client = edge.connect();
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let token = format!("made-up-{flood}-{number}");
                    let request = edge.get("/api/x").bearer(&token).bytes();
                    let status = client.send(request).response_to("GET").status;
                    assert!([401, 503].contains(&status), "{status}");
                }
            });
        }
        let mut client = edge.connect();
        let mut slow = 0;
        for _ in 0..500 {
            let begun = Instant::now();
            let request = edge.get("/api/x").bearer(&known).bytes();
            assert_eq!(client.send(request).response_to("GET").status, 200);
            slow += usize::from(begun.elapsed() > Duration::from_millis(40));
        }
        stop.store(true, Ordering::Relaxed);
        assert!(slow < 25, "{slow} of 500 requests took longer than an answer of the issuer");
    });
}

#[test]
fn a_secret_in_the_body_and_an_endpoint_by_url() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let url = format!("{}{PATH}", tokens.provider.url());
    let lines = format!("introspection_url = \"{url}\"\nclient_auth = \"post\"");
    let text = settings("introspection", &lines, &upstream);
    let edge = Edge::configured(text).env("SECRET", SECRET).start();
    let token = named("post");
    tokens.know(&token, json!({ "active": true, "aud": AUDIENCE }));
    assert_eq!(status(&edge, &token), 200);
    let asked = &tokens.provider.asked(PATH)[0];
    assert_eq!(form(asked, "client_secret"), SECRET);
    assert_eq!(form(asked, "client_id"), "edge");
    assert_eq!(asked.head.field("authorization"), None);
    assert_eq!(tokens.provider.asked(DOCUMENT).len(), 0);
}

#[test]
fn a_document_without_an_endpoint_is_503() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let mut document = tokens.provider.document();
    document.as_object_mut().unwrap().remove("introspection_endpoint");
    tokens.provider.serve(DOCUMENT, document);
    let edge = tokens.edge("", &upstream).start();
    let token = named("nowhere");
    tokens.good(&token);
    assert_eq!(status(&edge, &token), 503);
}

#[test]
fn a_reload_keeps_answers_and_a_new_secret_asks_again() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge("", &upstream).start();
    let token = named("kept");
    tokens.good(&token);
    assert_eq!(status(&edge, &token), 200);
    edge.rewrite(|text| text + "\n# nothing new\n[logging]\nlog_level = \"info\"\n");
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert_eq!((status(&edge, &token), tokens.questions()), (200, 1));
    edge.rewrite(|text| text.replace("client_id = \"edge\"", "client_id = \"other\""));
    assert_eq!(edge.steer("POST", "/admin/reload").send().status, 200);
    assert_eq!((status(&edge, &token), tokens.questions()), (200, 2));
}

#[test]
fn a_token_that_verifies_is_asked_about_besides() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let lines =
        format!("issuer = \"{}\"\nintrospect = true\ncache_secs = 1", tokens.provider.url());
    let text = settings("jwt-auth", &lines, &upstream);
    let edge = Edge::configured(text).env("SECRET", SECRET).start();
    let active = tokens.provider.token("k1", 0).claim("jti", "1").sign();
    let bound = tokens.provider.token("k1", 0).claim("jti", "2").sign();
    tokens.good(&active);
    tokens.know(&bound, json!({ "active": true, "cnf": { "jkt": "x" } }));
    assert_eq!(status(&edge, &active), 200);
    assert_eq!(status(&edge, &bound), 401);
    assert_eq!(status(&edge, &tokens.provider.token("k1", 0).claim("jti", "3").sign()), 401);
    let questions = tokens.questions();
    let forged = tokens.provider.token("k1", 1).sign();
    tokens.good(&forged);
    assert_eq!(status(&edge, &forged), 401, "what does not verify");
    assert_eq!(tokens.questions(), questions, "is not asked about");
    assert_eq!((status(&edge, &active), tokens.questions()), (200, questions));
    tokens.known.lock().unwrap().clear();
    thread::sleep(Duration::from_millis(1100));
    assert_eq!(status(&edge, &active), 401);
    tokens.say(Some(Reply::Status(500)));
    assert_eq!(status(&edge, &tokens.provider.token("k1", 0).claim("jti", "4").sign()), 503);
}

#[test]
fn an_answer_that_contradicts_what_a_step_takes_is_a_refusal() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let edge = tokens.edge_that_verifies("", &upstream).env("RUST_LOG", "harmony=debug").start();
    for (number, (member, value, want)) in [
        ("iss", json!(tokens.provider.url()), 200),
        ("iss", Value::Null, 200),
        ("iss", json!("https://other"), 401),
        ("iss", json!(7), 401),
        ("aud", json!(["x", AUDIENCE]), 200),
        ("aud", Value::Null, 200),
        ("aud", json!("other"), 401),
        ("aud", json!([]), 401),
    ]
    .into_iter()
    .enumerate()
    {
        let token = tokens.provider.token("k1", 0).claim("jti", number.to_string()).sign();
        let mut answer = tokens.answer();
        answer[member] = value.clone();
        if value.is_null() {
            answer.as_object_mut().unwrap().remove(member);
        }
        tokens.know(&token, answer);
        assert_eq!(status(&edge, &token), want, "{member} {value}");
    }
    // The log tells what was found, as it does of what a token says itself.
    let told = "rejected: wrong_audience: aud is \"other\", the step takes \"harmony-api\"";
    assert!(becomes_true(SOON, || edge.log().contains(told)), "{}", edge.log());
}

#[test]
fn a_bound_token_is_no_bearer_token() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let lines = format!("issuer = \"{}\"", tokens.provider.url());
    let text = settings("jwt-auth", &lines, &upstream).text();
    let text = text.replace("client_id = \"edge\"\nclient_secret = \"${SECRET}\"\n", "");
    let edge = Edge::configured(Settings::of_text(&text)).start();
    for cnf in [json!({ "jkt": "x" }), json!({ "x5t#S256": "x" }), json!({}), json!("x")] {
        let token = tokens.provider.token("k1", 0).claim("cnf", cnf.clone()).sign();
        assert_eq!(status(&edge, &token), 401, "{cnf}");
    }
    assert_eq!(status(&edge, &tokens.provider.token("k1", 0).sign()), 200);
}

#[test]
fn explain_asks_and_tells_what_came_of_it() {
    let (tokens, upstream) = (Tokens::start(), Upstream::start());
    let issuer = format!("issuer = \"{}\"", tokens.provider.url());
    let text = settings("introspection", &issuer, &upstream).text();
    let text = text.replace("{port}", "18080").replace("{mport}", "19090");
    let explain = |token: &str| {
        let arguments =
            ["explain", "-c", "harmony.toml", "--request", "GET /api/x", "--token-stdin"];
        let program = Program::with(&arguments).file("harmony.toml", &text);
        program.env("SECRET", SECRET).stdin(token).run().stdout
    };
    let mut answer = tokens.answer();
    answer["aud"] = json!("other");
    let (other, unknown) = (named("other"), named("unknown"));
    tokens.know(&other, answer);
    for (token, said) in [
        (&other, "rejected: wrong_audience: aud is \"other\", the step takes \"harmony-api\""),
        (&unknown, "rejected: inactive: the issuer says that it is not active"),
    ] {
        let told = explain(token);
        assert!(told.contains(said) && !told.contains(token.as_str()), "{said}: {told}");
    }
    tokens.say(Some(Reply::Status(500)));
    let told = explain(&unknown);
    assert!(told.contains("rejected: introspection_failed: the status is 500"), "{told}");
}
