//! What verifies a JSON Web Token and nothing else: keys, key sets, the compact form, claims.
//!
//! Internal to harmony-edge: the proxy and its SDK share it, and it knows neither. RFC 7515 (JWS),
//! 7517 (JWK), 7518 (JWA), 7519 (JWT) and 8037 (Ed25519), as strictly as RFC 8725 asks: the token
//! chooses neither the algorithm nor where a key comes from.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use jose::{Algorithm, CompactJws, Header, Keys, TokenError, clock};
//!
//! async fn subject(token: &[u8], keys: &Keys) -> Result<Option<String>, TokenError> {
//!     let jws = CompactJws::split(token)?;
//!     let header = Header::read(&jws, &[Algorithm::Rs256], &["jwt"])?;
//!     let claims = keys.verify(&jws, &header).await?;
//!     claims.validity(Duration::from_secs(60))?.check(clock::now())?;
//!     claims.check_issuer(&["https://issuer.example"])?;
//!     claims.check_audience(&["my-service"])?;
//!     Ok(claims.get("sub").and_then(|sub| sub.as_str()).map(str::to_owned))
//! }
//! ```
//!
//! [`Keys`] are a secret, a public key, a key set that was read, or one that [`KeySets`] fetches
//! and keeps fresh. Whatever is wrong with a token is a [`TokenError`]: an error of a few bytes,
//! without anything that the token says.

mod algorithm;
mod claims;
pub mod clock;
mod compact;
mod error;
mod header;
mod http_clients;
mod jwks;
mod key;
mod keys;
mod proof;
pub mod strict_json;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod wycheproof;

pub use algorithm::Algorithm;
pub use claims::{Claims, Validity};
pub use compact::{CompactJws, MAX_TOKEN};
pub use error::{TokenError, with_causes};
pub use header::Header;
pub use http_clients::{AddressFilter, HttpClients};
pub use jwks::{
    DiscoveredIssuer, Document, DocumentError, FetchedKeys, IssuerStatus, IssuerUrl, KeyLabel,
    KeySetError, KeySetStatus, KeySetUrl, KeySets, KeyTrouble, NoTlsProvider, ParsedKeySet,
    shown_url,
};
pub use key::{HmacKey, KeyError, KeyRing, PublicKey};
pub use keys::Keys;
pub use proof::Proof;
