//! No two pipelines claim one place: the same network, host and path prefix with a method in
//! common. And none from the cloud takes requests that one of the local files would get.
//!
//! A pipeline for preflights (`methods = ["OPTIONS"]`) may stand at the place of one that names no
//! methods, which has the others then.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use crate::config::model::{Endpoint, Pipeline, PrefixBoundary, Step};
use crate::config::reader::Entry;
use crate::config::tables::OwnedPipelines;

/// A network, a host (`None`: any) and a path prefix.
type Place<'p> = (&'p str, Option<&'p str>, &'p str);

/// Reports every place that two claim, at the second of them.
pub(crate) fn check(pipelines: &[(Pipeline, Entry<'_>)], owned: &OwnedPipelines) {
    let mut claims: HashMap<Place<'_>, Vec<Claim<'_>>> = HashMap::new();
    for (pipeline, entry) in pipelines {
        for endpoint in &pipeline.endpoints {
            for place in places(pipeline, endpoint) {
                let claimed = claims.entry(place).or_default();
                let claim = Claim {
                    pipeline: &pipeline.name,
                    endpoint,
                    cloud: owned.is_of_cloud(pipeline, entry),
                };
                for other in claimed.iter().filter(|other| other.meets(&claim)) {
                    let (network, host, prefix) = place;
                    let host = host
                        .map(|host| format!(" of host {host:?}"))
                        .unwrap_or_default();
                    let sentence = format!(
                        "endpoint {:?} claims {prefix:?}{host} on network {network:?}, and so \
                         does endpoint {:?} of pipeline {:?}",
                        endpoint.name, other.endpoint.name, other.pipeline
                    );
                    entry.error_help(
                        sentence,
                        "give one of them another path_prefix, hosts or methods",
                    );
                }
                claimed.push(claim);
            }
        }
    }
    check_documents(pipelines);
    let (cloud, local): (Vec<_>, Vec<_>) = pipelines
        .iter()
        .partition(|(pipeline, entry)| owned.is_of_cloud(pipeline, entry));
    for (pipeline, entry) in cloud {
        let others = local.iter().map(|(other, _)| other);
        let others = others.filter(|other| !owned.contains(&other.name));
        for other in others.filter(|other| takes_from(pipeline, other)) {
            entry.error_help(
                format!(
                    "takes requests of pipeline {:?} of the local files",
                    other.name
                ),
                "choose a path_prefix and hosts outside of it",
            );
        }
    }
}

/// Reports every document of a resource whose place is another one's, at the second of them.
fn check_documents(pipelines: &[(Pipeline, Entry<'_>)]) {
    let mut before: Vec<(&Pipeline, &str, Vec<String>)> = Vec::new();
    for (pipeline, entry) in pipelines {
        let Some(resource) = &pipeline.resource else {
            continue;
        };
        let (path, hosts) = (resource.document_path.as_str(), pipeline.hosts());
        let meet = |known: &[String]| match (known.is_empty(), hosts.is_empty()) {
            (false, false) => known.iter().any(|host| hosts.contains(host)),
            (one, other) => one == other,
        };
        for (other, other_path, other_hosts) in &before {
            let mut networks = other.networks.iter();
            let network = networks.any(|network| pipeline.networks.contains(network));
            if network && path == *other_path && meet(other_hosts) {
                entry.error_help(
                    format!(
                        "its resource is described at {path:?}, and so is that of pipeline {:?}",
                        other.name
                    ),
                    "give their endpoints different hosts, or their identifiers different paths",
                );
            }
        }
        before.push((pipeline, path, hosts));
    }
}

/// The place of a pipeline's document, as that of an endpoint.
fn document(pipeline: &Pipeline) -> Option<Endpoint> {
    let resource = pipeline.resource.as_ref()?;
    Some(Endpoint {
        path_prefix: resource.document_path.clone(),
        prefix_boundary: PrefixBoundary::Segment,
        hosts: pipeline.hosts(),
        ..pipeline.endpoints.first()?.clone()
    })
}

/// Whether some request that `local` would get goes to `cloud` instead. What is open at `/` is
/// there for what nobody else takes; what checks anything is not.
fn takes_from(cloud: &Pipeline, local: &Pipeline) -> bool {
    let guarded = |step: &Step| step.authenticates() || step.restricts();
    let guarded = local.steps.iter().any(guarded);
    let meet = |network| local.networks.contains(network);
    let (of_cloud, of_local) = (document(cloud), document(local));
    let mut of_local = local.endpoints.iter().chain(&of_local);
    cloud.networks.iter().any(meet)
        && of_local.any(|of_local| {
            let mut of_cloud = cloud.endpoints.iter().chain(&of_cloud);
            (guarded || of_local.path_prefix != "/")
                && of_cloud.any(|of_cloud| wins(of_cloud, of_local))
        })
}

/// Whether `one` is preferred to `other` for some request: a named host beats none, then the
/// longest prefix counts.
fn wins(one: &Endpoint, other: &Endpoint) -> bool {
    let below = is_below(one, other);
    let either = below || is_below(other, one);
    let mut pairs = hosts(one).flat_map(|of_one| hosts(other).map(move |it| (of_one, it)));
    pairs.any(|(of_one, of_other)| match preference(of_one, of_other) {
        Some(Ordering::Greater) => either,
        Some(Ordering::Equal) => below,
        Some(Ordering::Less) | None => false,
    })
}

/// The hosts of an endpoint; `None`: any.
fn hosts(endpoint: &Endpoint) -> impl Iterator<Item = Option<&str>> {
    let any = endpoint.hosts.is_empty().then_some(None);
    any.into_iter()
        .chain(endpoint.hosts.iter().map(|host| Some(host.as_str())))
}

/// Which of two hosts is preferred for a request that both fit; `None`: there is no such request.
/// An exact name beats `*.NAME`, of these the longest name wins, and all beat any host.
fn preference(one: Option<&str>, other: Option<&str>) -> Option<Ordering> {
    let (one, other) = match (one, other) {
        (Some(one), Some(other)) => (one, other),
        (one, other) => return Some(one.is_some().cmp(&other.is_some())),
    };
    let is_below = |host: &str, wildcard: &str| {
        let suffix = wildcard.strip_prefix('*');
        suffix.is_some_and(|suffix| host.trim_start_matches('*').ends_with(suffix))
    };
    match () {
        () if one == other => Some(Ordering::Equal),
        () if is_below(one, other) => Some(Ordering::Greater),
        () if is_below(other, one) => Some(Ordering::Less),
        () => None,
    }
}

/// Whether some path that begins with `prefix` belongs to `path`, or is refused because of it: a
/// path that two prefixes could be meant by is, where the one of the other spelling is longer.
fn is_below(path: &Endpoint, prefix: &Endpoint) -> bool {
    let below = |boundary: PrefixBoundary| {
        let mut segments = path.path_prefix.split('/');
        let mut wanted = prefix.path_prefix.split('/');
        let takes = |(of_prefix, of_path)| boundary.takes(of_prefix, of_path, false);
        let all = wanted.all(|of_prefix| segments.next().is_some_and(|it| takes((of_prefix, it))));
        all && (boundary == PrefixBoundary::Segment || segments.next().is_some())
    };
    prefix.path_prefix == "/" || below(PrefixBoundary::Segment) || below(path.prefix_boundary)
}

fn places<'p>(pipeline: &'p Pipeline, endpoint: &'p Endpoint) -> Vec<Place<'p>> {
    let networks = pipeline.networks.iter();
    networks
        .flat_map(|network| {
            hosts(endpoint).map(|host| (&**network, host, endpoint.path_prefix.as_str()))
        })
        .collect()
}

/// A pipeline's word that a place is its own.
struct Claim<'p> {
    pipeline: &'p Arc<str>,
    endpoint: &'p Endpoint,
    cloud: bool,
}

impl Claim<'_> {
    /// Whether both claim a method. No methods means every method, but for those of a preflight's
    /// pipeline of the same origin: the cloud must not take requests of local pipelines.
    fn meets(&self, other: &Self) -> bool {
        let (one, two) = (&self.endpoint.methods, &other.endpoint.methods);
        match (one.is_empty(), two.is_empty()) {
            (true, true) => true,
            (true, false) => self.cloud != other.cloud || !is_preflight(two),
            (false, true) => self.cloud != other.cloud || !is_preflight(one),
            (false, false) => one.iter().any(|method| two.contains(method)),
        }
    }
}

fn is_preflight(methods: &[Method]) -> bool {
    methods == [Method::OPTIONS]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Service;

    fn endpoint(path_prefix: &str, prefix_boundary: PrefixBoundary) -> Endpoint {
        Endpoint {
            name: "e".into(),
            service: Service::Http,
            path_prefix: path_prefix.to_owned(),
            strip_prefix: true,
            add_prefix: "/".to_owned(),
            prefix_boundary,
            hosts: Vec::new(),
            methods: Vec::new(),
            max_body_size: 0,
        }
    }

    #[test]
    fn which_host_is_preferred() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, expected) in [
            (None, None, Some(Equal)),
            (Some("a.b"), None, Some(Greater)),
            (Some("*.b"), None, Some(Greater)),
            (Some("a.b"), Some("a.b"), Some(Equal)),
            (Some("a.b"), Some("c.b"), None),
            (Some("a.b"), Some("*.b"), Some(Greater)),
            (Some("x.a.b"), Some("*.b"), Some(Greater)),
            (Some("b"), Some("*.b"), None),
            (Some("ab"), Some("*.b"), None),
            (Some("*.b"), Some("*.b"), Some(Equal)),
            (Some("*.a.b"), Some("*.b"), Some(Greater)),
            (Some("*.ab"), Some("*.b"), None),
            (Some("*.a"), Some("*.b"), None),
        ] {
            assert_eq!(preference(one, other), expected, "{one:?} {other:?}");
            let reversed = expected.map(Ordering::reverse);
            assert_eq!(preference(other, one), reversed, "{other:?} {one:?}");
        }
        assert_eq!(preference(None, Some("*.b")), Some(Less));
    }

    #[test]
    fn what_takes_paths_from_a_prefix() {
        use PrefixBoundary::{Segment, Word};
        for (one, boundary, other, below) in [
            ("/", Segment, "/", true),
            ("/a", Segment, "/", true),
            ("/", Word, "/a", false),
            ("/", Word, "/.a", false),
            ("/a", Segment, "/a", true),
            ("/A", Segment, "/a", true),
            ("/a/b", Segment, "/a", true),
            ("/A/b", Segment, "/a", true),
            ("/ab", Segment, "/a", false),
            ("/a", Segment, "/a/b", false),
            ("/a/longer", Segment, "/a.b", false),
            ("/a/longer", Word, "/a.b", true),
            ("/a", Word, "/a.b", false),
            ("/a/longer", Word, "/ab", false),
            ("/a/longer", Word, "/b", false),
        ] {
            let found = is_below(&endpoint(one, boundary), &endpoint(other, Segment));
            assert_eq!(found, below, "{one} {boundary:?} {other}");
        }
    }
}
