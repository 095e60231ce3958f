//! Why a request does not pass, and what exactly denies it.

use std::fmt;

use crate::config::PathPattern;

/// Why a request does not pass. What exactly refused it is for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// A rule denies it, or none allows it: 403.
    ByPolicy,
    /// It would pass, but there were too many: 429.
    RateLimited {
        /// Seconds until there is room again; at least 1.
        retry_after: u32,
    },
    /// It would pass, but there are too many at once: 429.
    ConcurrencyLimited,
    /// Its path is not served: 404, with an empty body.
    ByPathFilter,
}

impl Denial {
    /// A stable label for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByPolicy => "policy_denied",
            Self::RateLimited { .. } => "rate_limited",
            Self::ConcurrencyLimited => "concurrency_limited",
            Self::ByPathFilter => "path_filtered",
        }
    }

    /// The status code of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::ByPolicy => 403,
            Self::RateLimited { .. } | Self::ConcurrencyLimited => 429,
            Self::ByPathFilter => 404,
        }
    }
}

/// What does not let a request pass. For the log and for `explain` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeniedBy<'a> {
    pub(super) by: By<'a>,
    /// Of several readings of the path the one that does not pass; `None`: the path itself.
    pub(super) reading: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By<'a> {
    Rule(&'a str),
    NoRule,
    Pattern(&'a PathPattern),
    NoPattern,
}

impl fmt::Display for DeniedBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Rule(rule) => write!(f, "rule {rule:?} denies"),
            By::NoRule => f.write_str("no rule allows"),
            By::Pattern(pattern) => write!(f, "pattern {pattern:?} denies"),
            By::NoPattern => f.write_str("no pattern matches"),
        }?;
        match self.reading {
            Some(path) => write!(f, " the path read as {path}"),
            None => Ok(()),
        }
    }
}

impl From<DeniedBy<'_>> for Denial {
    fn from(denied: DeniedBy<'_>) -> Self {
        match denied.by {
            By::Rule(_) | By::NoRule => Self::ByPolicy,
            By::Pattern(_) | By::NoPattern => Self::ByPathFilter,
        }
    }
}
