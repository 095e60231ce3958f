//! Conditions of `cel` rules: a text is refused at its key, or compiled and evaluated once, and
//! neither recurses too deep nor runs long.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use harmony::config::parse;
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"
[proxy]
id = "edge"
[network.public.http]
bind_address = "127.0.0.1"
bind_port = 8080
[pipelines.api]
networks = ["public"]
endpoints = ["api"]
middleware = ["jwt", "acl"]
[endpoints.api]
service = "echo"
[middleware.jwt]
type = "jwt-auth"
jwks_url = "https://a.example/jwks"
issuer = "i"
audience = "a"
[middleware.acl]
type = "policies"
rules = [{ type = "cel", mode = "allow", expression = EXPRESSION }]
"#;

fuzz_target!(|text: &str| {
    // A string of JSON is one of TOML, but that TOML has DEL escaped.
    let quoted = serde_json::to_string(text).expect("a string");
    let quoted = quoted.replace('\u{7f}', "\\u007F");
    let config = CONFIG.replace("EXPRESSION", &quoted);
    let start = Instant::now();
    let parsed = parse(Path::new("edge.toml"), &config, &BTreeMap::<String, String>::new());
    assert!(start.elapsed() < Duration::from_secs(20), "it runs long");
    if let Err(errors) = parsed {
        let errors = errors.to_string();
        assert!(errors.contains("middleware.acl.rules[0].expression: "), "{errors}");
    }
});
