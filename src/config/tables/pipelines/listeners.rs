//! What the steps of a pipeline need of the listeners that lead to it.
//!
//! A password or a key that crosses a network unprotected is allowed, with a warning: a token is
//! short-lived, and whoever overhears a password or a key has it for good.

use crate::config::model::{AuthSettings, Network, Step};
use crate::config::reader::Entry;

/// Reports what the listeners lack, where the steps are listed. `trusts`: whether there are
/// `trusted_proxies`.
pub(super) fn check(steps: &[Step], networks: &[&Network], trusts: bool, origin: &Entry<'_>) {
    warn_of_exposed_credentials(steps, networks, origin);
    warn_of_exposed_proofs(steps, networks, trusts, origin);
    require_client_certificates(steps, networks, origin);
}

/// Warns of steps whose credential comes over a listener without TLS that other machines can reach.
fn warn_of_exposed_credentials(steps: &[Step], networks: &[&Network], origin: &Entry<'_>) {
    let takes_it = |settings: &AuthSettings| {
        matches!(settings, AuthSettings::Basic(_) | AuthSettings::ApiKey(_))
    };
    let is_exposed = |network: &Network| network.bind.is_exposed();
    if let Some((steps, networks)) = unencrypted(steps, networks, takes_it, is_exposed) {
        origin.warning(&format!(
            "step {steps} takes a password or a key over network {networks}, which is not \
             encrypted: whoever listens there has it"
        ));
    }
}

/// Warns of proofs that are required over a listener without TLS: whoever can change a request on
/// its way sends the proof on with another body or other fields. On a loopback address, a trusted
/// proxy may end TLS.
fn warn_of_exposed_proofs(steps: &[Step], networks: &[&Network], trusts: bool, origin: &Entry<'_>) {
    let requires_proof = |settings: &AuthSettings| match settings {
        AuthSettings::Jwt(settings) => settings.dpop.as_ref().is_some_and(|dpop| dpop.required),
        AuthSettings::Introspection(settings) => {
            settings.dpop.as_ref().is_some_and(|dpop| dpop.required)
        }
        AuthSettings::Basic(_) | AuthSettings::ApiKey(_) | AuthSettings::MutualTls(_) => false,
    };
    let is_exposed = |network: &Network| network.bind.is_exposed() || !trusts;
    if let Some((steps, networks)) = unencrypted(steps, networks, requires_proof, is_exposed) {
        origin.warning(&format!(
            "step {steps} has dpop = \"require\" on network {networks}, which is not encrypted: a \
             proof does not protect the body and the other fields of its request"
        ));
    }
}

/// The steps of such settings, and such listeners without TLS, as they are named; `None`: there are
/// none of either.
fn unencrypted(
    steps: &[Step],
    networks: &[&Network],
    concerned: impl Fn(&AuthSettings) -> bool,
    is_exposed: impl Fn(&Network) -> bool,
) -> Option<(String, String)> {
    let networks = networks
        .iter()
        .filter(|network| network.tls.is_none() && is_exposed(network));
    let networks: Vec<_> = networks
        .map(|network| format!("{:?}", network.name))
        .collect();
    let steps = steps.iter().filter(|step| {
        let auth = step.kind.auth();
        auth.is_some_and(|auth| concerned(&auth.settings))
    });
    let steps: Vec<_> = steps.map(|step| format!("{:?}", step.name)).collect();
    (!networks.is_empty() && !steps.is_empty()).then(|| (steps.join(", "), networks.join(", ")))
}

/// Reports a pipeline in which nobody could pass a `mutual-tls` step.
fn require_client_certificates(steps: &[Step], networks: &[&Network], origin: &Entry<'_>) {
    let Some(step) = steps.iter().find(|step| {
        let settings = step.kind.auth().map(|auth| &auth.settings);
        matches!(settings, Some(AuthSettings::MutualTls(_)))
    }) else {
        return;
    };
    let (asking, silent): (Vec<&Network>, Vec<&Network>) = networks.iter().partition(|network| {
        let tls = network.tls.as_ref();
        tls.is_some_and(|tls| tls.client_ca_path.is_some())
    });
    let Some(network) = silent.first() else {
        return;
    };
    let sentence = format!(
        "step {:?} needs client certificates, and network {:?} does not ask for any",
        step.name, network.name
    );
    if asking.is_empty() && step.enforce {
        origin.error_help(sentence, "set cert_path, key_path and client_ca_path there");
    } else {
        origin.warning(&sentence);
    }
}
