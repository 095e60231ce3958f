//! The claims of a security event token: what it revokes is of the issuers that it may revoke, and
//! no time lies far ahead.
#![no_main]

use harmony::fuzzing::security_event;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const NOW: f64 = 1_700_000_000.0;

fuzz_target!(|data: &[u8]| {
    let Ok(claims) = serde_json::from_slice::<Map<String, Value>>(data) else { return };
    let issuers = ["https://auth.example.com".to_owned(), "b".to_owned()];
    let Ok(entries) = security_event(claims.clone(), &issuers, NOW) else { return };
    assert!(claims.contains_key("jti") && claims.contains_key("iat"));
    for entry in entries {
        let issuer = entry["issuer"].as_str().expect("an issuer");
        assert!(issuers.iter().any(|known| known == issuer));
        assert!(entry["before"].as_f64().expect("a time") <= NOW + 300.0);
        let named = ["sid", "sub"].into_iter().filter(|name| entry.get(name).is_some());
        assert_eq!(named.count(), 1);
    }
});
