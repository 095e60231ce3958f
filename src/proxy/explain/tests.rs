//! Random pipelines and requests: what `explain` says, what the proxy answers, and what the pages
//! say that both should, as a model of a few lines has it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use fastrand::Rng;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;
use crate::auth::Shared;
use crate::config::Source;
use crate::gateway::Live;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// SHA-256 of the two keys.
const KEYS: &str = "{ id = \"good\", scopes = [\"s\"], hash = \"GOOD\" }, \
    { id = \"weak\", hash = \"WEAK\" }";

/// What stands in the place that a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credential {
    Nothing,
    Good,
    Bad,
    WithoutScope,
    Twice,
    /// In `Authorization`, a scheme that no step takes.
    OtherScheme,
}

/// An authentication step.
#[derive(Debug, Clone)]
struct Auth {
    name: String,
    location: Location,
    optional: bool,
    fallback: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Location {
    /// A token.
    Authorization,
    /// A token.
    Cookie(usize),
    /// A key.
    Header(usize),
    /// A key.
    Query(usize),
}

#[derive(Debug, Clone)]
enum Step {
    Auth(Auth),
    /// Denies `/api/denied`, and counts.
    Policies,
    /// Filters `/api/hidden`.
    Filter,
}

#[derive(Debug, Clone)]
struct Request {
    method: &'static str,
    target: &'static str,
    length: Option<u64>,
    credentials: HashMap<Location, Credential>,
    /// `Authorization` where no step reads it.
    stray: usize,
}

/// What each step has made of a request, and what becomes of it.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    steps: Vec<&'static str>,
    end: Result<(), (u16, &'static str)>,
}

fn steps(random: &mut Rng) -> Vec<Step> {
    let mut steps = Vec::new();
    let chains = random.usize(0..=2);
    let mut number = 0;
    for chain in 0..chains {
        if random.bool() {
            steps.push(if random.bool() {
                Step::Policies
            } else {
                Step::Filter
            });
        }
        let length = random.usize(1..=3);
        let mut locations: Vec<Location> = Vec::new();
        for index in 0..length {
            number += 1;
            let location = match random.usize(0..4) {
                0 if !locations.contains(&Location::Authorization) => Location::Authorization,
                1 => Location::Cookie(number),
                2 => Location::Query(number),
                _ => Location::Header(number),
            };
            locations.push(location.clone());
            let last = index + 1 == length;
            // A step behind the last one of a chain would be one that its group is split by.
            let optional = if last {
                chain + 1 == chains && random.bool()
            } else {
                random.bool()
            };
            steps.push(Step::Auth(Auth {
                name: format!("auth{number}"),
                location,
                optional,
                fallback: optional && !last && random.bool(),
            }));
        }
        // Between two chains stands something.
        if chain + 1 < chains {
            steps.push(if random.bool() {
                Step::Policies
            } else {
                Step::Filter
            });
        }
    }
    if random.bool() {
        steps.push(Step::Policies);
    }
    steps
}

fn configuration(steps: &[Step], most: u32) -> String {
    let digest = |key: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
        digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let keys = KEYS
        .replace("GOOD", &digest("good"))
        .replace("WEAK", &digest("weak"));
    let mut names = Vec::new();
    let mut tables = String::new();
    for step in steps {
        let Auth {
            name,
            location,
            optional,
            fallback,
        } = match step {
            Step::Policies => {
                names.push("\"rules\"".to_owned());
                continue;
            }
            Step::Filter => {
                names.push("\"filter\"".to_owned());
                continue;
            }
            Step::Auth(auth) => auth,
        };
        names.push(format!("{name:?}"));
        let (kind, options) = match location {
            Location::Authorization | Location::Cookie(_) => (
                "jwt-auth",
                format!(
                    "secret = {SECRET:?}\nalgorithm = \"HS256\"\nissuer = \"i\"\naudience = \"a\""
                ),
            ),
            Location::Header(_) | Location::Query(_) => {
                ("api-key", format!("keys = [{keys}]\nmax_failures = 0"))
            }
        };
        let place = match location {
            Location::Authorization => String::new(),
            Location::Cookie(number) => format!("token_cookie = \"c{number}\""),
            Location::Header(number) => format!("header = \"X-Key-{number}\""),
            Location::Query(number) => format!("query = \"q{number}\""),
        };
        let fallback = if *fallback {
            "fallback_on = \"failed\""
        } else {
            ""
        };
        tables += &format!(
            "[middleware.{name}]\ntype = {kind:?}\noptional = {optional}\n{fallback}\n\
             [middleware.{name}.config]\n{options}\n{place}\nrequired_scopes = [\"s\"]\n"
        );
    }
    format!(
        r#"
        [proxy]
        id = "t"
        [network.public.http]
        bind_address = "127.0.0.1"
        bind_port = 8080
        [pipelines.api]
        networks = ["public"]
        endpoints = ["api"]
        backends = ["app"]
        middleware = [{}]
        [pipelines.open]
        networks = ["public"]
        endpoints = ["open"]
        middleware = []
        [endpoints.api]
        service = "http"
        methods = ["GET", "POST"]
        options = {{ path_prefix = "/api", max_body_size = 100 }}
        [endpoints.open]
        service = "echo"
        [backends.app]
        service = "http"
        options = {{ base_url = "http://127.0.0.1:9" }}
        [middleware.rules]
        type = "policies"
        rules = [
          {{ id = "all", type = "allow_all" }},
          {{ id = "no", type = "path", mode = "deny", paths = ["/api/denied/{{*rest}}"] }},
          {{ id = "few", type = "rate_limit", max_requests = {most}, window_seconds = 3600 }},
          {{ id = "many", type = "rate_limit", max_requests = 1000, window_seconds = 3600 }},
        ]
        [middleware.filter]
        type = "path-filter"
        rules = [{{ deny = "/hidden/{{*rest}}" }}, "/{{*rest}}"]
        {tables}"#,
        names.join(", ")
    )
}

fn request(random: &mut Rng, steps: &[Step]) -> Request {
    let mut credentials = HashMap::new();
    for step in steps {
        let Step::Auth(Auth { location, .. }) = step else {
            continue;
        };
        let credential = match random.usize(0..12) {
            0..=5 => Credential::Good,
            6 | 7 => Credential::Nothing,
            8 => Credential::Bad,
            9 => Credential::WithoutScope,
            10 => Credential::Twice,
            _ if *location == Location::Authorization => Credential::OtherScheme,
            _ => Credential::Nothing,
        };
        credentials.insert(location.clone(), credential);
    }
    let mut request = Request {
        method: random
            .choice(["GET", "GET", "GET", "POST", "DELETE"])
            .unwrap(),
        target: random
            .choice([
                "/api/x",
                "/api/x",
                "/api/x",
                "/api",
                "/api/a%2Fb",
                "/api/denied/x",
                "/api/denied%2Fx",
                "/api/hidden",
                "/api/hidden;v/y",
                "/API/x",
                "/api;v/x",
                "/open",
            ])
            .unwrap(),
        length: random
            .choice([None, None, None, Some(100), Some(101)])
            .unwrap(),
        stray: random.choice([0, 0, 0, 1, 2]).unwrap(),
        credentials,
    };
    // Whoever echoes waits for the body.
    request.length = request.length.filter(|_| request.target != "/open");
    request
}

impl Request {
    fn head(&self) -> String {
        let token = |scope: &str| {
            let claims =
                json!({ "iss": "i", "aud": "a", "exp": 4_000_000_000_u32, "scope": scope });
            let key = EncodingKey::from_secret(SECRET.as_bytes());
            encode(&Header::default(), &claims, &key).unwrap()
        };
        let mut query = Vec::new();
        let mut fields = Vec::new();
        let mut locations: Vec<_> = self.credentials.iter().collect();
        locations.sort_by_key(|(location, _)| format!("{location:?}"));
        for (location, credential) in locations {
            let is_token = matches!(location, Location::Authorization | Location::Cookie(_));
            let values = match (credential, is_token) {
                (Credential::Nothing, _) => vec![],
                (Credential::OtherScheme, _) => vec![None],
                (Credential::Good, true) => vec![Some(token("s"))],
                (Credential::Good, false) => vec![Some("good".to_owned())],
                (Credential::Bad, true) => vec![Some("not.a.token".to_owned())],
                (Credential::Bad, false) => vec![Some("unknown".to_owned())],
                (Credential::WithoutScope, true) => vec![Some(token("r"))],
                (Credential::WithoutScope, false) => vec![Some("weak".to_owned())],
                (Credential::Twice, true) => vec![Some(token("s")), Some(token("s"))],
                (Credential::Twice, false) => vec![Some("good".to_owned()), Some("x".to_owned())],
            };
            for value in values {
                match (location, value) {
                    (Location::Authorization, None) => {
                        fields.push("Authorization: Basic YTpi".to_owned());
                    }
                    (_, None) => {}
                    (Location::Authorization, Some(value)) => {
                        fields.push(format!("Authorization: Bearer {value}"));
                    }
                    (Location::Cookie(number), Some(value)) => {
                        fields.push(format!("Cookie: c{number}={value}"));
                    }
                    (Location::Header(number), Some(value)) => {
                        fields.push(format!("X-Key-{number}: {value}"));
                    }
                    (Location::Query(number), Some(value)) => {
                        query.push(format!("q{number}={value}"));
                    }
                }
            }
        }
        if !self.credentials.contains_key(&Location::Authorization) {
            fields.extend((0..self.stray).map(|_| "Authorization: Other x".to_owned()));
        }
        fields.extend(
            self.length
                .map(|length| format!("Content-Length: {length}")),
        );
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        let (mark, query) = (if query.is_empty() { "" } else { "?" }, query.join("&"));
        format!(
            "{} {}{mark}{query} HTTP/1.1\r\nHost: h\r\n{fields}\r\n",
            self.method, self.target
        )
    }

