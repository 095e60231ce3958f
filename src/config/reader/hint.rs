//! What to write where a value has the wrong type. A value is shown only as the number or the
//! boolean that it stands for: a string may be a secret.

use super::Value;
use crate::config::model::{KeyPath, is_bare};

/// What to do about a value that should be `expected`; `path` is that of its key.
pub(crate) fn for_type(expected: &str, path: &KeyPath, value: &Value) -> Option<String> {
    // an item of an array has no key of its own
    let key = path.last_key().filter(|key| is_bare(key));
    let write = |value: &str| match key {
        None => format!("write {value}"),
        Some(key) => format!("write {key} = {value}"),
    };
    let key = key.unwrap_or_default();
    match (expected, value) {
        ("an integer", Value::String(text)) => number(key, text.trim()).map(|found| match found {
            Number::Plain(number) => write(&number.to_string()) + ", without quotes",
            Number::Of(number, unit) => {
                write(&number.to_string()) + &format!(", a number of {unit} without quotes")
            }
        }),
        ("an integer", Value::Float(_)) => Some("write a whole number".to_owned()),
        ("a boolean", Value::String(text)) => {
            let text = text.trim().to_ascii_lowercase();
            let meant = match text.as_str() {
                "true" | "yes" | "on" | "1" => "true",
                "false" | "no" | "off" | "0" => "false",
                _ => return Some(write("true") + " or false, without quotes"),
            };
            Some(write(meant) + ", without quotes")
        }
        ("a boolean", Value::Integer(0)) => Some(write("false")),
        ("a boolean", Value::Integer(1)) => Some(write("true")),
        ("a string", Value::Integer(_) | Value::Float(_)) => {
            Some(format!("put it in quotes: {key} = \"...\""))
        }
        ("a string", Value::Array(_)) => Some("give one, without brackets".to_owned()),
        ("an array", Value::String(_)) => Some(format!("put it in brackets: {key} = [\"...\"]")),
        _ => None,
    }
}

/// A number that stands in a string.
enum Number {
    Plain(u64),
    Of(u64, &'static str),
}

/// `"30"`, `"30s"` or `"10MB"` in the unit of the key. A port may have its colon before it.
fn number(key: &str, text: &str) -> Option<Number> {
    let digits = text.strip_prefix(':').unwrap_or(text);
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    let (digits, suffix) = digits.split_at(end);
    let number: u64 = digits.parse().ok()?;
    let suffix = suffix.trim().to_ascii_lowercase();
    if suffix.is_empty() {
        return Some(Number::Plain(number));
    }
    let milliseconds: u64 = match suffix.as_str() {
        "ms" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => 0,
    };
    let bytes: u64 = match suffix.trim_end_matches(['b', 'i']) {
        "" if suffix == "b" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 0,
    };
    let whole = |amount: u64, unit: u64| {
        let product = number.checked_mul(amount).filter(|_| amount > 0)?;
        (product % unit == 0).then_some(product / unit)
    };
    let ends = |endings: &[&str]| endings.iter().any(|ending| key.ends_with(ending));
    let (found, unit) = match () {
        () if ends(&["_secs", "_seconds"]) => (whole(milliseconds, 1000), "seconds"),
        () if ends(&["_days"]) => (whole(milliseconds, 86_400_000), "days"),
        () if ends(&["_mb"]) => (whole(bytes, 1 << 20), "MiB"),
        () if ends(&["_size", "_bytes"]) => (whole(bytes, 1), "bytes"),
        () => return None,
    };
    found.map(|number| Number::Of(number, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::String(text.to_owned().into())
    }

    #[test]
    fn numbers_in_strings() {
        for (key, text, expected) in [
            (
                "leeway_secs",
                "30",
                Some("write leeway_secs = 30, without quotes"),
            ),
            (
                "leeway_secs",
                "30s",
                Some("write leeway_secs = 30, a number of seconds without quotes"),
            ),
            (
                "window_seconds",
                "1 min",
                Some("write window_seconds = 60, a number of seconds without quotes"),
            ),
            ("timeout_secs", "1500ms", None),
            (
                "renew_before_days",
                "48h",
                Some("write renew_before_days = 2, a number of days without quotes"),
            ),
            (
                "max_body_size",
                "10MiB",
                Some("write max_body_size = 10485760, a number of bytes without quotes"),
            ),
            (
                "token_cache_mb",
                "1g",
                Some("write token_cache_mb = 1024, a number of MiB without quotes"),
            ),
            (
                "bind_port",
                ":8080",
                Some("write bind_port = 8080, without quotes"),
            ),
            ("bind_port", "http", None),
            ("max_body_size", "99999999999999g", None),
            ("threads", "s3cret", None),
        ] {
            let path = KeyPath::from(["a", key]);
            let found = for_type("an integer", &path, &string(text));
            assert_eq!(found.as_deref(), expected, "{key} {text}");
        }
    }

    #[test]
    fn other_types() {
        let said = |expected, value| {
            for_type(expected, &KeyPath::from(["a", "b"]), &value).unwrap_or_default()
        };
        assert_eq!(
            said("a boolean", string("Yes")),
            "write b = true, without quotes"
        );
        assert_eq!(
            said("a boolean", string("hunter2")),
            "write b = true or false, without quotes"
        );
        assert_eq!(said("a boolean", Value::Integer(0)), "write b = false");
        assert_eq!(
            said("a string", Value::Integer(12_345)),
            "put it in quotes: b = \"...\""
        );
        assert_eq!(
            said("an array", string("hunter2")),
            "put it in brackets: b = [\"...\"]"
        );
        assert_eq!(
            said("an integer", Value::Float(1.5)),
            "write a whole number"
        );
        assert_eq!(said("a table", string("x")), "");
    }
}
