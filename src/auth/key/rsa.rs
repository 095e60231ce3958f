//! RSA public keys for RS256 (RFC 7518 section 3.3), and why one is refused.

use std::fmt;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use jsonwebtoken::DecodingKey;

use super::roca;

/// Why a key is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyRefusal {
    #[error("no RSA public key can be read from it")]
    Unreadable,
    #[error("a private key is not a public key")]
    Private,
    #[error("a modulus of {0} bits; from 2048 to 8192 are accepted")]
    Size(usize),
    #[error("an even modulus")]
    EvenModulus,
    #[error("a public exponent that is even, 1, or above 33 bits")]
    Exponent,
    #[error("made by a faulty generator (ROCA, CVE-2017-15361)")]
    Roca,
    #[error("a symmetric key in a set of public keys")]
    Symmetric,
    #[error("not an RSA key")]
    OtherType,
    #[error("`use` is not `sig`")]
    Use,
    #[error("`key_ops` lacks `verify`")]
    Operations,
    #[error("`alg` is not `RS256`")]
    Algorithm,
    #[error("the same `kid` as another key")]
    DuplicateKid,
    #[error("not a well-formed JSON Web Key")]
    Malformed,
}

/// An RSA public key, examined and ready to verify.
pub(crate) struct RsaKey {
    modulus: Box<[u8]>,
    exponent: Box<[u8]>,
    parsed: ParsedPublicKey,
}

impl RsaKey {
    /// Takes the big-endian modulus and exponent; leading zeros do not count.
    pub(crate) fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyRefusal> {
        let modulus = without_leading_zeros(modulus);
        let exponent = without_leading_zeros(exponent);
        let bits = modulus.first().map_or(0, |first| {
            modulus.len() * 8 - first.leading_zeros() as usize
        });
        if !(2048..=8192).contains(&bits) {
            return Err(KeyRefusal::Size(bits));
        }
        if modulus.last().is_none_or(|last| last % 2 == 0) {
            return Err(KeyRefusal::EvenModulus);
        }
        match number(exponent) {
            Some(exponent) if exponent % 2 == 1 && (3..1 << 33).contains(&exponent) => {}
            _ => return Err(KeyRefusal::Exponent),
        }
        if roca::looks_faulty(modulus) {
            return Err(KeyRefusal::Roca);
        }
        let parsed = RsaPublicKeyComponents {
            n: modulus,
            e: exponent,
        }
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .map_err(|_| KeyRefusal::Unreadable)?;
        Ok(Self {
            modulus: modulus.into(),
            exponent: exponent.into(),
            parsed,
        })
    }

    /// Reads a PEM file: `PUBLIC KEY` (RFC 5280) or `RSA PUBLIC KEY` (RFC 8017).
    pub(crate) fn from_pem(pem: &[u8]) -> Result<Self, KeyRefusal> {
        if String::from_utf8_lossy(pem).contains("PRIVATE KEY-----") {
            return Err(KeyRefusal::Private);
        }
        let key = DecodingKey::from_rsa_pem(pem).map_err(|_| KeyRefusal::Unreadable)?;
        let der = key.try_get_as_bytes().map_err(|_| KeyRefusal::Unreadable)?;
        let (modulus, exponent) = rsa_public_key(der).ok_or(KeyRefusal::Unreadable)?;
        Self::new(modulus, exponent)
    }

    /// Whether `signature` is an RS256 signature of `message` by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }

    /// The modulus, big-endian, without leading zeros.
    pub(crate) fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// The public exponent, big-endian, without leading zeros.
    pub(crate) fn exponent(&self) -> &[u8] {
        &self.exponent
    }
}

impl PartialEq for RsaKey {
    fn eq(&self, other: &Self) -> bool {
        self.modulus == other.modulus && self.exponent == other.exponent
    }
}

impl fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaKey({} bytes)", self.modulus.len())
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// A big-endian number. `None`: it does not fit.
fn number(bytes: &[u8]) -> Option<u64> {
    (bytes.len() <= 8).then(|| {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    })
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }` (RFC 8017, appendix A.1.1), whole.
fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    let (fields, after) = der_value(der, SEQUENCE)?;
    let (modulus, rest) = der_value(fields, INTEGER)?;
    let (exponent, rest) = der_value(rest, INTEGER)?;
    (after.is_empty() && rest.is_empty()).then_some((modulus, exponent))
}

/// The content of the first value, which has this tag, and what follows it.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, length], rest) = der.split_first_chunk()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        (usize::try_from(number(length)?).ok()?, rest)
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::Signer;

    #[test]
    fn pem_in_both_forms() {
        let signer = Signer::new();
        let signature = signer.signature(b"message");
        for pem in [signer.public_pem(), signer.pkcs1_pem()] {
            let key = RsaKey::from_pem(pem.as_bytes()).unwrap();
            assert!(key.verifies(b"message", &signature));
            assert!(!key.verifies(b"massage", &signature));
            assert!(!key.verifies(b"message", &signature[1..]));
            assert!(!key.verifies(b"message", b""));
        }
        assert_eq!(
            RsaKey::from_pem(signer.private_pem().as_bytes()),
            Err(KeyRefusal::Private)
        );
        for text in [
            "",
            "hello",
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ] {
            assert_eq!(
                RsaKey::from_pem(text.as_bytes()),
                Err(KeyRefusal::Unreadable),
                "{text}"
            );
        }
    }

    #[test]
    fn weak_keys_are_refused() {
        let good = Signer::new();
        let (n, e) = (good.modulus(), good.exponent());
        assert!(RsaKey::new(n, e).is_ok());
        assert!(RsaKey::new(&[&[0, 0], n].concat(), &[&[0], e].concat()).is_ok());
        let mut even = n.to_vec();
        *even.last_mut().unwrap() &= 0xfe;
        assert_eq!(RsaKey::new(&even, e), Err(KeyRefusal::EvenModulus));
        let mut short = n.to_vec();
        short[0] = 0x7f;
        assert_eq!(RsaKey::new(&short, e), Err(KeyRefusal::Size(2047)));
        assert_eq!(
            RsaKey::new(&n[128..], e).map(drop).unwrap_err(),
            KeyRefusal::Size(1024 - n[128].leading_zeros() as usize)
        );
        assert_eq!(RsaKey::new(&[0xff; 1025], e), Err(KeyRefusal::Size(8200)));
        assert_eq!(RsaKey::new(&[], e), Err(KeyRefusal::Size(0)));
        for exponent in [
            &[][..],
            &[0],
            &[1],
            &[2],
            &[4],
            &[1, 0, 0],
            &[2, 0, 0, 0, 1],
            &[1; 9],
        ] {
            assert_eq!(
                RsaKey::new(n, exponent),
                Err(KeyRefusal::Exponent),
                "{exponent:?}"
            );
        }
        assert!(RsaKey::new(n, &[3]).is_ok());
    }
}
