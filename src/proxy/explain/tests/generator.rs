//! Configurations and requests by chance.

use std::collections::HashMap;

use fastrand::Rng;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// SHA-256 of the two keys.
const KEYS: &str = "{ id = \"good\", scopes = [\"s\"], hash = \"GOOD\" }, \
    { id = \"weak\", hash = \"WEAK\" }";

/// What stands in the place that a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
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
pub(super) struct Auth {
    pub(super) name: String,
    pub(super) location: Location,
    pub(super) optional: bool,
    pub(super) fallback: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Location {
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
pub(super) enum Step {
    Auth(Auth),
    /// Denies `/api/denied`, and counts.
    Policies,
    /// Filters `/api/hidden`.
    Filter,
}

impl Step {
    /// Whether the rate limit of these steps counts attempts: it may where no step that
    /// authenticates comes before it.
    pub(super) fn count_attempts(steps: &[Self]) -> bool {
        let first = steps.iter().position(|step| matches!(step, Self::Auth(_)));
        let last = steps
            .iter()
            .rposition(|step| matches!(step, Self::Policies));
        first.is_none_or(|first| last < Some(first))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) target: &'static str,
    pub(super) length: Option<u64>,
    pub(super) credentials: HashMap<Location, Credential>,
    /// `Authorization` where no step reads it.
    pub(super) stray: usize,
}

pub(super) fn steps(random: &mut Rng) -> Vec<Step> {
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

pub(super) fn configuration(steps: &[Step], most: u32) -> String {
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
    let count = if Step::count_attempts(steps) {
        ", count = \"attempts\""
    } else {
        ""
    };
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
          {{ id = "few", type = "rate_limit", max_requests = {most}, window_seconds = 3600{count} }},
          {{ id = "many", type = "rate_limit", max_requests = 1000, window_seconds = 3600 }},
        ]
        [middleware.filter]
        type = "path-filter"
        rules = [{{ deny = "/hidden/{{*rest}}" }}, "/{{*rest}}"]
        {tables}"#,
        names.join(", ")
    )
}

pub(super) fn request(random: &mut Rng, steps: &[Step]) -> Request {
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
    pub(super) fn head(&self) -> String {
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

    pub(super) fn found(&self, location: &Location) -> Credential {
        self.credentials[location]
    }
}
