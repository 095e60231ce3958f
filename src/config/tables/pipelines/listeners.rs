//! What the steps of a pipeline need of the listeners that lead to it.
//!
//! A password or a key that crosses a network unprotected is allowed, with a warning: a token is
//! short-lived, and whoever overhears a password or a key has it for good.

use crate::config::model::{AuthSettings, Bind, Network, Step};
use crate::config::reader::Entry;

/// Reports what the listeners lack, where the steps are listed.
pub(super) fn check(steps: &[Step], networks: &[&Network], origin: &Entry<'_>) {
    warn_of_exposed_credentials(steps, networks, origin);
    require_client_certificates(steps, networks, origin);
}

/// Warns of steps whose credential comes over a listener without TLS that other machines can reach.
fn warn_of_exposed_credentials(steps: &[Step], networks: &[&Network], origin: &Entry<'_>) {
    let exposed: Vec<String> = networks
        .iter()
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
    if asking.is_empty() {
        origin.error_help(sentence, "set cert_path, key_path and client_ca_path there");
    } else {
        origin.warning(&sentence);
    }
}
