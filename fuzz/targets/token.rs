//! Tokens: none passes that the right key has not signed, and none whose claims do not say what the
//! step asks for.
//!
//! The first byte of the input chooses: a whole token as it comes; a header and claims (with a line
//! feed between) that the trusted keys sign, or that other keys sign; or changes to a good token,
//! each a place in two bytes and what to put there.

#![no_main]

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use harmony::auth::{AuthMethod, AuthRequest, Chain, Identity, Shared};
use harmony::config;
use harmony_fuzz::issuer::{self, AUDIENCE, ISSUER, Issuer, Keys, SECRET, STEPS};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use runbeam_sdk::{JwtValidationOptions, UserTokens};
use serde_json::Value;
use tokio::runtime::Runtime;

struct Edge {
    issuer: Issuer,
    chains: Vec<Chain>,
    users: UserTokens,
    runtime: Runtime,
    /// Good tokens, one for each step.
    issued: Vec<Vec<u8>>,
}

// What has to be made first takes seconds on a busy machine: no input is slow for that.
fuzz_target!(init: { edge(); }, |input: &[u8]| {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let edge = edge();
    let step = usize::from(mode >> 2) % STEPS.len();
    let name = STEPS[step];
    let (header, claims) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (&b""[..], rest),
    };
    match mode & 3 {
        0 => as_it_comes(edge, rest),
        1 => {
            let token = edge.issuer.trusted.token(name, header, claims);
            if let Some(identity) = edge.passes(&edge.chains[step], &token) {
                examine(name, header, claims, &identity);
            }
            if name == "hs" && edge.user(&token) {
                let claims: Value = serde_json::from_slice(claims).expect("claims are JSON");
                let issuer = claims["iss"].as_str().expect("an issuer");
                let url = url::Url::parse(issuer).expect("an issuer that passes is a URL");
                assert_eq!(url.origin().ascii_serialization(), ISSUER);
            }
            // One key's token is nobody else's.
            for (other, chain) in STEPS.iter().zip(&edge.chains) {
                if Keys::algorithm(other) != Keys::algorithm(name) {
                    assert!(edge.passes(chain, &token).is_none(),
                        "{other} took what {name} signed");
                }
            }
        }
        2 => {
            let token = edge.issuer.strange.token(name, header, claims);
            for (other, chain) in STEPS.iter().zip(&edge.chains) {
                if let Some(identity) = edge.passes(chain, &token) {
                    // The second issuer of `two` is the stranger, in its own name only.
                    assert_eq!(*other, "two", "a stranger signed");
                    assert_eq!(claim(claims, "iss"), "https://b.example");
                    drop(identity);
                }
            }
            assert!(!edge.user(&token));
        }
        _ => {
            let mut token = edge.issued[step].clone();
            for change in rest.chunks_exact(3) {
                let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % token.len();
                token[at] = change[2];
            }
            as_it_comes(edge, &token);
        }
    }
});

/// Whatever nobody signed, nobody takes.
fn as_it_comes(edge: &Edge, token: &[u8]) {
    for chain in &edge.chains {
        if edge.passes(chain, token).is_some() {
            assert!(edge.is_issued(token), "{}", String::from_utf8_lossy(token));
        }
    }
    assert!(!edge.user(token) || edge.is_issued(token));
}

/// Says by itself, with another parser, whether a token with this header and these claims may pass.
fn examine(step: &str, header: &[u8], claims: &[u8], identity: &Identity) {
    let header: Value = serde_json::from_slice(header).expect("a header is JSON");
    assert_eq!(header["alg"], Keys::algorithm(step));
    for name in ["crit", "b64", "zip", "enc", "cty"] {
        assert!(header.get(name).is_none(), "{name}");
    }
    let typ = header.get("typ").map(|typ| typ.as_str().expect("a string").to_ascii_lowercase());
    assert!(
        typ.is_none_or(|typ| ["jwt", "at+jwt"].contains(&typ.trim_start_matches("application/")))
    );
    let kid = header.get("kid").map(|kid| kid.as_str().expect("a string"));
    match step {
        "rs" => assert!(matches!(kid, None | Some("r"))),
        "es" => assert!(matches!(kid, None | Some("e"))),
        _ => {}
    }

    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let leeway = 60.0;
    assert!(claim(claims, "exp").as_f64().expect("a number") + leeway > now - 1.0);
    for name in ["nbf", "iat"] {
        let from = claim(claims, name);
        assert!(from.is_null() || from.as_f64().expect("a number") - leeway <= now + 1.0);
    }
    assert_eq!(claim(claims, "iss"), ISSUER);
    match claim(claims, "aud") {
        Value::String(audience) => assert_eq!(audience, AUDIENCE),
        Value::Array(audiences) => {
            assert!(audiences.iter().all(Value::is_string));
            assert!(audiences.iter().any(|audience| audience == AUDIENCE));
        }
        other => panic!("{other}"),
    }
    assert_eq!(identity.method(), AuthMethod::Jwt);
    match (identity.subject(), claim(claims, "sub")) {
        (None, subject) => assert!(subject.is_null() || subject == ""),
        (Some(subject), Value::String(of_claims)) => assert_eq!(subject, of_claims.as_str()),
        (Some(_), other) => panic!("{other}"),
    }
    let values =
        identity.subject().into_iter().chain(identity.headers().iter().map(|(_, value)| value));
    for value in values {
        assert!(value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte)), "{value:?}");
    }
}

