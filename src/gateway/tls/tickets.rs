//! Keys of session tickets (RFC 8446 section 4.6.1, RFC 5077): made at start, changed every 6
//! hours, kept through reloads, never written anywhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::server::ProducesTickets;

/// The keys of each listener: a ticket of one is worth nothing at another.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<Arc<str>, Arc<dyn ProducesTickets>>>);

impl Tickets {
    /// The keys of a listener, made when it asks for the first time.
    pub(super) fn of(&self, network: &Arc<str>) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.get(network) {
            return Ok(known.clone());
        }
        let made = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        all.insert(network.clone(), made.clone());
        Ok(made)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets")
    }
}
