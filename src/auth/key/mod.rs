//! Keys that verify a signature. Each is examined and parsed once, when it is loaded; verifying allocates nothing.

mod ring;
mod roca;
mod rsa;

use std::fmt;

use aws_lc_rs::hmac;

pub(crate) use ring::KeyRing;
pub(crate) use rsa::{KeyRefusal, RsaKey};

/// The least length of an HMAC secret for HS256, in bytes (RFC 7518 section 3.2).
pub(crate) const MIN_SECRET: usize = 32;

/// A shared secret for HS256 (RFC 7518 section 3.2).
pub(crate) struct HmacKey(Box<hmac::Key>);

impl HmacKey {
    /// Takes a secret. `None`: it is too short.
    pub(crate) fn new(secret: &[u8]) -> Option<Self> {
        (secret.len() >= MIN_SECRET)
            .then(|| Self(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))))
    }

    /// Whether `signature` is the HMAC of `message`; in constant time.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, message, signature).is_ok()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey([redacted])")
    }
}
