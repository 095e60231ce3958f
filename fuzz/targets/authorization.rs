//! `Authorization`, cookies and queries: what is found there is what was written, and only the
//! right key lets in.
//!
//! The input: the value of `Authorization`, then, after line feeds, that of `Cookie` and the query.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harmony::auth::{AuthRequest, Chain, Shared};
use harmony::config;
use harmony::fuzzing::{bearer_token, htpasswd, user_and_password};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use runbeam_sdk::{JwtValidationOptions, UserTokens};
use tokio::runtime::Runtime;

/// `k3y`, hashed.
const CONFIG: &str = r#"
[proxy]
id = "f"
[network.n.http]
bind_port = 1
[pipelines.cookie]
networks = ["n"]
endpoints = ["cookie"]
middleware = ["cookie"]
[endpoints.cookie]
service = "echo"
options = { path_prefix = "/cookie" }
[middleware.cookie]
type = "api-key"
config = { cookie = "key", max_failures = 0, keys = [{ id = "one", hash = "HASH" }] }
[pipelines.query]
networks = ["n"]
endpoints = ["query"]
middleware = ["query"]
[endpoints.query]
service = "echo"
options = { path_prefix = "/query" }
[middleware.query]
type = "api-key"
config = { query = "key", max_failures = 0, keys = [{ id = "one", hash = "HASH" }] }
"#;
const KEY: &str = "k3y";

// What has to be made first takes seconds on a busy machine: no input is slow for that.
fuzz_target!(init: { chains(); }, |input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let [authorization, cookie, query] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(authorization) {
        headers.insert(AUTHORIZATION, value);
        bearer(&headers, authorization);
    }
    basic(authorization);
    if let Ok(text) = std::str::from_utf8(input) {
        match htpasswd(text) {
            Ok(names) => assert!(
                names.iter().all(|name| !name.contains(':') && text.contains(&**name))
            ),
            Err((line, said)) => {
                let wrong = text.lines().nth(line - 1).expect("a line");
                // Shorter ones may be words of the message itself.
                assert!(wrong.len() < 24 || wrong.contains(' ') || !said.contains(wrong), "{said}");
            }
        }
    }

    let (chains, runtime) = chains();
    if let Ok(value) = HeaderValue::from_bytes(cookie) {
        headers.insert(COOKIE, value);
    }
    let query = std::str::from_utf8(query).ok();
    let presented = AuthRequest { query, ..AuthRequest::of(&headers) };
    let decide = |chain: &&Chain| runtime.block_on(chain.authenticate(&presented));
    let verdicts = chains.each_ref().map(|chain| match decide(&chain) {
        Ok(identity) => Ok(identity.expect("no anonymous").subject().cloned()),
        Err(denial) => Err(denial.status()),
    });
    let values = headers.get(COOKIE).map_or(&b""[..],
        |value| value.as_bytes()).split(|byte| *byte == b';').filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=');
        let (name, value) = at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
        (name.trim_ascii() == b"key").then(|| value.trim_ascii().to_vec())
    });
    judge(&verdicts[0], values.collect());
    let parameters = url_parameters(presented.query.unwrap_or_default());
    let values = parameters.into_iter().filter(|(name, _)| name == b"key").map(|(_, value)| value);
    judge(&verdicts[1], values.collect());
});

fn bearer(headers: &HeaderMap, value: &[u8]) {
    match bearer_token(headers) {
        Some(Some(token)) => {
            let start = value.len() - token.len();
            assert!(value.ends_with(token) && value[..6].eq_ignore_ascii_case(b"bearer"));
            assert!(start > 6 && value[6..start].iter().all(|byte| *byte == b' '));
            assert!(
                !token
                    .iter()
                    .any(|byte| byte.is_ascii_whitespace() || *byte == b',' || *byte == b'"')
            );
            assert!(token.is_ascii() && token[0] != b'=');
        }
        Some(None) => assert!(value[..6].eq_ignore_ascii_case(b"bearer")),
        None => {
            let rest = value
                .split_at_checked(6)
                .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer"));
            assert!(
                rest.is_none_or(|(_, rest)| rest
                    .first()
                    .is_some_and(|byte| byte.is_ascii_graphic()))
            );
        }
    }
}

fn basic(value: &[u8]) {
    for token in [value, STANDARD.encode(value).as_bytes()] {
        if let Some((user, password)) = user_and_password(token) {
            assert_eq!(
                STANDARD.encode(format!("{user}:{password}")).as_bytes(),
                token,
                "only one spelling"
            );
            assert!(!user.contains(':') && password.len() <= 72);
            assert!(!user.contains(char::is_control) && !password.contains(char::is_control));
        }
    }
}

/// One key, and the right one: in. Several: 400, whatever they are. Else 401.
fn judge(verdict: &Result<Option<HeaderValue>, u16>, values: Vec<Vec<u8>>) {
    match &*values {
        [one] if one == KEY.as_bytes() => {
            assert_eq!(*verdict, Ok(Some(HeaderValue::from_static("one"))))
        }
        [] | [_] => assert_eq!(*verdict, Err(401)),
        _ => assert_eq!(*verdict, Err(400)),
    }
}

/// Names and values of a query, percent-decoded once; `+` is a plus.
fn url_parameters(query: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let decode = |text: &str| {
        let mut out = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, tail @ ..] = rest {
            let digits = tail
                .get(..2)
                .filter(|digits| *first == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
            let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
            match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
                Some(byte) => {
                    out.push(byte);
                    rest = &tail[2..];
                }
                None => {
                    out.push(*first);
                    rest = tail;
                }
            }
        }
        out
    };
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn chains() -> &'static ([Chain; 2], Runtime) {
    static CHAINS: OnceLock<([Chain; 2], Runtime)> = OnceLock::new();
    CHAINS.get_or_init(|| {
        // Installs the provider that TLS needs.
        UserTokens::new(JwtValidationOptions::default()).expect("an address");
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, KEY.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let text = CONFIG.replace("HASH", &hash);
        let config = config::parse(Path::new("h.toml"), &text, &BTreeMap::new())
            .unwrap_or_else(|errors| panic!("{errors}"));
        let shared = Shared::new(None).expect("random numbers");
        let chain = |name: &str| {
            let pipeline = config
                .pipelines
                .iter()
                .find(|pipeline| &*pipeline.name == name)
                .expect("a pipeline");
            Chain::build(&pipeline.steps, &shared).unwrap_or_else(|errors| panic!("{errors:?}"))
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        ([chain("cookie"), chain("query")], runtime)
    })
}
