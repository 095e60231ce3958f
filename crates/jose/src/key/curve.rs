//! Keys on elliptic curves: for ECDSA (RFC 7518 section 3.4), and Ed25519 (RFC 8032).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::KeyError;
use super::public::Material;
use crate::Algorithm;

/// A curve of ECDSA (RFC 7518 section 6.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

type Verifiers = Vec<(Algorithm, ParsedPublicKey)>;

/// How a `SubjectPublicKeyInfo` of an Ed25519 key begins (RFC 8410 section 4); the key follows.
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// The y-coordinates, little-endian, of the points of order 1, 2, 4 and 8 of Ed25519, in every
/// encoding: with such a key, everybody can make signatures.
const SMALL_ORDER: [[u8; 32]; 7] = [
    low(0x00),
    low(0x01),
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\
       \x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\
       \xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    high(0xec),
    high(0xed),
    high(0xee),
];

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// The curve of a `crv`, which is compared exactly.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    /// `crv`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The length of a coordinate, in bytes.
    pub(crate) fn coordinate_bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The one algorithm of this curve; its signatures are `r` and `s` of fixed length (RFC 7518
    /// section 3.4), never DER.
    fn algorithm(self) -> (Algorithm, &'static EcdsaVerificationAlgorithm) {
        match self {
            Self::P256 => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED),
            Self::P384 => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
            Self::P521 => (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED),
        }
    }

    /// How a `SubjectPublicKeyInfo` begins that names this curve and holds an uncompressed point
    /// (RFC 5480 section 2); `x` and `y` follow.
    fn prefix(self) -> &'static [u8] {
        match self {
            Self::P256 => {
                b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\
                  \x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04"
            }
            Self::P384 => {
                b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\
                  \x04\x00\x22\x03\x62\x00\x04"
            }
            Self::P521 => {
                b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\
                  \x81\x04\x00\x23\x03\x81\x86\x00\x04"
            }
        }
    }
}

/// Examines a point: it has the curve's length and lies on the curve.
pub(super) fn ec_verifiers(
    curve: Curve,
    x_and_y: &[u8],
    only: Option<Algorithm>,
) -> Result<Verifiers, KeyError> {
    let (algorithm, verification) = curve.algorithm();
    if only.is_some_and(|only| only != algorithm) {
        return Err(KeyError::Algorithm);
    }
    if x_and_y.len() != 2 * curve.coordinate_bytes() {
        return Err(KeyError::Malformed);
    }
    let point = [&[0x04], x_and_y].concat();
    let key = ParsedPublicKey::new(verification, point).map_err(|_| KeyError::Point)?;
    Ok(vec![(algorithm, key)])
}

/// Examines a point of Ed25519. One that is not on the curve passes, and verifies nothing.
pub(super) fn ed25519_verifiers(
    point: &[u8; 32],
    only: Option<Algorithm>,
) -> Result<Verifiers, KeyError> {
    if only.is_some_and(|only| only != Algorithm::EdDsa) {
        return Err(KeyError::Algorithm);
    }
    let mut y = *point;
    y[31] &= 0x7f; // the sign of x
    if SMALL_ORDER.contains(&y) {
        return Err(KeyError::Point);
    }
    let key = ParsedPublicKey::new(&ED25519, point).map_err(|_| KeyError::Point)?;
    Ok(vec![(Algorithm::EdDsa, key)])
}

/// Reads a PEM file. `None`: it holds no key of these curves, or one in another form than the usual
/// one (a compressed point, say).
pub(super) fn from_pem(pem: &[u8]) -> Option<Material> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    if let Some(point) = der.strip_prefix(ED25519_PREFIX) {
        return point.try_into().ok().map(Material::Ed25519);
    }
    Curve::ALL.into_iter().find_map(|curve| {
        let x_and_y = der.strip_prefix(curve.prefix())?.into();
        Some(Material::Ec { curve, x_and_y })
    })
}

/// A small number.
const fn low(first: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = first;
    bytes
}

/// A number near 2^255.
const fn high(first: u8) -> [u8; 32] {
    let mut bytes = [0xff; 32];
    bytes[0] = first;
    bytes[31] = 0x7f;
    bytes
}
