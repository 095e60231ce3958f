//! The issuers that are asked about tokens, by how they are asked. They outlive configurations: a
//! reload finds what the one before has asked.

use std::fmt;
use std::sync::Arc;

use jose::{AddressFilter, KeySets};
use reqwest::Url;

use super::client::{Client, Endpoint};
use super::counters::{Counters, IntrospectionStatus};
use super::introspector::Introspector;
use crate::auth::error::BuildCause;
use crate::auth::fetching::{self, USER_AGENT};
use crate::common::WeakMap;
use crate::config::{IntrospectionClient, IntrospectionEndpoint};

/// Those that are asked, by their settings, and what all of them count. A clone is the same.
#[derive(Clone, Default)]
pub(crate) struct Introspections {
    known: Arc<WeakMap<IntrospectionClient, Introspector>>,
    counters: Arc<Counters>,
}

impl Introspections {
    /// The one with these settings; made now where there is none.
    pub(crate) fn of(
        &self,
        settings: &IntrospectionClient,
        key_sets: &KeySets,
    ) -> Result<Arc<Introspector>, BuildCause> {
        let (endpoint, addresses) = endpoint(&settings.endpoint, key_sets)?;
        Ok(self.known.get_or_make(settings.clone(), |settings| {
            let client = Client::new(settings, endpoint, addresses, USER_AGENT);
            Arc::new(Introspector::new(client, settings, self.counters.clone()))
        }))
    }

    /// How the questions stand.
    pub(crate) fn status(&self) -> IntrospectionStatus {
        self.counters.status()
    }
}

/// Where the questions go, and what may be connected to for them.
fn endpoint(
    settings: &IntrospectionEndpoint,
    key_sets: &KeySets,
) -> Result<(Endpoint, Option<AddressFilter>), BuildCause> {
    Ok(match settings {
        IntrospectionEndpoint::Url { url, reach } => (
            Endpoint::Url(Url::parse(url).map_err(|_| BuildCause::IntrospectionUrl)?),
            fetching::addresses(reach.as_ref()),
        ),
        IntrospectionEndpoint::Discovery(issuer) => (
            Endpoint::Discovered(key_sets.discover(&fetching::issuer_url(issuer))),
            fetching::addresses(issuer.reach.as_ref()),
        ),
    })
}

impl fmt::Debug for Introspections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status().fmt(f)
    }
}
