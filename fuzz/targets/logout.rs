//! The claims of a logout token: what it revokes is its issuer's, and what it names.
#![no_main]

use harmony::fuzzing::logout_token;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|data: &[u8]| {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    for also_subject in [false, true] {
        let Ok(entries) = logout_token(claims.clone(), also_subject) else { continue };
        assert!(claims.get("nonce").is_none() && claims["events"].is_object());
        assert!(!entries.is_empty() && entries.len() <= 1 + usize::from(also_subject));
        for entry in entries {
            assert_eq!(entry["issuer"], claims["iss"]);
            let named = ["sid", "sub"].into_iter().filter(|name| entry.get(name).is_some());
            let named: Vec<_> = named.collect();
            assert_eq!(named.len(), 1);
            assert_eq!(entry[named[0]], claims[named[0]]);
            if named[0] == "sub" {
                assert!(claims.get("sid").is_none() || also_subject);
                let issued_at = claims["iat"].as_f64().expect("a number").max(0.0);
                assert!(entry["before"].as_f64().expect("a time") <= issued_at);
            }
        }
    }
});
