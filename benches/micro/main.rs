//! What the parts of a request cost, each alone and without a socket: `cargo bench --bench micro`,
//! or `cargo bench --bench micro -- PART` for those whose names contain the word.
//!
//! Not here: what a request costs under load (`load`), and a million tokens (`tokens`).

#![allow(clippy::unwrap_used, reason = "a measurement, not the program")]
#![allow(unreachable_pub, reason = "a binary of several files")]

#[path = "../common/proofs.rs"]
mod proofs;
mod signer;
mod steps;

use std::future::Future;
use std::hint::black_box;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use criterion::Criterion;
use harmony::auth::{
    AuthRequest, Chain, Denial, Identity, ProofError, ProofMemo, Reason, RequestTarget, Shared,
    TargetUrl,
};
use harmony::config::Source;
use harmony::gateway::{Live, RouteSpec, RouteTable, canonical};
use harmony::proxy::{Edge, End};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jose::TokenError;
use tokio::runtime::Runtime;

use proofs::Sender;
use signer::{Sign, bound_token, signer, token};
use steps::{api_key, bearer, chain, configuration, jwt, key_headers, shared};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CACHE: u64 = 64 * 1024 * 1024;

fn main() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    algorithms(&mut criterion);
    proofs_of_possession(&mut criterion, &runtime);
    key_sets(&mut criterion);
    chains(&mut criterion, &runtime);
    api_keys(&mut criterion);
    routes(&mut criterion);
    paths(&mut criterion);
    requests(&mut criterion, &runtime);
    criterion.final_summary();
}

/// One token under each algorithm: its signature checked every time, or remembered.
fn algorithms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "HS256"] {
        let dir = tempfile::tempdir().unwrap();
        let (source, sign) = signer(algorithm, dir.path());
        let headers = bearer(&token(algorithm, "k", &sign));
        for (name, bytes) in [("verified", 0), ("remembered", CACHE)] {
            let shared = shared(bytes);
            let chain = chain(dir.path(), r#"["jwt"]"#, &jwt(algorithm, &source), &shared);
            pass(&chain, &headers);
            pass(&chain, &headers);
            assert_eq!(shared.token_cache().hits > 0, bytes > 0);
            group.bench_function(format!("{algorithm}/{name}"), |bencher| {
                bencher.iter(|| pass(&chain, &headers));
            });
        }
    }
    group.finish();
}

/// A remembered token that is bound to a key, with the same proof again: all of it is verified, and
/// it is refused at the very end. Beside it, a proof for another method, which is refused after its
/// signature.
fn proofs_of_possession(criterion: &mut Criterion, runtime: &Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let (source, sign) = signer("EdDSA", dir.path());
    let step = jwt("EdDSA", &source) + "dpop = \"require\"\n";
    let chain = chain(dir.path(), r#"["jwt"]"#, &step, &shared(CACHE));
    let sender = Sender::make().unwrap();
    let token = bound_token("EdDSA", "k", &sender.thumbprint(), &sign);
    let proof = sender.prove("https://a.example/x", &token, 0).unwrap();
    let fields = [
        (AUTHORIZATION, HeaderValue::try_from(format!("DPoP {token}")).unwrap()),
        (HeaderName::from_static("dpop"), HeaderValue::try_from(proof).unwrap()),
    ];
    let headers = HeaderMap::from_iter(fields);
    let verdict = |method: &Method| {
        let memo = ProofMemo::default();
        let target = RequestTarget { method, url: &Anywhere, proof: &memo };
        let request = AuthRequest { target: Some(target), ..AuthRequest::of(&headers) };
        runtime.block_on(chain.authenticate(&request)).map_err(|denial| denial.reason())
    };
    assert!(verdict(&Method::GET).is_ok());
    let mut group = criterion.benchmark_group("proof");
    for (name, method, error) in [
        ("ES256/verified", Method::GET, ProofError::Replayed),
        ("ES256/another method", Method::PUT, ProofError::WrongMethod),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(verdict(&method).err(), Some(Reason::Proof(error))));
        });
    }
    group.finish();
}

/// The URL of every request.
#[derive(Debug)]
struct Anywhere;

impl TargetUrl for Anywhere {
    fn is_named_by(&self, _: &str) -> bool {
        true
    }
}

