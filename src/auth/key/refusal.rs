//! Why a key is refused when it is loaded.

use crate::config::JwtAlgorithm;

/// Why a key is not used, or not for everything that it could serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyRefusal {
    #[error("no public key can be read from it")]
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
    #[error("a curve other than P-256, P-384, P-521 and Ed25519")]
    Curve,
    #[error("no point of its curve, or one of small order")]
    Point,
    #[error("a symmetric key in a set of public keys")]
    Symmetric,
    #[error("neither an RSA nor an elliptic-curve key")]
    OtherType,
    #[error("`use` is not `sig`")]
    Use,
    #[error("`key_ops` lacks `verify`")]
    Operations,
    #[error("not a key for the algorithm")]
    Algorithm,
    #[error("another key has the same `kid` and serves the same algorithm")]
    DuplicateKid,
    #[error("under {}, another key has the same `kid`", .0.name())]
    DuplicateKidUnder(JwtAlgorithm),
    #[error("not a well-formed JSON Web Key")]
    Malformed,
}
