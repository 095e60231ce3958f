//! The health of every upstream in use. It outlives configurations, so a reload keeps what is
//! known.

use std::path::PathBuf;
use std::sync::Arc;

use super::health::Health;
use crate::common::WeakMap;
use crate::config::{Ejection, HealthCheck, HttpVersion, Reach};

/// What the health of an upstream depends on. Upstreams that agree in it share one, whichever
/// backend they are of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthKey {
    /// `http://HOST:PORT`.
    pub origin: String,
    /// What is spoken to it: one that does not speak it fails.
    pub http_version: HttpVersion,
    /// How it is checked.
    pub check: Option<HealthCheck>,
    /// When it is ejected.
    pub ejection: Ejection,
    /// Whom it is trusted by: with another authority it may be another server.
    pub ca_cert_path: Option<PathBuf>,
    /// What pipelines from the cloud may connect to: what they find out is nothing to those of the
    /// local files.
    pub reach: Option<Arc<Reach>>,
    /// The backend, if its checks carry a credential of its own.
    pub credential_of: Option<Arc<str>>,
}

/// Every health that somebody holds.
#[derive(Debug, Default)]
pub struct HealthRegistry(WeakMap<HealthKey, Health>);

impl HealthRegistry {
    /// The health of an upstream: the one that is known, else a new one.
    pub fn of(&self, key: HealthKey) -> Arc<Health> {
        self.0.get_or_make(key, |key| {
            let health = Health::new(key.origin.clone(), key.ejection, key.check.clone());
            Arc::new(health)
        })
    }
}
