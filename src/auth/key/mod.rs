//! Keys that verify a signature. Each is examined and parsed once, when it is loaded, and serves
//! the algorithms of its own family only.

mod curve;
mod hmac;
mod jwk;
mod public;
mod refusal;
mod ring;
mod roca;
mod rsa;
#[cfg(test)]
mod tests;

pub(crate) use hmac::HmacKey;
#[cfg(test)]
pub(crate) use public::Material;
pub(crate) use public::PublicKey;
pub(crate) use refusal::KeyRefusal;
pub(crate) use ring::{KeyRing, NamedKey};
