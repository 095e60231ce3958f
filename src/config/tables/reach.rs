//! What pipelines from the cloud may get at: no credential of the local files, and no address that
//! is out of the cloud's [`Reach`], as far as a text shows it. What names lead to is seen to where
//! they are resolved.
//!
//! The cloud may send requests anywhere, so whatever an upstream gets with them must be the cloud's
//! own.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::OwnedPipelines;
use super::values::address::HttpUrl;
use crate::config::model::{
    AuthSettings, Backend, BackendTarget, HeaderTemplate, IntrospectionClient,
    IntrospectionEndpoint, KeySource, Management, Pipeline, Reach, Unreachable, UpstreamUrl,
    default_port,
};
use crate::config::reader::{Entry, Reader};

const NOT_FOR_THE_CLOUD: &str = "nothing that comes from the cloud may reach it";

/// Reports what they must not get at.
pub(crate) fn check(
    root: &Reader<'_>,
    pipelines: &[(Pipeline, Entry<'_>)],
    owned: &OwnedPipelines,
    management: Option<&Management>,
    reach: &Reach,
) {
    for group in ["backends", "targets"] {
        for (_, entry) in root.group(group) {
            if entry.span().cloud {
                own_credential(root, &entry);
            }
        }
    }
    let hosts: &[String] = management.map_or(&[], |management| &management.hosts);
    let of_cloud = |(pipeline, entry): &&(Pipeline, Entry<'_>)| owned.is_of_cloud(pipeline, entry);
    for (pipeline, entry) in pipelines.iter().filter(of_cloud) {
        if let Some((step, key, why)) = fetches_from(pipeline, hosts) {
            entry.error_help(
                format!("has a step, {step:?}, whose {key} points at {why}"),
                NOT_FOR_THE_CLOUD,
            );
        }
        let mut rules = pipeline
            .steps
            .iter()
            .filter_map(|step| Some((step, step.header_rules()?)));
        let secret = rules.find(|(_, rules)| rules.templates().any(HeaderTemplate::is_sensitive));
        let is_own = |backend: &Backend| {
            let written = find(root, "backends", &backend.name);
            owned.has(&pipeline.name, &backend.name) && !written.is_some_and(|it| it.span().cloud)
        };
        if let Some((step, _)) = secret
            && !pipeline.backends.iter().all(is_own)
        {
            entry.error_help(
                format!(
                    "step {:?} sets a header from a reference of the local files, which is not \
                     for an upstream that the cloud names",
                    step.name
                ),
                "define a step of its own",
            );
        }
        for backend in &pipeline.backends {
            let written = find(root, "backends", &backend.name).filter(|entry| entry.span().cloud);
            let had = owned.has(&pipeline.name, &backend.name);
            if written.is_none() && has_credential(backend) && !had {
                entry.error_help(
                    format!(
                        "backend {:?} of the local files gets a credential, which is not for \
                         a pipeline from the cloud",
                        backend.name
                    ),
                    "define a backend of its own",
                );
            }
            if let Some(why) = points_at(backend, reach, hosts) {
                written
                    .as_ref()
                    .unwrap_or(entry)
                    .error_help(format!("points at {why}"), NOT_FOR_THE_CLOUD);
            }
        }
    }
}

/// Reports a reference to a credential, or to a target with one, that stands in the local files.
fn own_credential(root: &Reader<'_>, entry: &Entry<'_>) {
    let refuse = |written: &Entry<'_>| {
        written.error_help(
            "is a credential of the local files, which is not for an upstream that the cloud names",
            "define [authentications.NAME] beside it",
        );
    };
    // What a changed table of the local files has kept of them leads where they say.
    let of_cloud = |written: &Entry<'_>| written.span().cloud;
    if let Some(written) = setting(entry, "authentication").filter(of_cloud)
        && let Some(name) = written.text()
        && is_local(
            root,
            "authentications",
            name.strip_prefix("authentications.").unwrap_or(&name),
        )
    {
        refuse(&written);
    }
    if let Some(written) = setting(entry, "target_ref").filter(of_cloud)
        && let Some(name) = written.text()
        && let Some(target) = find(
            root,
            "targets",
            name.strip_prefix("targets.").unwrap_or(&name),
        )
        && !target.span().cloud
        && setting(&target, "authentication").is_some()
    {
        refuse(&written);
    }
}

/// A key of a table or of its options.
fn setting<'a>(entry: &Entry<'a>, key: &'static str) -> Option<Entry<'a>> {
    let mut reader = entry.is_table().then(|| entry.table())??;
    reader.flatten("options");
    reader.get(key)
}

fn is_local(root: &Reader<'_>, group: &'static str, name: &str) -> bool {
    find(root, group, name).is_some_and(|entry| !entry.span().cloud)
}

fn find<'a>(root: &Reader<'a>, group: &'static str, name: &str) -> Option<Entry<'a>> {
    let group = root.get(group).filter(Entry::is_table)?;
    let entries = group.table()?.entries();
    let found = entries.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, entry)| entry)
}

