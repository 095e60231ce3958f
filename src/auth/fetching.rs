//! What is fetched from issuers, in the terms of [`jose`].

use std::sync::Arc;

use jose::{AddressFilter, IssuerUrl, KeySetUrl};

use crate::config::{Discovery, JwksUrl, Reach};

/// What issuers are told of who asks.
pub(super) const USER_AGENT: &str = concat!("harmony-edge/", env!("CARGO_PKG_VERSION"));

/// The settings of a key set as `jose` takes them.
pub(super) fn key_set_url(settings: &JwksUrl) -> KeySetUrl {
    KeySetUrl {
        url: settings.url.clone(),
        fresh: settings.fresh,
        max_stale: settings.max_stale,
        cooldown: settings.cooldown,
        addresses: addresses(settings.reach.as_ref()),
    }
}

/// The settings of an issuer's document as `jose` takes them.
pub(super) fn issuer_url(settings: &Discovery) -> IssuerUrl {
    IssuerUrl {
        issuer: settings.issuer.clone(),
        tenants: settings.tenants.clone(),
        fresh: settings.fresh,
        max_stale: settings.max_stale,
        cooldown: settings.cooldown,
        addresses: addresses(settings.reach.as_ref()),
    }
}

/// What may be connected to.
pub(super) fn addresses(reach: Option<&Arc<Reach>>) -> Option<AddressFilter> {
    let reach = reach?.clone();
    Some(AddressFilter::new(format!("{reach:?}"), move |address| {
        reach.check(address).map_err(|why| {
            let ip = address.ip();
            format!("a configuration from the cloud may not connect to {ip}: {why}")
        })
    }))
}
