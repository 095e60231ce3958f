//! A limit under its name.

use std::sync::Arc;

use crate::config::Owner;

/// One rule that limits.
#[derive(Debug)]
pub struct Limit<T> {
    /// Policy and rule: what counts go on under when a configuration is replaced.
    pub(in crate::policy) name: Arc<str>,
    pub(in crate::policy) owner: Owner,
    pub(in crate::policy) settings: Arc<T>,
}

impl<T> Clone for Limit<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            owner: self.owner,
            settings: self.settings.clone(),
        }
    }
}
