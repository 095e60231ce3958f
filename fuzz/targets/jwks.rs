//! Key sets: what is used is public, of a size that counts, and named once for each algorithm.

#![no_main]

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harmony::fuzzing::key_set;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let (set, refused) = match key_set(text) {
        Ok(read) => read,
        Err(said) => return assert!(!said.is_empty() && said.len() < 100, "{said}"),
    };
    // Any other parser of JSON takes it, and sees as many keys.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let whole: Value = serde_json::from_slice(text).expect("JSON");
    let written = whole["keys"].as_array().expect("keys");
    let used = set["keys"].as_array().expect("keys");
    assert!((1..=100).contains(&written.len()) && refused.len() <= written.len());

    let mut names = HashSet::new();
    for key in used {
        assert!(key.get("d").is_none() && key["kty"] != "oct");
        if let Some(kid) = key.get("kid") {
            let name = |alg: &Value| format!("{kid} {} {} {alg}", key["kty"], key["crv"]);
            assert!(names.insert(name(&key["alg"])), "a kid twice for one algorithm");
            let any = name(&Value::Null);
            assert!(key["alg"].is_null() || !names.contains(&any), "a kid for all, and for one");
            assert!(written.iter().any(|one| one.get("kid") == Some(kid)), "a name of its own");
        }
        let bytes = |name: &str| {
            let text = key[name].as_str().expect("a member in base64");
            URL_SAFE_NO_PAD.decode(text).expect("strict base64")
        };
        match key["kty"].as_str() {
            Some("RSA") => {
                let modulus = bytes("n");
                assert!(modulus.first().is_some_and(|first| *first != 0), "no leading zeros");
                let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
                assert!(
                    (2048..=8192).contains(&bits)
                        && modulus.last().is_some_and(|last| last % 2 == 1)
                );
                assert_ne!(bytes("e"), [1]);
            }
            Some("EC") => {
                let length = match key["crv"].as_str() {
                    Some("P-256") => 32,
                    Some("P-384") => 48,
                    Some("P-521") => 66,
                    other => panic!("{other:?}"),
                };
                assert_eq!((bytes("x").len(), bytes("y").len()), (length, length));
            }
            Some("OKP") => {
                assert_eq!((key["crv"].as_str(), bytes("x").len()), (Some("Ed25519"), 32))
            }
            other => panic!("{other:?}"),
        }
    }
    // What was used is used again.
    if used.len() > 100 {
        return;
    }
    let (again, refused) = key_set(set.to_string().as_bytes()).expect("what was taken");
    assert_eq!((again, refused.len()), (set, 0));
});
