//! Configuration: text, then what the user wrote with its place, then what the program uses.
//!
//! `reader` turns the main file and its pipelines directory into values with their places, `tables`
//! reads each table of them into the types of `model`, `cloud` merges what Runbeam Cloud sent into
//! the local document, and is the way back (`cloud::upload`). Every error is collected; nothing
//! stops at the first one. Not here: key files and key sets (the auth room), and anything that
//! listens.

mod cloud;
mod model;
mod reader;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use cloud::change_name;
pub use cloud::upload::Upload;
pub use cloud::{Cloud, CloudText, SetAside};
pub use model::*;
pub use reader::local::{Failed, Local, Source, toml_files};
pub(crate) use tables::middleware::credential::{bcrypt_hash, is_subject};

use reader::{Document, Loading, Reader};
use tables::pipelines::{Parts, routes};
use tables::{
    authentications, backends, endpoints, logging, management, middleware, network, pipelines,
    policies, proxy, reach, runbeam, secrets, unsupported,
};

/// Where references and defaults get environment variables from, so that a test passes a map.
pub trait Environment {
    /// The value of a variable; `None` if it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// Reads, fills in and checks the file at `path` and its pipelines directory.
///
/// # Errors
///
/// Every error in them, in the order of files and lines. A file that is not TOML counts by its
/// syntax errors only.
pub fn load(path: &Path, env: &dyn Environment) -> Result<Config, Errors> {
    load_with(path, env, Local::default())
}

/// The same for a text at hand, as if it stood in a file at `path`.
///
/// # Errors
///
/// As [`load`].
pub fn parse(path: &Path, text: &str, env: &dyn Environment) -> Result<Config, Errors> {
    load_with(path, env, Local::of(path, text))
}

fn load_with(path: &Path, env: &dyn Environment, local: Local) -> Result<Config, Errors> {
    let loaded = cloud::load(path, env, local, &[]);
    loaded
        .map(|(config, _)| config)
        .map_err(|failed| failed.errors)
}

/// The local files as one document.
fn local_document(path: &Path, loading: &Loading<'_>) -> Option<Document> {
    let text = match loading.read(path) {
        Ok(text) => text,
        Err(error) => {
            let kind = ErrorKind::Unreadable {
                what: "the file".to_owned(),
                why: error.to_string(),
            };
            loading.error(&loading.main_file(), "", kind);
            return None;
        }
    };
    let mut document = Document::parse(path, &text, loading)?;
    merge_pipelines(&mut document, loading);
    Some(document)
}

fn merge_pipelines(document: &mut Document, loading: &Loading<'_>) {
    let Some((directory, place)) = proxy::pipelines_directory(document, loading) else {
        return;
    };
    if let Err(error) = document.merge_directory(&directory, loading) {
        let kind = ErrorKind::Unreadable {
            what: "the directory".to_owned(),
            why: error.to_string(),
        };
        loading.error_help(
            &place,
            "proxy.pipelines_path",
            kind,
            "create it, or remove the key",
        );
        loading.incomplete();
    }
}

/// Builds the whole from its parts. What it returns counts only if nothing was reported.
fn assemble(document: &Document, loading: &Loading<'_>) -> Option<Config> {
    let root = Reader::root(document, loading);
    unsupported::tables(&root);
    let proxy = proxy::read(&root);
    let (jwks_fresh, max_body_size) = proxy.as_ref().map_or((Duration::ZERO, 0), |proxy| {
        (proxy.jwks_fresh, proxy.max_body_size)
    });
    let logging = logging::read(
        &root,
        proxy.as_ref().and_then(|proxy| proxy.log_level.clone()),
    );
    let mut networks = network::read(&root);
    let management = management::read(&root, &networks);
    let of_management = management.as_ref().map(|management| &management.network);
    network::tls::settle(&mut networks, of_management);
    let (runbeam, cloud_rights) = runbeam::read(&root, proxy.as_ref());
    let reach = Arc::new(Reach {
        management: management
            .as_ref()
            .and_then(|management| networks.address(&management.network)),
        allow: cloud_rights.backend_allow.clone(),
    });
    loading.set_reach(&reach);
    let authentications = authentications::read(&root, jwks_fresh);
    let trusts = proxy
        .as_ref()
        .is_none_or(|proxy| !proxy.trusted_proxies.is_empty());
    let policies = policies::read(&root, trusts);
    let shared = middleware::Shared {
        authentications: &authentications,
        jwks_fresh,
        policies: &policies,
        sensitive_fields: proxy.as_ref().map_or(&[], |proxy| &*proxy.sensitive_fields),
    };
    let steps = middleware::read(&root, document, &shared, loading);
    let endpoints = endpoints::read(&root, &authentications, max_body_size);
    let backends = backends::read(&root, &authentications);
    let parts = Parts {
        networks: &networks,
        management: management
            .as_ref()
            .map(|management| management.network.clone()),
        endpoints: &endpoints,
        steps: &steps,
        backends: &backends,
    };
    let pipelines = pipelines::read(&root, &parts);
    routes::check(&pipelines, &loading.owned());
    steps.warn_unused(&root);
    authentications.warn_unused(&root);
    policies.warn_unused(&root);
    secrets::warn(document, loading);
    reach::check(&root, &pipelines, management.as_ref(), &reach);
    root.finish();

    let proxy = proxy?;
    Some(Config {
        id: proxy.id,
        threads: proxy.threads,
        trusted_proxies: proxy.trusted_proxies,
        grace: proxy.grace,
        max_upstream_connections: proxy.max_upstream_connections,
        token_cache_bytes: proxy.token_cache_bytes,
        state_dir: proxy.state_dir,
        watch_files: proxy.watch_files,
        networks: networks
            .all
            .into_iter()
            .map(|(network, _)| network)
            .collect(),
        management,
        runbeam,
        cloud_rights,
        reach,
        logging,
        pipelines: pipelines
            .into_iter()
            .map(|(pipeline, _)| pipeline)
            .collect(),
        notes: loading.take_notes(),
        files: loading.take_files(),
        pipelines_dir: loading.take_pipelines(),
        cloud: Cloud::default(),
    })
}
