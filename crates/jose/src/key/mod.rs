//! Keys that verify a signature. Each is examined and parsed once, when it is loaded, and serves
//! the algorithms of its own family only.

mod curve;
mod error;
mod hmac;
mod jwk;
mod public;
mod ring;
mod roca;
mod rsa;
#[cfg(test)]
mod tests;

pub use error::KeyError;
pub use hmac::HmacKey;
#[cfg(any(test, feature = "testing"))]
pub(crate) use public::Material;
pub use public::PublicKey;
pub use ring::KeyRing;
pub(crate) use ring::NamedKey;
