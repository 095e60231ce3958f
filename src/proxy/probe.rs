//! The one request that this process answers to itself alone: whether it serves.

use std::fmt;
use std::sync::Arc;

use pingora::http::RequestHeader;
use ring::rand::{SecureRandom, SystemRandom};

/// A path that nobody else knows: made at random at each start, and shown nowhere.
#[derive(Clone)]
pub struct Probe(Arc<str>);

impl Probe {
    /// Makes one; `None` when the system has no random bytes.
    pub fn new() -> Option<Self> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self(format!("/{hex}").into()))
    }

    /// The path to ask for.
    pub fn path(&self) -> &str {
        &self.0
    }

    pub(super) fn is(&self, request: &RequestHeader) -> bool {
        request.raw_path() == self.0.as_bytes()
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Probe")
    }
}
