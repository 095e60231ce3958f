//! Nonces that a proof has to hold (RFC 9449 section 8): nothing is remembered of them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use jose::clock::UnixTime;
use ring::hmac;

/// How long one nonce is given out. It counts in this time, in the next, and, for a fleet whose
/// clocks differ, in the one before.
const SLOT_SECS: f64 = 60.0;
/// How much of the hash a nonce is.
const BYTES: usize = 16;

/// What gives nonces out: a keyed hash of the time.
pub(super) struct Nonces(hmac::Key);

impl Nonces {
    pub(super) fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The nonce of a moment.
    pub(super) fn at(&self, now: UnixTime) -> HeaderValue {
        let nonce = self.of_slot(slot(now));
        HeaderValue::try_from(nonce).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// Whether a nonce is one that counts at a moment.
    pub(super) fn has_given(&self, nonce: &str, now: UnixTime) -> bool {
        let slot = slot(now);
        let counts = |slot| is_equal(&self.of_slot(slot), nonce);
        counts(slot) | counts(slot.wrapping_sub(1)) | counts(slot.wrapping_add(1))
    }

    fn of_slot(&self, slot: u64) -> String {
        let hash = hmac::sign(&self.0, &[b"DPoP-Nonce", &slot.to_be_bytes()[..]].concat());
        URL_SAFE_NO_PAD.encode(&hash.as_ref()[..BYTES])
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a moment after 1970, or the first one"
)]
fn slot(now: UnixTime) -> u64 {
    (now / SLOT_SECS) as u64
}

/// In constant time.
fn is_equal(one: &str, other: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}

/// Shows no key.
impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonces")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_counts_for_a_slot_and_the_next() {
        let nonces = Nonces::new(&[7; 32]);
        let now = 1_800_000_000.0;
        let nonce = nonces.at(now);
        let nonce = nonce.to_str().unwrap();
        for (seconds, counts) in [
            (0.0, true),
            (59.0, true),
            (119.0, true),
            (121.0, false),
            (-60.0, true),
            (-121.0, false),
            (6000.0, false),
        ] {
            assert_eq!(nonces.has_given(nonce, now + seconds), counts, "{seconds}");
        }
        for wrong in [
            "",
            "x",
            &nonce[1..],
            &nonce.to_uppercase(),
            &format!("{nonce}="),
        ] {
            assert!(!nonces.has_given(wrong, now), "{wrong}");
        }
    }

    #[test]
    fn one_key_is_one_fleet() {
        let now = 1_800_000_000.0;
        let (one, same, other) = ([7; 32], [7; 32], [8; 32]);
        let nonce = Nonces::new(&one).at(now);
        let nonce = nonce.to_str().unwrap();
        assert!(Nonces::new(&same).has_given(nonce, now));
        assert!(!Nonces::new(&other).has_given(nonce, now));
    }
}
