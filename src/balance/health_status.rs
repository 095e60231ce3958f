//! How an upstream stands: for whoever shows it, and for whoever chooses.

use std::time::SystemTime;

/// How an upstream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// Neither a check nor a request has said anything yet. It gets requests.
    Unchecked,
    /// It answers.
    Healthy,
    /// Active checks failed. It gets no requests while another one can take them.
    Unhealthy,
    /// Requests to it failed. It gets none for a while, then one request probes it.
    Ejected,
}

impl HealthState {
    /// Its name, as the Management API and the metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::Ejected => "ejected",
        }
    }
}

/// What there is to tell of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthStatus {
    /// How it stands.
    pub state: HealthState,
    /// Since when.
    pub since: SystemTime,
    /// What failed last, a check or a request; it may be long ago.
    pub last_error: Option<String>,
    /// Requests that are there now.
    pub in_flight: usize,
    /// Attempts that were sent there, since the upstream is known.
    pub requests: u64,
    /// Those of them that failed: no connection, too slow, broken off, or answered with 502, 503 or
    /// 504.
    pub failures: u64,
}

/// Whether a request may go to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    Available,
    /// Its ejection is over: one request may probe it.
    TrialDue,
    Unavailable,
}