/// A key found by `kid` among 1 and 100, which is as many as a set may have. An unknown one is
/// refused before a signature is checked: there the look-up shows.
fn key_sets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key set");
    for count in [1, 100] {
        let dir = tempfile::tempdir().unwrap();
        let pairs: Vec<_> = (0..count).map(|_| Ed25519KeyPair::generate().unwrap()).collect();
        let keys = pairs.iter().enumerate().map(|(number, pair)| {
            let x = URL_SAFE_NO_PAD.encode(pair.public_key());
            format!(
                r#"{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"key-{number:03}","x":"{x}"}}"#
            )
        });
        let set = format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","));
        std::fs::write(dir.path().join("jwks.json"), set).unwrap();
        let step = jwt("EdDSA", r#"jwks_path = "jwks.json""#);
        let chain = chain(dir.path(), r#"["jwt"]"#, &step, &shared(0));
        let chosen = count / 3;
        let sign: Sign = Box::new(move |input| pairs[chosen].sign(input).as_ref().to_vec());
        let known = bearer(&token("EdDSA", &format!("key-{chosen:03}"), &sign));
        let unknown = bearer(&token("EdDSA", "key-xyz", &sign));
        group.bench_function(format!("verified/{count}"), |bencher| {
            bencher.iter(|| pass(&chain, &known));
        });
        group.bench_function(format!("unknown kid/{count}"), |bencher| {
            bencher.iter(|| refuse(&chain, &unknown, Reason::Token(TokenError::UnknownKid)));
        });
    }
    group.finish();
}

/// Three steps of which any will do, with the credential of the last; and two that both must pass.
fn chains(criterion: &mut Criterion, runtime: &Runtime) {
    let dir = tempfile::tempdir().unwrap();
    let (source, sign) = signer("EdDSA", dir.path());
    let password = bcrypt::hash("correct horse", 4).unwrap();
    let steps = |optional: bool| {
        let jwt = jwt("EdDSA", &source);
        let key = api_key(1);
        format!(
            "{jwt}\noptional = {optional}\n{key}\noptional = {optional}\n[middleware.password]\n\
             type = \"basic-auth\"\noptional = {optional}\nusername = \"alice\"\n\
             password_hash = \"{password}\"\n"
        )
    };
    let either = |order| chain(dir.path(), order, &steps(true), &shared(CACHE));
    let basic = format!("Basic {}", STANDARD.encode("alice:correct horse"));
    let basic = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(basic).unwrap())]);
    let key = key_headers(0);
    let mut both = bearer(&token("EdDSA", "k", &sign));
    both.extend(key.clone());
    let both_must = chain(dir.path(), r#"["jwt", "key"]"#, &steps(false), &shared(CACHE));
    let mut group = criterion.benchmark_group("chain");
    for (name, chain, headers) in [
        ("token or password or key/key", either(r#"["jwt", "password", "key"]"#), key),
        (
            "token or key or password/remembered password",
            either(r#"["jwt", "key", "password"]"#),
            basic,
        ),
        ("token and key/remembered token", both_must, both),
    ] {
        // A password is hashed once, by a thread of its own.
        runtime.block_on(chain.authenticate(&AuthRequest::of(&headers))).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| pass(&chain, &headers)));
    }
    group.finish();
}

fn api_keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("api key");
    for count in [1, 10_000] {
        let chain = chain(Path::new("."), r#"["key"]"#, &api_key(count), &shared(0));
        let (known, unknown) = (key_headers(count / 2), key_headers(count));
        group.bench_function(format!("known/{count}"), |bencher| {
            bencher.iter(|| pass(&chain, &known));
        });
        group.bench_function(format!("unknown/{count}"), |bencher| {
            bencher.iter(|| refuse(&chain, &unknown, Reason::UnknownKey));
        });
    }
    group.finish();
}

/// Paths of the whole table take turns, so that the processor's caches count.
fn routes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for count in [10, 1_000, 100_000] {
        let mut table = RouteTable::default();
        for number in 0..count {
            let prefix = &format!("/tenants/{number:06}/orders");
            table.insert(&RouteSpec { prefix, ..RouteSpec::default() }, number);
        }
        let paths = |kind: &str| -> Vec<String> {
            let numbers = (0..count).step_by((count / 1_000).max(1));
            numbers.map(|number| format!("/tenants/{number:06}/{kind}/7")).collect()
        };
        for (name, paths, hits) in
            [("hit", paths("orders"), true), ("miss", paths("others"), false)]
        {
            let mut turns = paths.iter().cycle();
            group.bench_function(format!("{name}/{count}"), |bencher| {
                bencher.iter(|| {
                    let path = turns.next().unwrap();
                    let found = table.find("api.example.com", black_box(path), &Method::GET);
                    assert_eq!(found.is_some(), hits);
                });
            });
        }
    }
    group.finish();
}

