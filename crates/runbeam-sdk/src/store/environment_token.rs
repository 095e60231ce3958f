//! `RUNBEAM_MACHINE_TOKEN`: a token that the deployment brings along.

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Map, Value};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::MachineToken;

/// More than any token has.
const MAX_TEXT: usize = 64 * 1024;

/// What the variable holds.
#[derive(Clone, PartialEq, Eq)]
pub enum EnvironmentToken {
    /// The JSON object. Its `gateway_code` may be absent, and is empty then.
    Whole(MachineToken),
    /// The token alone, as `runbeam token:get --raw` prints it: the cloud has to tell the gateway,
    /// and the expiry is unknown.
    Bare(Zeroizing<String>),
}

/// Why the variable holds no token. Names the field, never its value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnvironmentTokenError {
    /// It begins like an object, but is not one.
    #[error(
        "RUNBEAM_MACHINE_TOKEN: not JSON (line {line}, column {column}); it must be one object, or \
         the bare token"
    )]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// A field is missing or wrong.
    #[error("RUNBEAM_MACHINE_TOKEN: {field} {problem}")]
    Field {
        /// The name of the field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Neither an object nor what a header could carry.
    #[error(
        "RUNBEAM_MACHINE_TOKEN: neither a JSON object nor a bare token: it holds white space, \
         quotes, control characters or letters beyond ASCII; are there quotes around it?"
    )]
    NotAToken,
}

/// Reads `RUNBEAM_MACHINE_TOKEN`. White space around it is trimmed; empty is unset. Whether the
/// token has expired is not looked at.
///
/// # Errors
///
/// [`EnvironmentTokenError`], for a start-up error.
pub fn environment_token(
    value: Option<&str>,
) -> Result<Option<EnvironmentToken>, EnvironmentTokenError> {
    let text = value
        .unwrap_or_default()
        .trim_start_matches('\u{feff}')
        .trim();
    if text.is_empty() {
        return Ok(None);
    }
    if text.starts_with('{') {
        return whole(text).map(EnvironmentToken::Whole).map(Some);
    }
    let carried = |byte: u8| byte.is_ascii_graphic() && !b"\"'`,[]{}".contains(&byte);
    if text.len() > MAX_TEXT || !text.bytes().all(carried) {
        return Err(EnvironmentTokenError::NotAToken);
    }
    Ok(Some(EnvironmentToken::Bare(Zeroizing::new(
        text.to_owned(),
    ))))
}

impl EnvironmentToken {
    /// The same for the gateway of this code, if it does not say which one itself.
    pub fn with_default_code(self, instance: &str) -> Self {
        match self {
            Self::Whole(token) => Self::Whole(token.with_code(instance)),
            bare @ Self::Bare(_) => bare,
        }
    }
}

impl fmt::Debug for EnvironmentToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(token) => out.debug_tuple("Whole").field(token).finish(),
            Self::Bare(_) => out.write_str("Bare([redacted])"),
        }
    }
}

fn whole(text: &str) -> Result<MachineToken, EnvironmentTokenError> {
    let members: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| EnvironmentTokenError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
    let machine_token = required(&members, "machine_token")?;
    if !machine_token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong(
            "machine_token",
            "holds characters that no header can carry",
        ));
    }
    let expires_at = time("expires_at", required(&members, "expires_at")?)?;
    let issued_at = optional(&members, "issued_at")?
        .map(|text| time("issued_at", text))
        .transpose()?;
    let mut token = MachineToken::new(
        machine_token,
        expires_at,
        required(&members, "gateway_id")?,
        optional(&members, "gateway_code")?.unwrap_or_default(),
        abilities(&members)?,
    );
    token.issued_at = issued_at;
    Ok(token)
}

fn required(
    members: &Map<String, Value>,
    field: &'static str,
) -> Result<String, EnvironmentTokenError> {
    optional(members, field)?.ok_or_else(|| wrong(field, "is missing"))
}

fn optional(
    members: &Map<String, Value>,
    field: &'static str,
) -> Result<Option<String>, EnvironmentTokenError> {
    match members.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Err(wrong(field, "is empty")),
        Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
        Some(_) => Err(wrong(field, "is not a string")),
    }
}

fn abilities(members: &Map<String, Value>) -> Result<Vec<String>, EnvironmentTokenError> {
    let problem = || wrong("abilities", "is not an array of strings");
    match members.get("abilities") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(Into::into).ok_or_else(problem))
            .collect(),
        Some(_) => Err(problem()),
    }
}

fn time(field: &'static str, text: String) -> Result<String, EnvironmentTokenError> {
    if text.parse::<Timestamp>().is_ok() || text.parse::<DateTime>().is_ok() {
        Ok(text)
    } else {
        Err(wrong(field, "is not a time such as 2026-12-31T23:59:59Z"))
    }
}

