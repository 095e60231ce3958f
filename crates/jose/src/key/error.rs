//! Why a key is refused when it is loaded.

use crate::Algorithm;

/// Why a key is not used, or not for everything that it could serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A PEM file without a key.
    #[error("no public key can be read from it")]
    Unreadable,
    /// `d` is there, or a PEM file says so.
    #[error("a private key is not a public key")]
    Private,
    /// Of an RSA key: so many bits.
    #[error("a modulus of {0} bits; from 2048 to 8192 are accepted")]
    Size(usize),
    /// Of an RSA key; every prime but 2 is odd.
    #[error("an even modulus")]
    EvenModulus,
    /// Of an RSA key; the bound is that of the libraries that sign.
    #[error("a public exponent that is even, 1, or above 33 bits")]
    Exponent,
    /// Of an RSA key: such keys can be factored.
    #[error("made by a faulty generator (ROCA, CVE-2017-15361)")]
    Roca,
    /// `crv` is none of those.
    #[error("a curve other than P-256, P-384, P-521 and Ed25519")]
    Curve,
    /// Everybody could sign with a point of small order.
    #[error("not a point on its curve, or one of small order")]
    Point,
    /// `kty` is `oct`.
    #[error("a symmetric key in a set of public keys")]
    Symmetric,
    /// `kty` is none of `RSA`, `EC` and `OKP`.
    #[error("neither an RSA nor an elliptic-curve key")]
    OtherType,
    /// Such a key is for encryption.
    #[error("`use` is not `sig`")]
    Use,
    /// RFC 7517 section 4.3.
    #[error("`key_ops` lacks `verify`")]
    Operations,
    /// `alg` names another one, or the key is of another family.
    #[error("not a key for the algorithm")]
    Algorithm,
    /// Which of them is meant cannot be told.
    #[error("another key has the same `kid` and serves the same algorithm")]
    DuplicateKid,
    /// The key serves its other algorithms.
    #[error("under {}, another key has the same `kid`", .0.name())]
    DuplicateKidUnder(Algorithm),
    /// A member is missing, of another type, or not in strict base64url.
    #[error("not a well-formed JSON Web Key")]
    Malformed,
}
