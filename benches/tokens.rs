//! One million distinct valid tokens (EdDSA): what verifying and recalling one costs, and that
//! resident memory stays within `token_cache_mb` plus 60 MB.
//!
//! `cargo bench --bench tokens`, or `cargo bench --profile dist --bench tokens -- COUNT
//! MEBIBYTES`. Exits with a failure when memory goes beyond the bound.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement, not the program"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harmony::auth::{AuthRequest, Chain, Shared};
use harmony::config;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// As the program has it: another allocator keeps other amounts.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT: u64 = 1_000_000;
const MEBIBYTES: u64 = 64;
/// What the process may take besides the cache, in bytes.
const REST: u64 = 60_000_000;
const HITS: u64 = 1_000_000;
const FRESH: u64 = 10_000;

fn main() -> ExitCode {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let count: u64 = numbers.next().unwrap_or(COUNT);
    let limit = numbers.next().unwrap_or(MEBIBYTES) * 1024 * 1024;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .unwrap();

    let pair = Arc::new(Ed25519KeyPair::generate().unwrap());
    let shared = Shared::new(None).unwrap();
    shared.remember_tokens(limit);
    let chain = Arc::new(chain(&pair, &shared));
    println!("at the start: {}", shown(resident("VmRSS")));

    let next = Arc::new(AtomicU64::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (pair, chain, next) = (pair.clone(), chain.clone(), next.clone());
            thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    pass(&chain, &bearer(&pair, number));
                    if number > 0 && number.is_multiple_of(count.div_ceil(10)) {
                        println!("{number} tokens: {}", shown(resident("VmRSS")));
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    let seconds = started.elapsed().as_secs_f64();
    let status = shared.token_cache();
    println!("{count} tokens, signed and verified in {seconds:.1} s on {threads} threads");
    println!("{status:?}");

    let headers = bearer(&pair, count);
    for _ in 0..10 {
        pass(&chain, &headers); // often enough to be kept
    }
    let before = shared.token_cache().hits;
    let started = on_cpu();
    for _ in 0..HITS {
        pass(&chain, &headers);
    }
    let nanoseconds = (on_cpu() - started) / HITS;
    let hits = shared.token_cache().hits - before;
    println!(
        "a token that is remembered: {nanoseconds} ns of processor time ({hits} hits of {HITS})"
    );

    let started = on_cpu();
    let fresh: Vec<_> = (0..FRESH).map(|n| bearer(&pair, count + 1 + n)).collect();
    let signed = on_cpu();
    for headers in &fresh {
        pass(&chain, headers);
    }
    println!(
        "a token that is not: {} ns, and {} ns to sign it",
        (on_cpu() - signed) / FRESH,
        (signed - started) / FRESH
    );

    let (now, peak) = (resident("VmRSS"), resident("VmHWM"));
    let bound = limit + REST;
    println!(
        "resident: {} now, {} at most; the bound is {}",
        shown(now),
        shown(peak),
        shown(bound)
    );
    if peak > bound || status.bytes > limit {
        println!("FAILED: over the bound");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A step with one Ed25519 key, as a configuration says it.
fn chain(pair: &Ed25519KeyPair, shared: &Shared) -> Chain {
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let key = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("key.pem"), key).unwrap();
    let text = r#"
        [proxy]
        id = "bench"
        [network.public.http]
        bind_address = "127.0.0.1"
        bind_port = 8080
        [pipelines.one]
        networks = ["public"]
        endpoints = ["one"]
        middleware = ["jwt"]
        [endpoints.one]
        service = "echo"
        [middleware.jwt]
        type = "jwt-auth"
        algorithm = "EdDSA"
        public_key_path = "key.pem"
        issuer = "https://auth.example.com"
        audience = "harmony-api"
        claims_to_headers = { email = "X-User-Email" }
    "#;
    let file = dir.path().join("harmony.toml");
    let config = parse(&file, text);
    Chain::build(&config.pipelines[0].steps, shared).unwrap()
}

fn parse(file: &Path, text: &str) -> config::Config {
    config::parse(file, text, &BTreeMap::<String, String>::new()).unwrap()
}

/// A good token that no other number has.
fn bearer(pair: &Ed25519KeyPair, number: u64) -> HeaderMap {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let claims = format!(
        r#"{{"iss":"https://auth.example.com","aud":"harmony-api","sub":"user-{number:012}","email":"user-{number:012}@example.com","iat":{now},"exp":{}}}"#,
        now + 3600
    );
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"JWT","kid":"k"}"#),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(input.as_bytes()));
    let value = HeaderValue::try_from(format!("Bearer {input}.{signature}")).unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

/// Lets a request in that never has to wait for keys.
fn pass(chain: &Chain, headers: &HeaderMap) {
    let request = AuthRequest::of(headers);
    let verdict = std::pin::pin!(chain.authenticate(&request));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match verdict.poll(&mut context) {
        std::task::Poll::Ready(Ok(Some(_))) => {}
        other => panic!("{other:?}"),
    }
}

/// How long this thread has been on a processor, in nanoseconds: what others do meanwhile does not
/// count.
fn on_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// A line of `/proc/self/status`, in bytes.
fn resident(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024
}

fn shown(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
