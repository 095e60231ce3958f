//! What pipelines from the cloud may get at: no credential of the local files, and not the
//! Management API.
//!
//! The cloud may send requests anywhere, so whatever an upstream gets with them must be the cloud's
//! own.

use std::net::{IpAddr, SocketAddr};

use super::super::address::HttpUrl;
use super::super::entry::Entry;
use super::super::network::Networks;
use super::super::reader::Reader;
use super::super::{
    Backend, BackendTarget, Bind, KeySource, Management, Pipeline, StepKind, UpstreamUrl,
};

/// Reports what they must not get at.
pub(in super::super) fn check(
    root: &Reader<'_>,
    pipelines: &[(Pipeline, Entry<'_>)],
    management: Option<&Management>,
    networks: &Networks<'_>,
) {
    for group in ["backends", "targets"] {
        for (_, entry) in root.group(group) {
            if entry.place().cloud {
                own_credential(root, &entry);
            }
        }
    }
    let listener = management.and_then(|management| {
        let all = networks.all.iter().map(|(network, _)| network);
        match all
            .into_iter()
            .find(|network| network.name == management.network)?
            .bind
        {
            Bind::Tcp(address) => Some((address, &*management.hosts)),
            Bind::Unix(_) => None,
        }
    });
    for (pipeline, entry) in pipelines.iter().filter(|(_, entry)| entry.place().cloud) {
        if listener.is_some_and(|(address, hosts)| fetches_from(pipeline, address, hosts)) {
            entry.error_help(
                "has a step whose jwks_url points at the Management API",
                "nothing that comes from the cloud may reach it",
            );
        }
        for backend in &pipeline.backends {
            let written = find(root, "backends", &backend.name).filter(|entry| entry.place().cloud);
            if written.is_none() && has_credential(backend) {
                entry.error_help(
                    format!("backend {:?} of the local files gets a credential, which is not for a pipeline from the cloud", backend.name),
                    "define a backend of its own",
                );
            }
            if listener.is_some_and(|(address, hosts)| points_at(backend, address, hosts)) {
                written.as_ref().unwrap_or(entry).error_help(
                    "points at the Management API",
                    "nothing that comes from the cloud may reach it",
                );
            }
        }
    }
}

/// Whether a connection to `address` ends at the listener `management`, as far as the two say by
/// themselves.
pub fn reaches(address: SocketAddr, management: SocketAddr) -> bool {
    let ip = plain(address.ip());
    let listens = plain(management.ip());
    let here = ip.is_loopback() || ip.is_unspecified();
    let all = listens.is_loopback() || listens.is_unspecified();
    address.port() == management.port() && (ip == listens || here && all)
}

/// An IPv4 address in IPv6 clothes is what it is.
fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6)
            if v6.segments()[..6] == [0; 6] && !v6.is_loopback() && !v6.is_unspecified() =>
        {
            v6.to_ipv4().map_or(ip, IpAddr::V4)
        }
        _ => ip.to_canonical(),
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
    if let Some(written) = setting(entry, "authentication")
        && let Some(name) = written.text()
        && is_local(
            root,
            "authentications",
            name.strip_prefix("authentications.").unwrap_or(&name),
        )
    {
        refuse(&written);
    }
    if let Some(written) = setting(entry, "target_ref")
        && let Some(name) = written.text()
        && let Some(target) = find(
            root,
            "targets",
            name.strip_prefix("targets.").unwrap_or(&name),
        )
        && !target.place().cloud
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
    find(root, group, name).is_some_and(|entry| !entry.place().cloud)
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

fn points_at(backend: &Backend, management: SocketAddr, hosts: &[String]) -> bool {
    let BackendTarget::Http(http) = &backend.target else {
        return false;
    };
    let points =
        |UpstreamUrl { host, port, .. }: &UpstreamUrl| is_at(host, *port, management, hosts);
    http.upstreams.iter().any(points)
}

/// Whether a key set of one of its steps is to come from there.
fn fetches_from(pipeline: &Pipeline, management: SocketAddr, hosts: &[String]) -> bool {
    let steps = pipeline.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Jwt(step) => Some(&step.settings.issuers),
        _ => None,
    });
    steps.flatten().any(|issuer| {
        let KeySource::JwksUrl(source) = &issuer.keys else {
            return false;
        };
        HttpUrl::parse(&source.url).is_ok_and(|url| {
            let port = url.port.unwrap_or(if url.tls { 443 } else { 80 });
            is_at(&url.host, port, management, hosts)
        })
    })
}

fn is_at(host: &str, port: u16, management: SocketAddr, hosts: &[String]) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => reaches(SocketAddr::new(ip, port), management),
        Err(_) => {
            let own = host == "localhost"
                || host.ends_with(".localhost")
                || hosts.iter().any(|known| known == host);
            own && port == management.port()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reaches;

    #[test]
    fn addresses_of_one_listener() {
        for (address, management, expected) in [
            ("127.0.0.1:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9091", "127.0.0.1:9090", false),
            ("127.9.9.9:9090", "127.0.0.1:9090", true),
            ("0.0.0.0:9090", "127.0.0.1:9090", true),
            ("[::]:9090", "127.0.0.1:9090", true),
            ("[::1]:9090", "127.0.0.1:9090", true),
            ("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090", true),
            ("[::127.0.0.1]:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9090", "0.0.0.0:9090", true),
            ("127.0.0.1:9090", "[::]:9090", true),
            ("10.0.0.5:9090", "10.0.0.5:9090", true),
            ("[::ffff:10.0.0.5]:9090", "10.0.0.5:9090", true),
            ("127.0.0.1:9090", "10.0.0.5:9090", false),
            ("10.0.0.6:9090", "10.0.0.5:9090", false),
            ("10.0.0.6:9090", "127.0.0.1:9090", false),
        ] {
            let reached = reaches(address.parse().unwrap(), management.parse().unwrap());
            assert_eq!(reached, expected, "{address} {management}");
        }
    }
}
