//! Attacks by way of the form: names that come twice, what is not JSON, other segments, another
//! signature.

use jose::TokenError;
use serde_json::json;

use super::super::claims_with;
use super::Forge;
use crate::auth::testing::encode;

/// Names that come twice.
pub(super) fn repeated_names(forge: &mut Forge) {
    forge.add(
        forge.signed(r#"{"alg":"RS256","alg":"RS256","kid":"k"}"#),
        TokenError::Malformed,
    );
    forge.add(
        forge.signed(r#"{"alg":"none","alg":"RS256","kid":"k"}"#),
        TokenError::Malformed,
    );
    forge.add(
        forge.signed(r#"{"alg":"RS256","\u0061lg":"none","kid":"k"}"#),
        TokenError::Malformed,
    );
    forge.add(
        forge.signed(r#"{"alg":"RS256","kid":"k","jwk":{"n":"a","n":"b"}}"#),
        TokenError::Malformed,
    );
    forge.add(
        forge.claimed(&forge.claims.replacen('{', r#"{"sub":"root","#, 1)),
        TokenError::Malformed,
    );
    forge.add(
        forge.claimed(&forge.claims.replacen('{', r#"{"exp":1,"#, 1)),
        TokenError::Malformed,
    );
    forge.add(
        forge.claimed(&forge.claims.replacen('{', r#"{"x":[{"a":1,"a":1}],"#, 1)),
        TokenError::Malformed,
    );
}

/// What is not JSON, or not an object.
pub(super) fn not_json(forge: &mut Forge) {
    for text in [
        "",
        "null",
        "[]",
        "\"RS256\"",
        "{",
        "{}{}",
        "\u{feff}{}",
        "{\"alg\":\"RS256\",}",
    ] {
        forge.add(forge.signed(text), TokenError::Malformed);
        forge.add(forge.claimed(text), TokenError::Malformed);
    }
    forge.add(forge.signed("{}"), TokenError::WrongAlgorithm);
    forge.add(forge.claimed("{}"), TokenError::NoExpiry);
}

/// The compact form.
pub(super) fn compact_form(forge: &mut Forge) {
    let token = forge.token.clone();
    let [header, payload, signature] = forge.segments();
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        "a".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{signature}."),
        format!(".{header}.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}.{payload} .{signature}"),
        format!("{header}.\t{payload}.{signature}"),
        format!("{header}.{payload}.{signature},{token}"),
        format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+")),
        format!("{header}.{payload}.+/{signature}"),
        format!("{header}?.{payload}.{signature}"),
        format!("{header}%2E{payload}%2E{signature}"),
        stray_bits(&token),
        json!({ "protected": header, "payload": payload, "signature": signature }).to_string(),
        json!({ "payload": payload, "signatures": [{ "protected": header,
            "signature": signature }] })
        .to_string(),
    ] {
        forge.add(token, TokenError::Malformed);
    }
    forge.add(
        forge.claimed(&claims_with(json!({ "pad": "x".repeat(8192) }))),
        TokenError::TooLong,
    );
}

/// The signature.
pub(super) fn signature(forge: &mut Forge) {
    let [header, payload, signature] = forge.segments();
    forge.add(format!("{header}.{payload}."), TokenError::BadSignature);
    forge.add(format!("{header}.{payload}.AAAA"), TokenError::BadSignature);
    forge.add(
        format!("{header}.{payload}.{signature}A"),
        TokenError::BadSignature,
    );
    forge.add(
        format!("{header}.{payload}.{}", encode([0; 256])),
        TokenError::BadSignature,
    );
    forge.add(
        format!("{header}.{payload}.{}", encode([0xff; 256])),
        TokenError::BadSignature,
    );
    forge.add(
        format!(
            "{header}.{payload}.{}AAAAAAAA",
            &signature[..signature.len() - 8]
        ),
        TokenError::BadSignature,
    );
    forge.add(
        format!("{header}.{payload}.AAAA{signature}"),
        TokenError::BadSignature,
    );
    forge.add(
        format!(
            "{header}.{}.{signature}",
            encode(claims_with(json!({ "sub": "root" })))
        ),
        TokenError::BadSignature,
    );
    forge.add(
        format!(
            "{}.{payload}.{signature}",
            encode(r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#)
        ),
        TokenError::BadSignature,
    );
    forge.add(forge.evil.token("k"), TokenError::BadSignature);
}

/// The last letter of the signature with a bit set that carries nothing.
fn stray_bits(token: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = token.split_at(token.len() - 1);
    let value = ALPHABET.find(last).unwrap();
    assert_eq!(value % 16, 0);
    format!("{rest}{}", &ALPHABET[value + 1..value + 2])
}