fn wrong(field: &'static str, problem: &'static str) -> EnvironmentTokenError {
    EnvironmentTokenError::Field { field, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{
"machine_token":"mt_secret",
"expires_at":"2025-12-31T23:59:59Z",
"gateway_id":"550e8400-e29b-41d4-a716-446655440000",
"gateway_code":"my-gateway",
"abilities":["harmony:update"]
}"#;

    #[test]
    fn empty_is_unset() {
        for value in [None, Some(""), Some(" \n\t")] {
            assert_eq!(environment_token(value), Ok(None));
        }
    }

    #[test]
    fn the_whole_object() {
        let mut want = MachineToken::new(
            "mt_secret",
            "2025-12-31T23:59:59Z",
            "550e8400-e29b-41d4-a716-446655440000",
            "my-gateway",
            vec!["harmony:update".into()],
        );
        want.issued_at = None;
        for text in [
            WHOLE.to_owned(),
            format!(" \n{WHOLE}\n"),
            WHOLE.replace('\n', ""),
            WHOLE.replace("mt_secret", " mt_secret\\n"),
        ] {
            assert_eq!(
                environment_token(Some(&text)),
                Ok(Some(EnvironmentToken::Whole(want.clone()))),
                "{text}"
            );
        }
        for code in ["", ",\"gateway_code\":null"] {
            let text = WHOLE.replace(",\n\"gateway_code\":\"my-gateway\"", code);
            assert_ne!(text, WHOLE);
            let token = environment_token(Some(&text)).unwrap().unwrap();
            assert!(
                matches!(&token, EnvironmentToken::Whole(token) if token.gateway_code.is_empty()),
                "{text}"
            );
        }
        for abilities in ["", ",\"abilities\":[]", ",\"abilities\":null,\"extra\":1"] {
            let text = format!(
                r#"{{"machine_token":"t","expires_at":"2025-12-31T23:59:59+01:00",
                    "gateway_id":"i","gateway_code":"c"{abilities}}}"#
            );
            let token = environment_token(Some(&text)).unwrap().unwrap();
            assert!(
                matches!(token, EnvironmentToken::Whole(token) if token.abilities.is_empty()),
                "{text}"
            );
        }
    }

    #[test]
    fn the_bare_token() {
        for text in ["mt_secret", "  mt_secret\n", "12|abcDEF+/="] {
            let want = Zeroizing::new(text.trim().to_owned());
            assert_eq!(
                environment_token(Some(text)),
                Ok(Some(EnvironmentToken::Bare(want)))
            );
        }
    }

    #[test]
    fn what_is_malformed_is_named_and_not_shown() {
        use EnvironmentTokenError::{Field, NotAToken, NotJson};
        let time = "is not a time such as 2026-12-31T23:59:59Z";
        let no_strings = "is not an array of strings";
        let fields = [
            (WHOLE, "{}", "machine_token", "is missing"),
            (
                "\"mt_secret\"",
                "[\"mt_secret\"]",
                "machine_token",
                "is not a string",
            ),
            (
                "mt_secret",
                "mt_ secret",
                "machine_token",
                "holds characters that no header can carry",
            ),
            ("mt_secret", "", "machine_token", "is empty"),
            ("expires_at", "expires", "expires_at", "is missing"),
            ("2025-12-31T23:59:59Z", "secret", "expires_at", time),
            (
                "\"2025-12-31T23:59:59Z\"",
                "1767225599",
                "expires_at",
                "is not a string",
            ),
            ("gateway_id", "id", "gateway_id", "is missing"),
            ("my-gateway", " ", "gateway_code", "is empty"),
            (
                "[\"harmony:update\"]",
                "\"secret\"",
                "abilities",
                no_strings,
            ),
            ("[\"harmony:update\"]", "[7]", "abilities", no_strings),
            (
                "\"abilities\":",
                "\"issued_at\":\"secret\",\"abilities\":",
                "issued_at",
                time,
            ),
        ]
        .map(|(part, instead, field, problem)| {
            (WHOLE.replace(part, instead), Field { field, problem })
        });
        let texts = [
            ("mt_secret and more".to_owned(), NotAToken),
            ("\"mt_secret\"".to_owned(), NotAToken),
            (format!("'{WHOLE}'"), NotAToken),
            (format!("[{WHOLE}]"), NotAToken),
            ("mt_sécret".to_owned(), NotAToken),
            ("{mt_secret}".to_owned(), NotJson { line: 1, column: 2 }),
            (format!("{WHOLE}{WHOLE}"), NotJson { line: 7, column: 2 }),
        ];
        for (text, want) in fields.into_iter().chain(texts) {
            let error = environment_token(Some(&text)).unwrap_err();
            assert_eq!(error, want, "{text}");
            let said = format!("{error} {error:?}");
            assert!(
                said.contains("RUNBEAM_MACHINE_TOKEN") && !said.contains("secret"),
                "{said}"
            );
        }
    }

    #[test]
    fn debug_shows_no_token() {
        for text in [WHOLE, "mt_secret"] {
            let shown = format!("{:?}", environment_token(Some(text)));
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}
