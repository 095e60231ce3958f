//! What is wrong with a text that is no condition, and where.

use std::fmt;

/// Why a text is no condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line and column in the text, from 1, as far as they are known.
    pub place: Option<(usize, usize)>,
    /// What is wrong. May quote the text.
    pub message: String,
}

impl Mistake {
    pub(super) fn whole(message: impl ToString) -> Self {
        Self {
            place: None,
            message: message.to_string(),
        }
    }

    pub(super) fn at(text: &str, byte: usize, message: impl Into<String>) -> Self {
        let before: String =
            String::from_utf8_lossy(&text.as_bytes()[..byte.min(text.len())]).into();
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            place: Some((before.matches('\n').count() + 1, line.chars().count() + 1)),
            message: message.into(),
        }
    }

    pub(super) fn of_parser(text: &str, (line, column): (isize, isize), message: &str) -> Self {
        // The parser lists everything that might stand there.
        let message = message.split(" expecting ").next().unwrap_or_default();
        let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
        if message.contains("Recursion limit") {
            return Self::whole("is nested too deep");
        }
        let place = usize::try_from(line).ok().zip(usize::try_from(column).ok());
        let place = place.filter(|(line, column)| *line > 0 && *column > 0);
        let before = place.and_then(|(line, column)| {
            let line = text.lines().nth(line - 1)?;
            Some(line.chars().take(column - 1).collect::<String>())
        });
        Self {
            place,
            message: explained(message, before.unwrap_or_default().trim_end()),
        }
    }
}

/// What the parser means, and what to write for mistakes that are often made; `before` is what the
/// line has in front of the place.
fn explained(message: &str, before: &str) -> String {
    let quoted = |start: &str| message.strip_prefix(start)?.strip_suffix('\'');
    let unreadable = quoted("token recognition error at: '");
    let unexpected = ["mismatched", "extraneous", "no viable alternative at"]
        .iter()
        .find_map(|kind| quoted(&format!("{kind} input '")));
    let missing = message.strip_prefix("missing '");
    let missing = missing.and_then(|rest| rest.split("' at '").next());
    if let Some(missing) = missing {
        return format!("`{missing}` is missing");
    }
    let Some(token) = unreadable.or(unexpected) else {
        return match message.strip_prefix("reserved identifier: ") {
            Some(word) => format!("`{word}` is a reserved word"),
            None if message.starts_with("Incomplete ") => "is incomplete".to_owned(),
            None if message.contains("has() macro") => {
                "has() takes a member, like has(claims.role)".to_owned()
            }
            None => message.to_owned(),
        };
    };
    let token = token.trim();
    let is_word_before = |word: &str| before.split_whitespace().next_back() == Some(word);
    let instead = match token.to_ascii_lowercase().as_str() {
        "<eof>" => return "ends too early".to_owned(),
        "=" => "write == to compare",
        "and" => "write &&",
        "or" => "write ||",
        "is" => "write ==",
        "not" => "write !(a in b)",
        "/" => "a comment begins with //",
        _ if is_word_before("not") => "write ! for not",
        _ if token.contains(['“', '”', '‘', '’']) => "write straight quotes",
        _ if unreadable.is_some() && token.starts_with(['\'', '"']) => {
            return "a string has no closing quote".to_owned();
        }
        _ => return format!("unexpected `{token}`"),
    };
    format!("unexpected `{token}`: {instead}")
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((1, column)) => write!(f, "column {column}: ")?,
            Some((line, column)) => write!(f, "line {line}, column {column}: ")?,
            None => {}
        }
        f.write_str(&self.message)
    }
}
