//! What of a token's claims travels to the upstream, in header values that cannot be misread (RFC
//! 9110 section 5.5).
//!
//! - A string goes as it is, when it is made of visible ASCII and spaces, none of them first or
//!   last. Else every other byte, `%` and every space in it is percent-encoded.
//! - An array of strings goes as its elements with a comma between; a comma inside an element is
//!   percent-encoded.
//! - Any other value goes as its JSON text, under the rule for strings. `null` goes like an absent
//!   claim: no header.

use http::{HeaderName, HeaderValue};
use jose::Claims;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::auth::outcome::Reason;

const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
const UNSAFE_IN_LIST: &AsciiSet = &UNSAFE.add(b',');

/// The subject, which is never rewritten: two subjects must not become one. The empty string counts
/// as no subject.
pub(super) fn subject(subject: &str) -> Result<Option<HeaderValue>, Reason> {
    match subject {
        "" => Ok(None),
        _ if is_safe(subject) => HeaderValue::from_str(subject)
            .map(Some)
            .map_err(|_| Reason::UnsafeSubject),
        _ => Err(Reason::UnsafeSubject),
    }
}

/// The headers that `claims_to_headers` asks for.
pub(super) fn headers(
    claims: &Claims,
    wanted: &[(String, HeaderName)],
) -> Vec<(HeaderName, HeaderValue)> {
    wanted
        .iter()
        .filter_map(|(claim, name)| {
            let text = text(claims.at(claim)?)?;
            Some((name.clone(), HeaderValue::try_from(text).ok()?))
        })
        .collect()
}

/// A claim as the text of a header. `None`: no header.
pub(crate) fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::Null => None,
        Value::String(text) => Some(encode(text, UNSAFE)),
        Value::Array(elements) => match elements
            .iter()
            .map(Value::as_str)
            .collect::<Option<Vec<_>>>()
        {
            Some(elements) => {
                let encoded: Vec<_> = elements
                    .iter()
                    .map(|element| encode(element, UNSAFE_IN_LIST))
                    .collect();
                Some(encoded.join(","))
            }
            None => Some(encode(&claim.to_string(), UNSAFE)),
        },
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Some(encode(&claim.to_string(), UNSAFE))
        }
    }
}

fn encode(text: &str, unsafe_bytes: &'static AsciiSet) -> String {
    let is_listed = unsafe_bytes == UNSAFE_IN_LIST && text.contains(',');
    if is_safe(text) && !is_listed {
        text.to_owned()
    } else {
        utf8_percent_encode(text, unsafe_bytes).to_string()
    }
}

/// Whether a header carries it unchanged.
fn is_safe(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && !text.starts_with(' ')
        && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn values_of_headers() {
        let cases = [
            (json!("alice"), "alice"),
            (json!("Alice Smith"), "Alice Smith"),
            (json!("100%"), "100%"),
            (json!(""), ""),
            (
                json!("a\r\nX-Auth-Subject: root"),
                "a%0D%0AX-Auth-Subject:%20root",
            ),
            (json!("a\0b\t\u{7f}%"), "a%00b%09%7F%25"),
            (json!("Zoë"), "Zo%C3%AB"),
            (json!("\u{85}\u{2028}"), "%C2%85%E2%80%A8"),
            (json!(" a "), "%20a%20"),
            (json!(["admin", "ops team"]), "admin,ops team"),
            (json!(["a,b", "c\n", "é"]), "a%2Cb,c%0A,%C3%A9"),
            (json!([]), ""),
            (json!(["a", 1]), "[\"a\",1]"),
            (json!(7), "7"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!({"a": ["é"]}), "{\"a\":[\"%C3%A9\"]}"),
        ];
        for (claim, expected) in cases {
            let claims = Map::from_iter([("c".to_owned(), claim)]).into();
            let name = HeaderName::from_static("x-c");
            let found = headers(&claims, &[("c".to_owned(), name.clone())]);
            assert_eq!(found, [(name, HeaderValue::from_str(expected).unwrap())]);
        }
        let claims = Map::from_iter([("c".to_owned(), Value::Null)]).into();
        for claim in ["c", "absent"] {
            let wanted = [(claim.to_owned(), HeaderName::from_static("x-c"))];
            assert!(headers(&claims, &wanted).is_empty());
        }
    }

    #[test]
    fn a_member_of_a_claim_and_a_claim_with_a_dot() {
        let of = |claims: Value| {
            let Value::Object(claims) = claims else {
                panic!()
            };
            let wanted = [("a.b".to_owned(), HeaderName::from_static("x-c"))];
            headers(&claims.into(), &wanted)
                .into_iter()
                .map(|(_, value)| value)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(json!({ "a": { "b": ["x", "y"] } })), ["x,y"]);
        assert_eq!(of(json!({ "a": { "b": "x" }, "a.b": "whole" })), ["whole"]);
        assert!(of(json!({ "a": "b" })).is_empty());
    }

    #[test]
    fn subjects() {
        for good in ["alice", "CN=Alice Smith,O=x", "auth0|1%20", "~!"] {
            assert_eq!(subject(good).unwrap().unwrap(), good);
        }
        assert_eq!(subject(""), Ok(None));
        for bad in [
            "a\r\nb", "a\0", "\ta", "a\u{7f}", "Zoë", "\u{202e}", " a", "a ",
        ] {
            assert_eq!(subject(bad), Err(Reason::UnsafeSubject), "{bad:?}");
        }
    }
}
