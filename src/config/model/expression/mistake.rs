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

    pub(super) fn of_parser((line, column): (isize, isize), message: &str) -> Self {
        // The parser lists everything that might stand there.
        let message = message.split(" expecting ").next().unwrap_or_default();
        let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
        if message.contains("Recursion limit") {
            return Self::whole("is nested too deep");
        }
        let place = usize::try_from(line).ok().zip(usize::try_from(column).ok());
        Self {
            place: place.filter(|(line, column)| *line > 0 && *column > 0),
            message: message.to_owned(),
        }
    }
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
