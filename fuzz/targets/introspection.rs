//! Answers to questions about tokens: only `true` lets one in, and nothing else of it is lost or
//! made up.

#![no_main]

use harmony::fuzzing::introspection_answer;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    let claims = match introspection_answer(text) {
        Ok(claims) => claims,
        Err(said) => return assert!(!said.is_empty() && said.len() < 200, "{said}"),
    };
    // Any other parser of JSON sees the same.
    let mut whole: Value = serde_json::from_slice(text).expect("JSON");
    let active = whole.as_object_mut().expect("an object").remove("active");
    assert_eq!(active, Some(Value::Bool(claims.is_some())));
    if let Some(claims) = claims {
        assert_eq!(claims, whole);
    }
});
