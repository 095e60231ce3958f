//! Shared secrets (RFC 7518 section 3.2).

use std::fmt;

use aws_lc_rs::hmac;

use crate::Algorithm;

/// A shared secret for one algorithm.
pub struct HmacKey(Box<hmac::Key>);

impl HmacKey {
    /// Takes a secret. `None`: it is too short, or the algorithm takes no secret.
    pub fn new(algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let hash = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        (secret.len() >= algorithm.secret_bytes()?)
            .then(|| Self(Box::new(hmac::Key::new(hash, secret))))
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
