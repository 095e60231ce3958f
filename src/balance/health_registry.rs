//! The health of every upstream in use. It outlives configurations, so a reload keeps what is
//! known.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::health::Health;
use crate::config::{Ejection, HealthCheck, Reach};

/// What the health of an upstream depends on. Upstreams that agree in it share one, whichever
/// backend they are of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HealthKey {
    /// `http://HOST:PORT`.
    pub origin: String,
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
pub struct HealthRegistry(Mutex<HashMap<HealthKey, Weak<Health>>>);

impl HealthRegistry {
    /// The health of an upstream: the one that is known, else a new one.
    pub fn of(&self, key: HealthKey) -> Arc<Health> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(health) = known.get(&key).and_then(Weak::upgrade) {
            return health;
        }
        known.retain(|_, health| health.strong_count() > 0);
        let health = Arc::new(Health::new(
            key.origin.clone(),
            key.ejection,
            key.check.clone(),
        ));
        known.insert(key, Arc::downgrade(&health));
        health
    }
}
