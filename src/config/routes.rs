//! No two pipelines claim one place: the same network, host and path prefix with a method in common.

use std::collections::HashMap;
use std::sync::Arc;

use super::entry::Entry;
use super::{Endpoint, Pipeline};

/// A network, a host (`None`: any) and a path prefix.
type Place<'p> = (&'p str, Option<&'p str>, &'p str);

/// Reports every place that two claim, at the second of them.
pub(super) fn check(pipelines: &[(Pipeline, Entry<'_>)]) {
    let mut claims: HashMap<Place<'_>, Vec<(&Arc<str>, &Endpoint)>> = HashMap::new();
    for (pipeline, entry) in pipelines {
        for endpoint in &pipeline.endpoints {
            for place in places(pipeline, endpoint) {
                let claimed = claims.entry(place).or_default();
                for (other, endpoint_of_other) in
                    claimed.iter().filter(|(_, other)| overlap(other, endpoint))
                {
                    let (network, host, prefix) = place;
                    let host = host
                        .map(|host| format!(" of host {host:?}"))
                        .unwrap_or_default();
                    let sentence = format!(
                        "endpoint {:?} claims {prefix:?}{host} on network {network:?}, and so does endpoint {:?} of pipeline {other:?}",
                        endpoint.name, endpoint_of_other.name
                    );
                    entry.error_help(
                        sentence,
                        "give one of them another path_prefix, hosts or methods",
                    );
                }
                claimed.push((&pipeline.name, endpoint));
            }
        }
    }
}

fn places<'p>(pipeline: &'p Pipeline, endpoint: &'p Endpoint) -> Vec<Place<'p>> {
    let mut hosts: Vec<Option<&str>> = endpoint
        .hosts
        .iter()
        .map(|host| Some(host.as_str()))
        .collect();
    if hosts.is_empty() {
        hosts.push(None);
    }
    let networks = pipeline.networks.iter();
    networks
        .flat_map(|network| {
            hosts
                .iter()
                .map(|host| (&**network, *host, endpoint.path_prefix.as_str()))
        })
        .collect()
}

/// No methods means every method.
fn overlap(one: &Endpoint, other: &Endpoint) -> bool {
    one.methods.is_empty()
        || other.methods.is_empty()
        || one
            .methods
            .iter()
            .any(|method| other.methods.contains(method))
}
