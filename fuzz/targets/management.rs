//! Bodies of calls of the Management API: limits hold, and an answer never shows what a field held.

#![no_main]

use harmony::fuzzing::{authorize_body, token_body};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Names of fields may be told; what is not on this list may not.
const OWN: &[&str] = &[
    "machine_public_key",
    "encryption_key",
    "gateway_code",
    "machine_token",
    "expires_at",
    "gateway_id",
    "abilities",
    "metadata",
];

fuzz_target!(|body: &[u8]| {
    let plain = |text: &str| !text.contains(char::is_control);
    match authorize_body(body) {
        Ok((code, metadata, key)) => {
            assert!((1..=255).contains(&code.len()) && plain(&code));
            let pieces = metadata.unwrap_or_default();
            assert!(pieces.len() <= 100);
            assert!(pieces.iter().all(|piece| piece.len() <= 1024 && plain(piece)));
            assert!(key.is_none_or(|key| (1..=64 * 1024).contains(&key.len())));
        }
        Err(said) => discreet(body, &said),
    }
    match token_body(body) {
        Ok(token) => {
            for text in [&token.machine_token, &token.expires_at, &token.gateway_id] {
                assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            }
            assert!(token.machine_token.len() <= 8192 && token.gateway_id.len() <= 255);
            assert!(!token.gateway_code.is_empty() && plain(&token.gateway_code));
            assert!(token.abilities.len() <= 100 && token.expires().is_some());
        }
        Err(said) => discreet(body, &said),
    }
});

/// No string of the body is in what the caller is told.
fn discreet(body: &[u8], said: &str) {
    assert!(!said.is_empty() && said.len() < 200 && !said.contains(char::is_control));
    match serde_json::from_slice(body) {
        Ok(value) => walk(&value, said),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for word in words.filter(|word| word.len() >= 24 && !OWN.contains(word)) {
                assert!(!said.contains(word), "{said}");
            }
        }
    }
}

fn walk(value: &Value, said: &str) {
    match value {
        Value::String(text) => {
            let own = OWN.iter().any(|own| own.contains(&**text)) || text.contains(' ');
            // Shorter ones may be words of the message itself.
            assert!(text.len() < 24 || own || !said.contains(&**text), "{said}");
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, said)),
        Value::Object(members) => members.values().for_each(|member| walk(member, said)),
        _ => {}
    }
}
