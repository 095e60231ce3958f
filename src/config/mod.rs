//! Configuration: text, then what the user wrote with its place, then what the program uses.
//!
//! Reading in order: [`load`] parses the main file and its pipelines directory (`document`), then
//! one reader for each group of tables builds its part of [`Config`] (`proxy`, `network`,
//! `management`, `runbeam`, `authentication`, `policies`, `step`, `endpoint`, `backend`,
//! `pipeline`), and what holds between them is checked (`chain`, `exposure`, `routes`). `local`
//! holds the texts of the files, `cloud` adds what Runbeam Cloud sent, `upload` is the way back.
//! Every error is collected; nothing stops at the first one. Not here: key files and key sets (the
//! auth room), and anything that listens.

mod address;
mod api_key;
mod authentication;
mod backend;
mod balance;
mod basic;
mod chain;
mod claims;
mod cloud;
mod comparison;
mod credential;
mod document;
mod endpoint;
mod entry;
mod error;
mod exposure;
mod fill;
mod filter;
mod foreign;
mod hint;
mod issuers;
mod jwt;
mod key_source;
mod listener_tls;
mod loading;
mod local;
mod logging;
mod management;
mod model;
mod mutual_tls;
mod named;
mod near;
mod network;
mod open;
mod path;
mod pattern;
mod pipeline;
mod policies;
mod proxy;
mod reach;
mod reader;
mod routes;
mod rule;
mod runbeam;
mod secrets;
mod step;
mod syntax;
#[cfg(test)]
mod tests;
mod time_window;
mod token_place;
mod upload;
mod upstream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use cloud::change_name;
pub use cloud::{Cloud, CloudText, SetAside};
pub(crate) use credential::{bcrypt_hash, is_subject};
pub use error::{Error, ErrorKind, Errors};
pub use local::{Failed, Local, Source, toml_files};
pub use model::*;
pub use reach::{Reach, Unreachable};
pub use upload::Upload;

use document::Document;
use loading::Loading;
use pipeline::Parts;
use reader::Reader;

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
    reader::tables_of_others(&root);
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
    listener_tls::settle(&mut networks, of_management);
    let (runbeam, cloud_rights) = runbeam::read(&root, proxy.as_ref());
    let reach = Arc::new(Reach {
        management: management
            .as_ref()
            .and_then(|management| networks.address(&management.network)),
        allow: cloud_rights.backend_allow.clone(),
    });
    loading.set_reach(&reach);
    let authentications = authentication::read(&root, jwks_fresh);
    let trusts = proxy
        .as_ref()
        .is_none_or(|proxy| !proxy.trusted_proxies.is_empty());
    let policies = policies::read(&root, trusts);
    let shared = step::Shared {
        authentications: &authentications,
        jwks_fresh,
        policies: &policies,
        sensitive_fields: proxy.as_ref().map_or(&[], |proxy| &*proxy.sensitive_fields),
    };
    let steps = step::read(&root, document, &shared, loading);
    let endpoints = endpoint::read(&root, &authentications, max_body_size);
    let backends = backend::read(&root, &authentications);
    let parts = Parts {
        networks: &networks,
        management: management
            .as_ref()
            .map(|management| management.network.clone()),
        endpoints: &endpoints,
        steps: &steps,
        backends: &backends,
    };
    let pipelines = pipeline::read(&root, &parts);
    routes::check(&pipelines, &loading.owned());
    steps.warn_unused(&root);
    authentications.warn_unused(&root);
    policies.warn_unused(&root);
    secrets::warn(document, loading);
    cloud::check_reach(&root, &pipelines, management.as_ref(), &reach);
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