fn has_credential(backend: &Backend) -> bool {
    matches!(&backend.target, BackendTarget::Http(http) if http.credential.is_some())
}

/// Why an upstream must not be connected to, as far as its URL says it by itself.
fn points_at(backend: &Backend, reach: &Reach, hosts: &[String]) -> Option<Unreachable> {
    let BackendTarget::Http(http) = &backend.target else {
        return None;
    };
    let mut upstreams = http.upstreams.iter();
    upstreams.find_map(|url: &UpstreamUrl| match &url.socket {
        Some(_) => Some(Unreachable::UnixSocket),
        None => is_at(&url.host, url.port, reach, hosts),
    })
}

/// The same for the URLs of its steps; those of the local files, which it may use, are the
/// operator's business.
fn fetches_from(
    pipeline: &Pipeline,
    hosts: &[String],
) -> Option<(Arc<str>, &'static str, Unreachable)> {
    let mut steps = pipeline.steps.iter();
    steps.find_map(|step| {
        let mut addresses = Vec::new();
        match &step.kind.auth()?.settings {
            AuthSettings::Jwt(jwt) => {
                addresses.extend(
                    jwt.issuers
                        .iter()
                        .filter_map(|issuer| keys_from(&issuer.keys)),
                );
                addresses.extend(jwt.introspection.as_ref().and_then(asked_at));
            }
            AuthSettings::Introspection(step) => addresses.extend(asked_at(&step.client)),
            _ => {}
        }
        addresses.into_iter().find_map(|(key, url, reach)| {
            let url = HttpUrl::parse(url).ok()?;
            let port = url.port.unwrap_or(default_port(url.tls));
            Some((
                step.name.clone(),
                key,
                is_at(&url.host, port, reach, hosts)?,
            ))
        })
    })
}

/// A key, the URL that stands there, and what may be connected to for it.
type Address<'a> = (&'static str, &'a str, &'a Reach);

fn keys_from(source: &KeySource) -> Option<Address<'_>> {
    match source {
        KeySource::JwksUrl(source) => Some(("jwks_url", &source.url, source.reach.as_ref()?)),
        KeySource::Discovery(source) => Some(("issuer", &source.issuer, source.reach.as_ref()?)),
        _ => None,
    }
}

fn asked_at(client: &IntrospectionClient) -> Option<Address<'_>> {
    match &client.endpoint {
        IntrospectionEndpoint::Url { url, reach } => {
            Some(("introspection_url", url, reach.as_ref()?))
        }
        IntrospectionEndpoint::Discovery(source) => {
            Some(("issuer", &source.issuer, source.reach.as_ref()?))
        }
    }
}

/// What a name leads to is looked at when it is resolved.
fn is_at(host: &str, port: u16, reach: &Reach, hosts: &[String]) -> Option<Unreachable> {
    match host.parse::<IpAddr>() {
        Ok(ip) => reach.check(SocketAddr::new(ip, port)).err(),
        Err(_) => {
            let own = host == "localhost"
                || host.ends_with(".localhost")
                || hosts.iter().any(|known| known == host);
            let management = reach.management.is_some_and(|own| own.port() == port);
            (own && management).then_some(Unreachable::Management)
        }
    }
}
