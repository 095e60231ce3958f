//! `RUNBEAM_ENCRYPTION_KEY` and token documents: every form reads as what it says, and nothing of
//! it is shown.

#![no_main]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use runbeam_sdk::{
    EncryptionKeys, EnvironmentToken, MachineToken, environment_token, is_sanctum_token,
};

fuzz_target!(|text: &str| {
    match EncryptionKeys::parse(text) {
        Ok(keys) => {
            let first = keys.first();
            assert!(first.starts_with("AGE-SECRET-KEY-1"));
            assert!(format!("{keys:?}").len() < 40, "how many, and no more");
            // The forms of one key are one key.
            for form in [
                format!("# a comment, with a comma\r\n{}\n", *first),
                first.to_lowercase(),
                STANDARD.encode(first.as_bytes()),
                URL_SAFE_NO_PAD.encode(STANDARD.encode(first.as_bytes())),
                format!("{},{}", *first, *EncryptionKeys::generate().first()),
            ] {
                let again = EncryptionKeys::parse(&form).expect("a form of a key");
                assert_eq!(again.first(), first, "{form}");
            }
        }
        Err(error) => no_part_of(text, &format!("{error} {error:?}")),
    }

    match environment_token(Some(text)) {
        Ok(Some(token)) => {
            let shown = format!("{token:?}");
            match token {
                EnvironmentToken::Whole(token) => {
                    assert!(token.machine_token.bytes().all(|byte| byte.is_ascii_graphic()));
                    assert!(!token.machine_token.is_empty() && !token.gateway_id.is_empty());
                    let others = [&token.expires_at, &token.gateway_id, &token.gateway_code];
                    let mut elsewhere =
                        others.into_iter().chain(&token.abilities).chain(&token.issued_at);
                    let secret = &*token.machine_token;
                    // A word of the program's own, or of another field, may stand there.
                    let own = secret.len() < 12
                        || !secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
                    if !own
                        && !"MachineToken".contains(secret)
                        && !elsewhere.any(|other| other.contains(secret))
                    {
                        assert!(!shown.contains(secret), "{shown}");
                    }
                    round_trip(&token);
                }
                EnvironmentToken::Bare(token) => {
                    assert!(token.bytes().all(|byte| byte.is_ascii_graphic()));
                    assert_eq!(shown, "Bare([redacted])");
                }
            }
        }
        Ok(None) => assert!(text.trim_start_matches('\u{feff}').trim().is_empty()),
        Err(error) => no_part_of(text, &format!("{error} {error:?}")),
    }

    if let Ok(token) = serde_json::from_str::<MachineToken>(text) {
        round_trip(&token);
    }
    if is_sanctum_token(text) {
        assert!(text.is_ascii() && !text.contains(char::is_whitespace));
    }
});

fn round_trip(token: &MachineToken) {
    let text = serde_json::to_string(token).expect("JSON");
    let again: MachineToken = serde_json::from_str(&text).expect("what was written");
    assert_eq!(again, *token);
    assert!(!(token.is_valid() && token.is_expired()));
    assert!(token.expires().is_some() || !token.is_valid() || token.expires_at.trim().is_empty());
}

/// No word of the input that is long enough to be a secret, and that the program does not say by
/// itself.
fn no_part_of(text: &str, said: &str) {
    for word in text.split(|c: char| !c.is_ascii_alphanumeric()) {
        assert!(word.len() < 16 || !said.contains(word), "{said}");
    }
}