    fn found(&self, location: &Location) -> Credential {
        self.credentials[location]
    }
}

/// How many requests the limit `few` still lets pass.
struct Model {
    left: u32,
}

impl Model {
    fn judge(&mut self, steps: &[Step], request: &Request) -> Verdict {
        let refused = |steps, status, reason| Verdict {
            steps,
            end: Err((status, reason)),
        };
        match request.target {
            "/API/x" | "/api;v/x" => return refused(Vec::new(), 400, "path"),
            // The pipeline `open` answers by itself.
            "/open" => {
                return Verdict {
                    steps: Vec::new(),
                    end: Ok(()),
                };
            }
            _ => {}
        }
        let first = steps
            .iter()
            .position(|step| matches!(step, Step::Auth(_)))
            .unwrap_or(0);
        let mut counted = false;
        let mut counts = false;
        let mut made = Vec::new();
        let mut index = 0;
        while let Some(step) = steps.get(index) {
            match step {
                Step::Policies => {
                    if request.target.starts_with("/api/denied") {
                        made.push("rule \"no\" denies");
                        return self.rest(refused(made, 403, "policy_denied"), steps);
                    }
                    made.push("rule \"all\" allows");
                    counts = true;
                    if index < first && !counted {
                        if self.left == 0 {
                            return self.rest(refused(made, 429, "rate_limited"), steps);
                        }
                        (self.left, counted) = (self.left - 1, true);
                    }
                    index += 1;
                }
                Step::Filter => {
                    if request.target == "/api" {
                        made.push("no pattern matches");
                        return self.rest(refused(made, 404, "path_filtered"), steps);
                    }
                    if request.target.starts_with("/api/hidden") {
                        made.push("pattern \"/hidden/{*rest}\" denies");
                        return self.rest(refused(made, 404, "path_filtered"), steps);
                    }
                    made.push("pattern");
                    index += 1;
                }
                Step::Auth(_) => {
                    let is_auth = |step: &&Step| matches!(step, Step::Auth(_));
                    let chain = steps[index..].iter().take_while(is_auth);
                    let chain: Vec<&Auth> = chain
                        .filter_map(|step| match step {
                            Step::Auth(auth) => Some(auth),
                            _ => None,
                        })
                        .collect();
                    index += chain.len();
                    if let Some((status, reason)) = authenticate(&chain, request, &mut made) {
                        return self.rest(refused(made, status, reason), steps);
                    }
                }
            }
        }
        if request.method == "DELETE" {
            return refused(made, 405, "method");
        }
        if request.length == Some(101) {
            return refused(made, 413, "body_too_large");
        }
        if counts && !counted {
            if self.left == 0 {
                return refused(made, 429, "rate_limited");
            }
            self.left -= 1;
        }
        Verdict {
            steps: made,
            end: Ok(()),
        }
    }

