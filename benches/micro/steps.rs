//! Chains as a configuration says them, and requests that present something to them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use aws_lc_rs::digest;
use harmony::auth::{Chain, Shared};
use harmony::config;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

pub fn shared(cache: u64) -> Shared {
    let shared = Shared::new(None).unwrap();
    shared.remember_tokens(cache);
    shared
}

pub fn chain(dir: &Path, order: &str, steps: &str, shared: &Shared) -> Chain {
    let text = configuration("", order, steps);
    let environment = BTreeMap::<String, String>::new();
    let config = config::parse(&dir.join("harmony.toml"), &text, &environment).unwrap();
    Chain::build(&config.pipelines[0].steps, shared).unwrap()
}

/// Pipeline `api` with these steps in this order, and one without any.
pub fn configuration(proxy: &str, order: &str, steps: &str) -> String {
    format!(
        r#"
        [proxy]
        id = "bench"
        {proxy}
        [network.public.http]
        bind_address = "127.0.0.1"
        bind_port = 8080
        [pipelines.api]
        networks = ["public"]
        endpoints = ["api"]
        backends = ["app"]
        middleware = {order}
        [pipelines.open]
        networks = ["public"]
        endpoints = ["open"]
        middleware = []
        backends = ["app"]
        [endpoints]
        api = {{ service = "http", options = {{ path_prefix = "/api" }} }}
        open = {{ service = "http", options = {{ path_prefix = "/open" }} }}
        [backends]
        app = {{ service = "http", options = {{ base_url = "http://127.0.0.1:9" }} }}
        {steps}
        "#
    )
}

/// A `jwt-auth` step.
pub fn jwt(algorithm: &str, source: &str) -> String {
    format!(
        r#"
        [middleware.jwt]
        type = "jwt-auth"
        algorithm = "{algorithm}"
        {source}
        issuer = "https://auth.example.com"
        audience = "harmony-api"
        "#
    )
}

/// An `api-key` step that knows so many keys.
pub fn api_key(count: usize) -> String {
    let mut keys = String::new();
    for number in 0..count {
        let digest = digest::digest(&digest::SHA256, key_headers(number)[API_KEY].as_bytes());
        write!(keys, "\"{digest:?}\",").unwrap();
    }
    format!("[middleware.key]\ntype = \"api-key\"\nkeys = [{}]\n", keys.replace("SHA256:", ""))
}

pub fn key_headers(number: usize) -> HeaderMap {
    let key = format!("hk_4b9f3d0c2a7e4f61_{number:012}");
    HeaderMap::from_iter([(API_KEY, HeaderValue::try_from(key).unwrap())])
}

pub fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}