fn paths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("canonical path");
    for (name, path, expected) in [
        ("plain", "/api/v1/orders/4711/items", "/api/v1/orders/4711/items"),
        ("escapes", "/api/v1/%6frders/4711/caf%c3%a9", "/api/v1/orders/4711/caf%C3%A9"),
        ("dot segments", "/api/v0/../v1/./orders/4711/items", "/api/v1/orders/4711/items"),
    ] {
        assert_eq!(canonical(path).unwrap(), expected);
        group.bench_function(name, |bencher| bencher.iter(|| canonical(black_box(path))));
    }
    group.finish();
}

/// A whole request through the filters of the proxy, from the bytes of its head to the head that
/// the upstream would get, over a stream in memory. It runs the chain twice, the second time for
/// the explanation, whose making counts too: compare with `open`, rather than with what a request
/// costs.
fn requests(criterion: &mut Criterion, runtime: &Runtime) {
    let mut group = criterion.benchmark_group("request");
    for (name, mebibytes) in [("verified token, twice", 0), ("remembered token, twice", 64)] {
        let dir = tempfile::tempdir().unwrap();
        let (source, sign) = signer("EdDSA", dir.path());
        let own = format!("token_cache_mb = {mebibytes}\nstate_dir = \"state\"");
        let text = configuration(&own, r#"["jwt"]"#, &jwt("EdDSA", &source));
        let file = dir.path().join("harmony.toml");
        std::fs::write(&file, text).unwrap();
        let live = Live::start(Source::file(&file), Shared::new(None).unwrap()).unwrap();
        let edge = Edge::new(Arc::new(live), Arc::default());
        let head = |path: &str, credential: &str| {
            format!(
                "GET {path}/orders/7?page=2 HTTP/1.1\r\nHost: api.example.com\r\n\
                 User-Agent: micro/1.0\r\nAccept: application/json\r\n\
                 Accept-Encoding: gzip, br\r\nAccept-Language: en\r\nCookie: theme=dark\r\n\
                 X-Forwarded-For: 192.0.2.7\r\nX-Auth-Subject: mallory\r\n\
                 Connection: keep-alive\r\n{credential}\r\n"
            )
        };
        let credential = format!("Authorization: Bearer {}\r\n", token("EdDSA", "k", &sign));
        let mut cases = vec![(name, head("/api", &credential), true)];
        if mebibytes > 0 {
            cases.push(("open", head("/open", ""), true));
            cases.push(("no token", head("/api", ""), false));
        }
        for (name, head, forwarded) in cases {
            let (local, peer) = ("127.0.0.1:8080", "192.0.2.1:4711");
            let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let explained = edge.explain(head.as_bytes(), local, peer);
                    let end = runtime.block_on(explained).unwrap().end;
                    assert_eq!(matches!(end, End::Forwarded { .. }), forwarded, "{end:?}");
                });
            });
        }
    }
    group.finish();
}

/// Lets a request in that never has to wait.
fn pass(chain: &Chain, headers: &HeaderMap) {
    let verdict = verdict(chain, headers);
    assert!(matches!(verdict, Ok(Some(_))), "{verdict:?}");
}

/// Turns a request away that never has to wait.
fn refuse(chain: &Chain, headers: &HeaderMap, expected: Reason) {
    let verdict = verdict(chain, headers);
    assert!(matches!(&verdict, Err(denial) if denial.reason() == expected), "{verdict:?}");
}

fn verdict(chain: &Chain, headers: &HeaderMap) -> Result<Option<Identity>, Denial> {
    let request = AuthRequest::of(black_box(headers));
    let verdict = pin!(chain.authenticate(&request));
    match verdict.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verdict) => verdict,
        Poll::Pending => panic!("waits"),
    }
}
