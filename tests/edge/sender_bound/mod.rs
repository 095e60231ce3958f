//! Tokens that are bound to their sender: by a key (RFC 9449) or by a certificate (RFC 8705). And
//! what a pipeline says of itself to whoever looks for such a token (RFC 9728, RFC 9068).

mod attacks;
mod certificates;
mod metadata;
mod nonces;
mod profile;
mod proofs;

use crate::support::edge::EdgeBuilder;
use crate::support::proof::Sender;
use crate::support::{Edge, Issuer, Upstream};

/// What challenges say where a proof is required, without an error.
const DPOP: &str = "DPoP realm=\"harmony\", algs=\"ES256 EdDSA RS256\"";

fn challenge(error: &str) -> String {
    format!("DPoP realm=\"harmony\", error=\"{error}\", algs=\"ES256 EdDSA RS256\"")
}

/// `/api` with a step that says `dpop`.
fn edge(dpop: &str, issuer: &Issuer, upstream: &Upstream) -> EdgeBuilder {
    Edge::with_jwt(issuer, upstream).jwt(&format!("dpop = \"{dpop}\""))
}

/// A good token of this sender's.
fn token(issuer: &Issuer, sender: &Sender) -> String {
    issuer.token().claim("cnf", sender.cnf()).sign()
}

fn url(edge: &Edge, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", edge.port())
}
