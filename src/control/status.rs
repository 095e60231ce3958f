//! How the connection to the cloud stands, for `/info`, the metrics and the log. Plain values, no
//! secret.

use std::fmt;
use std::time::SystemTime;

/// Where the connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `[runbeam]` is off.
    Disabled,
    /// There is no machine token: it waits for one from the API, the environment or the store.
    Unauthorized,
    /// There is a machine token, and nothing is known against it.
    Authorized,
    /// The machine token expires soon, and the cloud has not renewed it.
    Expiring,
    /// The machine token has expired.
    Expired,
    /// The cloud does not take the machine token: it was revoked.
    Rejected,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 6] = [
        Self::Disabled,
        Self::Unauthorized,
        Self::Authorized,
        Self::Expiring,
        Self::Expired,
        Self::Rejected,
    ];

    /// Its name, as `/info` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Unauthorized => "unauthorized",
            Self::Authorized => "authorized",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything that is told about the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether `[runbeam]` is on.
    pub enabled: bool,
    /// Where it is in its life.
    pub state: State,
    /// The gateway that the token is for; `None` without a token, and before the cloud has said
    /// whose a bare token is.
    pub gateway_id: Option<String>,
    /// When the token expires, as the cloud wrote it; `None` without a token, and where that is
    /// unknown.
    pub token_expires_at: Option<String>,
    /// The same as a time.
    pub token_expires: Option<SystemTime>,
    /// Where the token came from: `environment`, `store` or `api`.
    pub token_source: Option<&'static str>,
    /// Where the token in use is, in words; without one, where the next one goes, and `None` until
    /// the store is open.
    pub token_store: Option<String>,
    /// When the cloud last answered a poll, whether well or not at all.
    pub last_poll: Option<SystemTime>,
    /// What is wrong; `None` while nothing is.
    pub last_error: Option<String>,
    /// Changes that the cloud listed at the last poll and that are not applied.
    pub pending_changes: usize,
    /// What was counted since the start.
    pub counters: Counters,
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Polls that the cloud answered.
    pub polls_ok: u64,
    /// Polls that failed.
    pub polls_failed: u64,
    /// Changes that went into service.
    pub changes_applied: u64,
    /// Changes that were refused.
    pub changes_failed: u64,
    /// Renewals of the token.
    pub renewals_ok: u64,
    /// Renewals that failed.
    pub renewals_failed: u64,
}
