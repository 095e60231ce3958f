//! What is said of an error of the store.

use redis::RedisError;

/// Never a question with its arguments, nor a credential.
pub(super) fn sanitized(error: &RedisError) -> String {
    let text = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => return code.to_owned(),
        (None, _) if error.is_io_error() => error.to_string(),
        (None, Some(detail)) => format!("{}: {detail}", error.category()),
        (None, None) => return error.category().to_owned(),
    };
    // It names the command, and nothing else.
    if error.code() == Some("NOPERM") {
        return text;
    }
    unquoted(&text).trim_end_matches('.').to_owned()
}

/// What stands before the first quotation: a server quotes what it was asked, be it the password.
fn unquoted(text: &str) -> &str {
    let mut marks = text.match_indices(['\'', '"', '`']);
    // After a letter it is an apostrophe.
    let opening = marks.find(|(at, _)| !text[..*at].ends_with(char::is_alphanumeric));
    opening.map_or(text, |(at, _)| {
        text[..at].trim_end_matches(|last: char| !last.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use redis::{Value, parse_redis_value};

    use super::*;

    fn of_answer(text: &str) -> String {
        let answer = parse_redis_value(format!("-{text}\r\n").as_bytes());
        sanitized(&answer.and_then(Value::extract_error).unwrap_err())
    }

    #[test]
    fn the_code_and_the_text_but_nothing_that_is_quoted() {
        let cases = [
            (
                "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `pw`",
                "ERR unknown command",
            ),
            (
                "ERR unknown command 'EVALSHA', with args beginning with: '00' '1' 'key'",
                "ERR unknown command",
            ),
            (
                "ERR DB index is out of range",
                "ERR DB index is out of range",
            ),
            ("WRONGPASS invalid pair", "WRONGPASS invalid pair"),
            ("OOM used memory > 'maxmemory'.", "OOM used memory"),
            ("READONLY You can't write.", "READONLY You can't write"),
            ("LOADING", "LOADING"),
            (
                "NOPERM this user has no permissions to run the 'xadd' command",
                "NOPERM this user has no permissions to run the 'xadd' command",
            ),
        ];
        for (answer, expected) in cases {
            assert_eq!(of_answer(answer), expected);
        }
    }

    #[test]
    fn why_there_is_no_connection() {
        let error = std::io::Error::other("invalid peer certificate: UnknownIssuer");
        assert_eq!(
            sanitized(&error.into()),
            "invalid peer certificate: UnknownIssuer"
        );
        let of_cluster = RedisError::from((
            redis::ErrorKind::Io,
            "no connection",
            "ResponseError: unknown command: `HELLO` `3` `AUTH` `u` `pw`".to_owned(),
        ));
        assert_eq!(
            sanitized(&of_cluster),
            "no connection - Io: ResponseError: unknown command"
        );
    }
}
