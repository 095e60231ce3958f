//! Field names that a server takes for another one's: CGI and its like fold case and map every
//! character that is no letter or digit to `_`.

use crate::support::settings::Route;
use crate::support::upstream::Received;
use crate::support::{Edge, Issuer, Settings, Upstream};

/// Every character of a token that is no letter or digit (RFC 9110 section 5.6.2).
const MARKS: &str = "!#$%&'*+-.^_`|~";

/// What no client may set, `-` for every mark, with what the upstream gets under that name.
const RESERVED: [(&str, &[&str]); 18] = [
    ("x-auth-subject", &["alice"]),
    ("x-auth-method", &["jwt"]),
    ("x-auth-scopes", &[]),
    ("x-tenant-id", &["blue"]),
    ("x-old-name", &[]),
    ("client-cert", &[]),
    ("client-cert-chain", &[]),
    ("x-original-url", &[]),
    ("x-rewrite-url", &[]),
    ("x-forwarded-for", &["127.0.0.1"]),
    ("x-forwarded-proto", &["http"]),
    ("x-forwarded-port", &[]),
    ("x-forwarded-anything", &[]),
    ("x-real-ip", &[]),
    ("x-api-key", &[]),
    ("proxy", &[]),
    ("proxy-authorization", &[]),
    ("transfer-encoding", &[]),
];

/// The values of the fields that a CGI server would know by this name.
fn as_cgi<'r>(request: &'r Received, name: &str) -> Vec<&'r str> {
    let folded = |name: &str| {
        let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        name.chars().map(fold).collect::<String>()
    };
    let fields = request.head.fields.iter();
    fields
        .filter(|(other, _)| folded(other) == folded(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

#[test]
fn no_token_character_makes_a_reserved_name_another_one() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let key = "[middleware.key]\ntype = \"api-key\"\noptional = true\n\
        keys = [\"61d034473102d7dac305902770471fd50f4c5b26f6831a56dd90b5184b3c30fc\"]\n";
    let jwt = format!(
        "[middleware.token]\ntype = \"jwt-auth\"\n\
         config = {{ jwks_url = \"{}\", issuer = \"https://auth.example.com\", audience = \
         \"harmony-api\", claims_to_headers = {{ tenant = \"X-Tenant-Id\", old = \"x_old.name\" \
         }} }}\n",
        issuer.url()
    );
    let both = Route::to("both", &upstream).prefix("/both").steps(&["key", "token"]);
    let open = Route::to("open", &upstream).prefix("/open");
    let edge =
        Edge::configured(Settings::bare().and(&both.text()).and(&open.text()).and(key).and(&jwt))
            .start();
    let token = issuer.token().claim("tenant", "blue").sign();
    for (path, token) in [("/both/x", Some(&token)), ("/open/x", None)] {
        for mark in MARKS.chars().filter(|mark| *mark != '-') {
            for http2 in [false, true] {
                upstream.clear();
                let mut request = edge.get(path);
                for (name, _) in RESERVED.iter().filter(|(name, _)| name.contains('-')) {
                    let first = name.replacen('-', &mark.to_string(), 1);
                    let every = name.replace('-', &mark.to_string());
                    request = request.header(&first, "forged").header(&every, "forged");
                }
                request = request.header(&format!("X{mark}Other"), "mine");
                let request = token.map_or(request.clone(), |token| request.bearer(token));
                let request = if http2 { request.http2() } else { request };
                assert_eq!(request.send().status, 200, "{path} {mark} HTTP/2: {http2}");
                let seen = upstream.only();
                for (name, expected) in RESERVED {
                    let ours = name.starts_with("x-forwarded") || token.is_some();
                    let expected = if ours { expected } else { &[] };
                    // Where no step reads it, it is the application's.
                    if (name, token.is_some()) == ("x-api-key", false) {
                        continue;
                    }
                    let found = as_cgi(&seen, name);
                    assert_eq!(found, expected, "{path} {name} {mark} HTTP/2: {http2}");
                }
                assert_eq!(as_cgi(&seen, "x-other"), ["mine"], "{path} {mark}");
            }
        }
    }
}

/// A nomination in `Connection` takes nothing away, under no name.
#[test]
fn a_disguised_name_cannot_be_nominated() {
    let upstream = Upstream::start();
    let edge = Edge::open(&upstream).start();
    for mark in MARKS.chars() {
        let nominated = format!("X{mark}Auth{mark}Subject");
        let request = edge.get("/api/x").header("Connection", &*format!("close, {nominated}"));
        assert_eq!(request.send().status, 400, "{nominated}");
    }
    assert_eq!(upstream.connections(), 0);
}