/// A claim, as serde_json has it: of members with one name, the last. `null`: absent.
fn claim(claims: &[u8], name: &str) -> Value {
    let claims: Value = serde_json::from_slice(claims).expect("claims are JSON");
    let claims = claims.as_object().expect("claims are an object");
    match claims.get(name) {
        Some(Value::Null) => panic!("{name} is null"),
        Some(value) => value.clone(),
        None => Value::Null,
    }
}

impl Edge {
    /// Whether a token passes; and passes again, out of what is remembered.
    fn passes(&self, chain: &Chain, token: &[u8]) -> Option<Identity> {
        let value = [b"Bearer ", token].concat();
        let headers =
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(&value).ok()?)]);
        let presented = AuthRequest::of(&headers);
        let verdict = self.runtime.block_on(chain.authenticate(&presented));
        let again = self.runtime.block_on(chain.authenticate(&presented));
        match (verdict, again) {
            (Ok(identity), Ok(again)) => {
                let (identity, again) =
                    (identity.expect("no anonymous"), again.expect("no anonymous"));
                assert_eq!(identity.subject(), again.subject());
                assert_eq!(identity.headers(), again.headers());
                Some(identity)
            }
            (Err(denial), Err(again)) => {
                assert_eq!(denial.reason(), again.reason());
                assert!(matches!(denial.status(), 400 | 401 | 403), "{denial:?}");
                assert!(!denial.challenges().is_empty());
                None
            }
            (verdict, again) => panic!("{verdict:?} and then {again:?}"),
        }
    }

    fn user(&self, token: &[u8]) -> bool {
        std::str::from_utf8(token)
            .is_ok_and(|token| self.runtime.block_on(self.users.validate(token)).is_ok())
    }

    fn is_issued(&self, token: &[u8]) -> bool {
        self.issued.iter().any(|known| signed(known) == signed(token.trim_ascii()))
    }
}

/// Everything before the signature.
fn signed(token: &[u8]) -> &[u8] {
    let end = token.iter().rposition(|byte| *byte == b'.').unwrap_or(0);
    &token[..end]
}

fn edge() -> &'static Edge {
    static EDGE: OnceLock<Edge> = OnceLock::new();
    EDGE.get_or_init(|| {
        let users = UserTokens::new(JwtValidationOptions {
            trusted_issuers: vec![ISSUER.to_owned()],
            // HS256 alone, since there is nobody to fetch keys from.
            algorithms: Vec::new(),
            jwt_secret: Some(SECRET.to_owned()),
            ..JwtValidationOptions::default()
        })
        .expect("an address");
        let issuer = Issuer::new();
        let path = issuer.home().join("h.toml");
        let environment = std::collections::BTreeMap::new();
        let config = config::parse(&path, &issuer.configuration(), &environment)
            .unwrap_or_else(|errors| panic!("{errors}"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let shared = Shared::new(None).expect("random numbers");
        shared.remember_tokens(1 << 20);
        let chains = STEPS.iter().map(|step| {
            let pipeline = config
                .pipelines
                .iter()
                .find(|pipeline| &*pipeline.name == *step)
                .expect("a pipeline");
            let chain = Chain::build(&pipeline.steps, &shared)
                .unwrap_or_else(|errors| panic!("{errors:?}"));
            assert!(!format!("{chain:?}").contains(SECRET));
            chain
        });
        let issued = STEPS.iter().map(|step| {
            issuer.trusted.token(step, issuer::header(step).as_bytes(), issuer::CLAIMS.as_bytes())
        });
        let edge =
            Edge { chains: chains.collect(), issued: issued.collect(), users, runtime, issuer };
        // Else nothing that is refused would mean anything.
        for (chain, token) in edge.chains.iter().zip(&edge.issued) {
            assert!(edge.passes(chain, token).is_some());
        }
        edge
    })
}
