//! Which addresses may be connected to.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

type Check = dyn Fn(SocketAddr) -> Result<(), String> + Send + Sync;

/// Which addresses may be connected to. With one, names are resolved here and not by a proxy.
#[derive(Clone)]
pub struct AddressFilter {
    id: Arc<str>,
    check: Arc<Check>,
}

impl AddressFilter {
    /// `check` says why an address is not connected to. Two filters are equal if their `id` is: it
    /// has to hold everything that decides. Sets of one URL under different filters are kept apart.
    pub fn new(
        id: impl Into<Arc<str>>,
        check: impl Fn(SocketAddr) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            id: id.into(),
            check: Arc::new(check),
        }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), String> {
        (self.check)(address)
    }
}

impl PartialEq for AddressFilter {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for AddressFilter {}

impl Hash for AddressFilter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for AddressFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AddressFilter").field(&self.id).finish()
    }
}
