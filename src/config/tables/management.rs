//! `[management]`: the Management API, and who may reach it.

use std::path::Path;

use ipnet::IpNet;

use super::network::{self, Networks};
use super::values::credential;
use super::values::{address, path};
use crate::config::model::{Bind, Errors, Management, ManagementAddress};
use crate::config::reader::{Document, Entry, Environment, Loading, Local, Reader};

/// The default of `base_path`.
const DEFAULT_PATH: &str = "/admin";

/// Reads of the file what whoever calls the Management API has to know, and nothing else: what the
/// rest refers to (`${NAME}`) may be there for the process alone. `None`: the API is off.
///
/// # Errors
///
/// What is wrong with the file's form, with the address, or with its network.
pub(crate) fn load_address(
    path: &Path,
    env: &dyn Environment,
    local: Local,
) -> Result<Option<ManagementAddress>, Errors> {
    let loading = Loading::new(path, env, local);
    let document = super::main_document(path, &loading);
    let found = document.and_then(|document| read_address(&document, &loading));
    if loading.is_clean() {
        Ok(found)
    } else {
        Err(loading.into_errors())
    }
}

fn read_address(document: &Document, loading: &Loading<'_>) -> Option<ManagementAddress> {
    let root = Reader::root(document, loading);
    let reader = root.get("management")?.table()?;
    if !reader.flag("enabled", false) {
        return None;
    }
    let base_path = match reader.get("base_path") {
        Some(entry) => base_path(&entry)?,
        None => DEFAULT_PATH.to_owned(),
    };
    let Some(entry) = reader.get("network") else {
        reader.missing("network", "name a network: network = \"management\"");
        return None;
    };
    let network = network::find(&root, &entry)?;
    Some(ManagementAddress { base_path, network })
}

/// Reads `[management]`; `None` when it is absent, disabled or without a network.
pub(crate) fn read(root: &Reader<'_>, networks: &Networks<'_>) -> Option<Management> {
    let reader = root.get("management")?.table()?;
    let enabled = reader.flag("enabled", false);
    let base_path = reader.get("base_path").and_then(|entry| base_path(&entry));
    let hosts = reader
        .get("hosts")
        .map(|entry| address::hosts(&entry, false))
        .unwrap_or_default();
    let token_hash = reader
        .get("token_hash")
        .map(|entry| token_hash(&entry).unwrap_or_default());
    let allow_from = reader.get("allow_from").map(|entry| {
        let ranges = address::ranges(&entry);
        if !ranges.is_empty() {
            warn_of_callers(&entry, &ranges, token_hash.is_some());
        }
        ranges
    });
    let network = reader.get("network");
    if network.is_none() && enabled {
        reader.missing(
            "network",
            "name a network of its own: network = \"management\"",
        );
    }
    let network = network.and_then(|entry| networks.named.resolve(&entry.text()?, &entry).cloned());
    reader.finish();
    let network = network.filter(|_| enabled)?;
    let allow_from = allow_from.unwrap_or_default();
    if allow_from.is_empty() && token_hash.is_none() {
        refuse_unprotected(networks, &network);
    }
    let base_path = base_path.unwrap_or_else(|| DEFAULT_PATH.to_owned());
    Some(Management {
        base_path,
        network,
        hosts,
        allow_from,
        token_hash,
    })
}

fn warn_of_callers(entry: &Entry<'_>, ranges: &[IpNet], credential: bool) {
    let ranges: Vec<_> = ranges.iter().map(ToString::to_string).collect();
    let credential = if credential {
        ""
    } else {
        " without a credential"
    };
    let sentence = format!(
        "the Management API can be called from {}{credential}: it can replace the configuration",
        ranges.join(", ")
    );
    entry.warning(&sentence);
}

/// `admin`, with or without slashes, as `/admin`.
fn base_path(entry: &Entry<'_>) -> Option<String> {
    let text = entry.text()?;
    let path = path::canonical(&format!("/{}", text.strip_prefix('/').unwrap_or(&text)));
    match path {
        Ok(path) if path == "/" => {
            entry.error_help("must name a path", "write \"admin\"");
            None
        }
        Ok(path) => Some(path),
        Err(why) => {
            entry.error(why.into_owned());
            None
        }
    }
}

/// 64 hexadecimal digits, with or without `sha256:`.
pub(super) fn token_hash(entry: &Entry<'_>) -> Option<[u8; 32]> {
    let text = entry.text()?;
    let hash = credential::hex32(text.strip_prefix("sha256:").unwrap_or(&text));
    if hash.is_none() {
        entry.error_help(
            "must be a SHA-256 in 64 hexadecimal digits",
            "make it with `harmony-edge hash-key`",
        );
    }
    hash
}

/// It can replace the credentials and the configuration, so it stays on this machine unless
/// something else protects it.
fn refuse_unprotected(networks: &Networks<'_>, name: &str) {
    let Some((network, entry)) = networks
        .all
        .iter()
        .find(|(network, _)| &*network.name == name)
    else {
        return;
    };
    let local = match &network.bind {
        Bind::Tcp(address) => address.ip().is_loopback(),
        Bind::Unix(_) => true,
    };
    let asks = network
        .tls
        .as_ref()
        .is_some_and(|tls| tls.client_ca_path.is_some());
    if !local && !asks {
        let sentence = format!(
            "network {name:?} carries the Management API and can be reached from other machines"
        );
        let help = "bind it to \"127.0.0.1\" or \"unix:/run/harmony-edge/admin.sock\", or set \
                    token_hash or allow_from in [management], or client_ca_path on the network";
        entry.error_help(sentence, help);
    }
}
