//! Authorities of upstreams in the form that Pingora takes, made once for each configuration.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use pingora::protocols::tls::CaType;
use pingora::utils::tls::{WrappedX509, parse_x509};

use crate::gateway::Roots;

/// Those in use.
#[derive(Debug, Default)]
pub(super) struct Authorities(Mutex<Vec<(Weak<Roots>, Arc<CaType>)>>);

impl Authorities {
    /// The same authorities in the other form.
    pub(super) fn of(&self, roots: &Arc<Roots>) -> Arc<CaType> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = Arc::as_ptr(roots);
        if let Some((_, authorities)) = made.iter().find(|(known, _)| known.as_ptr() == wanted) {
            return authorities.clone();
        }
        // A pointer cannot come back while its entry is here: the entry holds on to the place, if
        // not to the content.
        made.retain(|(known, _)| known.strong_count() > 0);
        let authorities: Arc<CaType> = roots
            .certificates
            .iter()
            .map(|certificate| WrappedX509::new(certificate.to_vec(), parse_x509))
            .collect();
        made.push((Arc::downgrade(roots), authorities.clone()));
        authorities
    }
}
