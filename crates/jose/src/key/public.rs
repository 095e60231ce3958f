//! A public key of any family, and the algorithms that it verifies.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::signature::ParsedPublicKey;

use super::curve::{self, Curve};
use super::{KeyError, rsa};
use crate::Algorithm;

/// A public key, examined and ready to verify.
pub struct PublicKey {
    material: Material,
    /// One for each algorithm that it serves, in the order of [`Algorithm`]: all of its family,
    /// or those that it says it is for.
    verifiers: Box<[(Algorithm, ParsedPublicKey)]>,
}

/// What makes a key this key and no other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Material {
    /// RFC 8017 section 3.1: two big-endian numbers without leading zeros.
    Rsa {
        modulus: Box<[u8]>,
        exponent: Box<[u8]>,
    },
    /// SEC 1 section 2.3.3: `x`, then `y`, each of the curve's length.
    Ec { curve: Curve, x_and_y: Box<[u8]> },
    /// RFC 8032 section 5.1.5.
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// Examines a key. With `only`, it serves that algorithm alone, which must be one of its
    /// family.
    pub(crate) fn new(material: Material, only: Option<Algorithm>) -> Result<Self, KeyError> {
        let verifiers = match &material {
            Material::Rsa { modulus, exponent } => rsa::verifiers(modulus, exponent, only)?,
            Material::Ec { curve, x_and_y } => curve::ec_verifiers(*curve, x_and_y, only)?,
            Material::Ed25519(point) => curve::ed25519_verifiers(point, only)?,
        };
        Ok(Self {
            material,
            verifiers: verifiers.into(),
        })
    }

    /// Reads a PEM file with one key for one algorithm: `PUBLIC KEY` (RFC 5280 section 4.1.2.7), or
    /// `RSA PUBLIC KEY` (RFC 8017 appendix A.1.1).
    pub fn from_pem(pem: &[u8], algorithm: Algorithm) -> Result<Self, KeyError> {
        if String::from_utf8_lossy(pem).contains("PRIVATE KEY-----") {
            return Err(KeyError::Private);
        }
        let material = curve::from_pem(pem)
            .or_else(|| rsa::from_pem(pem))
            .ok_or(KeyError::Unreadable)?;
        Self::new(material, Some(algorithm))
    }

    /// Whether it may be used with an algorithm at all.
    pub(crate) fn serves(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|served| served == algorithm)
    }

    /// The algorithms that it may be used with.
    pub(crate) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether it serves every algorithm of its family.
    pub(crate) fn serves_its_family(&self) -> bool {
        let family = match self.material {
            Material::Rsa { .. } => rsa::ALGORITHMS.len(),
            Material::Ec { .. } | Material::Ed25519(_) => 1,
        };
        self.verifiers.len() == family
    }

    /// Adds the algorithms of another entry of the same key.
    pub(crate) fn merge(&mut self, other: Self) {
        debug_assert!(self.material == other.material);
        let mut verifiers = std::mem::take(&mut self.verifiers).into_vec();
        let known: Vec<_> = verifiers.iter().map(|(algorithm, _)| *algorithm).collect();
        let added = other.verifiers.into_iter();
        verifiers.extend(added.filter(|(algorithm, _)| !known.contains(algorithm)));
        verifiers.sort_by_key(|(algorithm, _)| *algorithm);
        self.verifiers = verifiers.into();
    }

    /// Takes algorithms from it. `false`: none is left.
    pub(crate) fn retain(&mut self, keep: impl Fn(Algorithm) -> bool) -> bool {
        let mut verifiers = std::mem::take(&mut self.verifiers).into_vec();
        verifiers.retain(|(algorithm, _)| keep(*algorithm));
        self.verifiers = verifiers.into();
        !self.verifiers.is_empty()
    }

    /// Whether `signature` is a signature of `message` by this key, in the form of RFC 7518 section
    /// 3 and RFC 8037 section 3.1.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.verifiers
            .iter()
            .find(|(served, _)| *served == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    /// What makes it this key and no other.
    pub(crate) fn material(&self) -> &Material {
        &self.material
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.material.hash(state);
        self.algorithms().for_each(|served| served.hash(state));
    }
}

impl Eq for PublicKey {}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.material == other.material && self.algorithms().eq(other.algorithms())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.material {
            Material::Rsa { .. } => "RSA",
            Material::Ec { curve, .. } => curve.name(),
            Material::Ed25519(_) => "Ed25519",
        };
        write!(f, "PublicKey({kind})")
    }
}
