//! Passwords and keys that cross a network unprotected: allowed, with a word.
//!
//! A token is short-lived; whoever overhears a password or a key has it for good.

use crate::config::model::{AuthSettings, Bind, Network, Step};
use crate::config::reader::Entry;

/// Warns of steps whose credential comes over a listener without TLS that other machines can reach.
pub(crate) fn check<'n>(
    steps: &[Step],
    networks: impl Iterator<Item = &'n Network>,
    origin: &Entry<'_>,
) {
    let exposed: Vec<String> = networks
        .filter(|network| network.tls.is_none() && is_exposed(&network.bind))
        .map(|network| format!("{:?}", network.name))
        .collect();
    if exposed.is_empty() {
        return;
    }
    let steps: Vec<String> = steps
        .iter()
        .filter(|step| {
            let settings = step.kind.auth().map(|auth| &auth.settings);
            matches!(
                settings,
                Some(AuthSettings::Basic(_) | AuthSettings::ApiKey(_))
            )
        })
        .map(|step| format!("{:?}", step.name))
        .collect();
    if !steps.is_empty() {
        origin.warning(&format!(
            "step {} takes a password or a key over network {}, which is not encrypted: whoever \
             listens there has it",
            steps.join(", "),
            exposed.join(", ")
        ));
    }
}

fn is_exposed(bind: &Bind) -> bool {
    match bind {
        Bind::Tcp(address) => !address.ip().to_canonical().is_loopback(),
        Bind::Unix(_) => false,
    }
}