    /// The steps behind the last one that was reached.
    fn rest(&self, mut verdict: Verdict, steps: &[Step]) -> Verdict {
        verdict.steps.resize(steps.len(), "not reached");
        verdict
    }
}

/// AUTH.md, "The chain". `None`: it passes.
fn authenticate(
    chain: &[&Auth],
    request: &Request,
    made: &mut Vec<&'static str>,
) -> Option<(u16, &'static str)> {
    let reads_it = request.credentials.contains_key(&Location::Authorization);
    let twice = chain
        .iter()
        .any(|auth| request.found(&auth.location) == Credential::Twice)
        || match reads_it {
            true => request.found(&Location::Authorization) == Credential::Twice,
            false => request.stray > 1,
        };
    if twice {
        made.push("rejected: repeated");
        return Some((400, "repeated"));
    }
    let mut rest = chain.iter().peekable();
    while rest.peek().is_some() {
        let mut group = Vec::new();
        for auth in rest.by_ref() {
            group.push(auth);
            if !auth.optional {
                break;
            }
        }
        let mut rejected: Option<(u16, &'static str)> = None;
        let mut decided = None;
        for auth in &group {
            if decided.is_some() {
                made.push("skipped");
                continue;
            }
            let is_token = matches!(auth.location, Location::Authorization | Location::Cookie(_));
            let (status, reason) = match request.found(&auth.location) {
                Credential::Nothing | Credential::OtherScheme => {
                    made.push("nothing presented");
                    continue;
                }
                Credential::Good => {
                    made.push("authenticated");
                    decided = Some(true);
                    continue;
                }
                Credential::Bad if is_token => (401, "malformed"),
                Credential::Bad => (401, "unknown_key"),
                Credential::WithoutScope => (403, "scope_missing"),
                Credential::Twice => unreachable!(),
            };
            made.push("rejected");
            if rejected.is_none_or(|(known, _)| known < status) {
                rejected = Some((status, reason));
            }
            if !auth.fallback {
                decided = Some(false);
            }
        }
        match (decided, rejected) {
            (Some(true), _) => {}
            (_, Some(refusal)) => return Some(refusal),
            (_, None) if group.iter().all(|auth| auth.optional) => {}
            (_, None) => return Some((401, "missing")),
        }
    }
    None
}

/// What the proxy answers; `None`: it forwards.
async fn answer(edge: &Edge, head: &[u8], local: SocketAddr, peer: SocketAddr) -> Option<String> {
    let (mut client, server) = duplex(STREAM);
    client.write_all(head).await.unwrap();
    let mut session = Session::new_h1(Box::new(server));
    session.read_request().await.unwrap();
    let mut ctx = edge.new_ctx();
    (ctx.connection.local, ctx.connection.peer) = (Some(local), Some(peer));
    if !edge
        .try_respond(&mut session, &mut ctx, &mut Trace::off())
        .await
        .unwrap()
    {
        return None;
    }
    drop(session);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    Some(format!(
        "{:?} {}",
        ctx.reason,
        without_moment(&head_of(&answer))
    ))
}

/// A head without what differs from one request to the next.
fn without_moment(head: &[String]) -> String {
    let lasting = head.iter().filter(|line| {
        let name = line
            .split(':')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        !["date", "x-request-id"].contains(&name.as_str())
    });
    lasting.cloned().collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn it_says_what_the_proxy_does_and_both_do_what_the_pages_say() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (local, peer) = (
        "127.0.0.1:8080".parse().unwrap(),
        "192.0.2.1:4711".parse().unwrap(),
    );
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let steps = steps(&mut random);
        let most = random.u32(5..15);
        let text = configuration(&steps, most);
        let source =
            Source::text("t.toml", &text).with_environment(BTreeMap::<String, String>::new());
        let live = Live::start(source, Shared::new(None).unwrap());
        let live = live.unwrap_or_else(|errors| panic!("seed {seed}: {errors}\n{text}"));
        let edge = Edge::new(Arc::new(live), Arc::default());
        let mut model = Model { left: most };
        for number in 0..30 {
            let request = request(&mut random, &steps);
            let head = request.head();
            let case = format!("seed {seed}, request {number}: {steps:?}\n{head}");
            let explained = edge.explain(head.as_bytes(), local, peer).await.unwrap();
            let answered = answer(&edge, head.as_bytes(), local, peer).await;
            let expected = model.judge(&steps, &request);

            let told = match &explained.end {
                End::Answered { head, reason, .. } => {
                    Some(format!("{reason:?} {}", without_moment(head)))
                }
                End::Forwarded { .. } => None,
            };
            assert_eq!(told, answered, "{case}\n{explained}");
            let end = match &expected.end {
                Ok(()) if request.target == "/open" => "None HTTP/1.1 200 OK".to_owned(),
                Ok(()) => String::new(),
                Err((status, reason)) => format!("Some({reason:?}) HTTP/1.1 {status} "),
            };
            let answered = answered.unwrap_or_default();
            assert!(
                answered.starts_with(&end),
                "{end}: {answered}\n{case}\n{explained}"
            );
            assert_eq!(answered.is_empty(), end.is_empty(), "{case}\n{explained}");
            *ends.entry(end).or_default() += 1;

            let outcomes = explained.entries.iter().filter_map(|entry| match entry {
                Entry::Step { outcome, .. } => Some(outcome.as_str()),
                Entry::Limit { .. } => None,
            });
            let outcomes: Vec<&str> = outcomes.collect();
            let right = outcomes.len() == expected.steps.len()
                && outcomes
                    .iter()
                    .zip(&expected.steps)
                    .all(|(told, step)| told.starts_with(step));
            assert!(right, "{outcomes:?}: {:?}\n{case}", expected.steps);
        }
    }
    // Each kind of end has come up.
    for end in ["401", "403", "404", "405", "413", "429", "400", "200"] {
        assert!(
            ends.keys().any(|known| known.contains(end)),
            "{end}: {ends:?}"
        );
    }
    println!("{ends:?}");
}
