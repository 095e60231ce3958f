//! `dpop` and what belongs to it (RFC 9449).

use std::time::Duration;

use crate::config::model::{CredentialLocation, Dpop, DpopNonce, JwtAlgorithm, Secret};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::filled_secret;

/// What has no effect without `dpop`.
const SETTINGS: [&str; 4] = [
    "dpop_algorithms",
    "dpop_max_age_secs",
    "dpop_nonce",
    "dpop_nonce_secret",
];
/// What `dpop_algorithms` is by default.
const ALGORITHMS: [JwtAlgorithm; 3] = [
    JwtAlgorithm::Es256,
    JwtAlgorithm::EdDsa,
    JwtAlgorithm::Rs256,
];
/// A longer age of proofs deserves a warning.
const LONG: Duration = Duration::from_secs(300);
/// The least length of `dpop_nonce_secret`: that of the hash.
const SECRET_BYTES: usize = 32;

/// Reads the settings; `location` is where the step looks for its token. `None`: `dpop = "off"`,
/// which is the default.
pub(super) fn read(reader: &Reader<'_>, location: &CredentialLocation) -> Option<Dpop> {
    let written = reader.get("dpop");
    let required = written.as_ref().and_then(mode);
    let settings = SETTINGS.map(|key| reader.get(key));
    let (Some(required), Some(written)) = (required, written) else {
        for entry in settings.into_iter().flatten() {
            entry.warning("has no effect: dpop is \"off\", which is the default");
        }
        return None;
    };
    if *location != CredentialLocation::Authorization {
        written.error_help(
            "takes tokens in Authorization only (RFC 9449 section 7.1), and this step looks for \
             its token elsewhere",
            "remove token_header, token_cookie or token_query, or remove dpop",
        );
    }
    let [listed, written_age, ..] = settings;
    let max_age = reader.seconds("dpop_max_age_secs", 1..=600, 60);
    if let Some(entry) = written_age
        && max_age > LONG
    {
        entry.warning(
            "proofs are remembered for as long, 524288 at most: under load there is no room for \
             new ones, and their requests are 429",
        );
    }
    Some(Dpop {
        required,
        algorithms: listed.map_or_else(|| ALGORITHMS.to_vec(), |entry| algorithms(&entry)),
        max_age,
        nonce: nonce(reader),
    })
}

/// Whether proofs are required; `None`: they are not looked at.
fn mode(entry: &Entry<'_>) -> Option<bool> {
    let text = entry.text()?;
    match &*text {
        "off" => None,
        "allow" => Some(false),
        "require" => Some(true),
        _ => {
            entry.unknown("mode", &text, &["off", "allow", "require"]);
            None
        }
    }
}

fn algorithms(entry: &Entry<'_>) -> Vec<JwtAlgorithm> {
    let mut algorithms = Vec::new();
    for (name, item) in entry.one_or_more() {
        match JwtAlgorithm::named(&name) {
            Some(algorithm) if algorithm.is_hmac() => item.error_help(
                format!(
                    "{} takes a shared secret, and a proof is signed with a key that only its \
                     sender has",
                    name.shown()
                ),
                "name an algorithm of public keys, like \"ES256\"",
            ),
            Some(algorithm) if algorithms.contains(&algorithm) => {
                item.error(format!("{} is named twice", name.shown()));
            }
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let known = JwtAlgorithm::ALL
                    .into_iter()
                    .filter(|known| !known.is_hmac());
                let known: Vec<_> = known.map(JwtAlgorithm::name).collect();
                item.unknown("algorithm", &name, &known);
            }
        }
    }
    algorithms
}

fn nonce(reader: &Reader<'_>) -> Option<DpopNonce> {
    let wanted = reader.flag("dpop_nonce", false);
    let secret = reader.get("dpop_nonce_secret");
    match (wanted, secret) {
        (true, Some(entry)) => nonce_secret(&entry).map(DpopNonce::OfFleet),
        (true, None) => Some(DpopNonce::OfProcess),
        (false, Some(entry)) => {
            entry.warning("has no effect without dpop_nonce = true");
            None
        }
        (false, None) => None,
    }
}

fn nonce_secret(entry: &Entry<'_>) -> Option<Secret> {
    let secret = filled_secret(entry)?;
    if secret.expose().len() < SECRET_BYTES {
        entry.error_help(
            format!("must be at least {SECRET_BYTES} bytes"),
            "make one with `openssl rand -base64 32`",
        );
        return None;
    }
    Some(secret)
}
