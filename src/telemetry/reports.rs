//! What other services tell of themselves when they are asked: plain values, for the metrics and the status page. Whoever has nothing to tell is left out.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::LogWriter;

/// Asks for the state of something now. Must not wait.
pub type Report<T> = Option<Arc<dyn Fn() -> T + Send + Sync>>;

/// Whom to ask.
#[derive(Clone, Default)]
pub struct Reports {
    /// The log's queue.
    pub log: Option<LogWriter>,
    /// The certificates that listeners serve.
    pub certificates: Report<Vec<CertificateReport>>,
}

/// A certificate that a listener serves.
#[derive(Debug, Clone)]
pub struct CertificateReport {
    /// The network that serves it.
    pub network: String,
    /// The names in it.
    pub names: Vec<String>,
    /// When it expires.
    pub not_after: SystemTime,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").finish_non_exhaustive()
    }
}
