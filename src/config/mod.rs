//! Configuration: text, then what the user wrote with its place, then what the program uses.
//!
//! Reading in order: [`load`] parses the main file and its pipelines directory (`document`), then one reader for each group of tables builds its part of [`Config`]
//! (`proxy`, `network`, `management`, `runbeam`, `authentication`, `policies`, `step`, `endpoint`, `backend`, `pipeline`), and what holds between them is checked (`chain`, `exposure`, `routes`).
//! Every error is collected; nothing stops at the first one. Not here: key files and key sets (the auth room), and anything that listens.

mod address;
mod api_key;
mod authentication;
mod backend;
mod basic;
mod chain;
mod claims;
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
mod issuers;
mod jwt;
mod key_source;
mod listener_tls;
mod loading;
mod logging;
mod management;
mod model;
mod mutual_tls;
mod named;
mod network;
mod path;
mod pattern;
mod pipeline;
mod policies;
mod proxy;
mod reader;
mod routes;
mod rule;
mod runbeam;
mod step;
#[cfg(test)]
mod tests;
mod time_window;
mod token_place;
mod upstream;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

pub(crate) use credential::{bcrypt_hash, is_subject};
pub use error::{Error, ErrorKind, Errors};
pub use model::*;

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
/// Every error in them, in the order of files and lines. A file that is not TOML counts by its syntax errors only.
pub fn load(path: &Path, env: &dyn Environment) -> Result<Config, Errors> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &Zeroizing::new(text), env),
        Err(error) => {
            let kind = ErrorKind::Unreadable {
                what: "the file".to_owned(),
                why: error.to_string(),
            };
            Err(Error::new("", kind).at(path, None).into())
        }
    }
}

/// The same for a text at hand, as if it stood in a file at `path`.
///
/// # Errors
///
/// As [`load`].
pub fn parse(path: &Path, text: &str, env: &dyn Environment) -> Result<Config, Errors> {
    let loading = Loading::new(path, env);
    let config = Document::parse(path, text, &loading).and_then(|mut document| {
        merge_pipelines(&mut document, &loading);
        assemble(&document, &loading)
    });
    match config {
        Some(config) if loading.is_clean() => Ok(config),
        _ => Err(loading.into_errors()),
    }
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
    let runbeam = runbeam::read(&root, proxy.as_ref());
    let authentications = authentication::read(&root, jwks_fresh);
    let trusts = proxy
        .as_ref()
        .is_none_or(|proxy| !proxy.trusted_proxies.is_empty());
    let shared = step::Shared {
        authentications: &authentications,
        jwks_fresh,
        policies: &policies::read(&root, trusts),
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
    routes::check(&pipelines);
    root.finish();

    let proxy = proxy?;
    Some(Config {
        id: proxy.id,
        threads: proxy.threads,
        trusted_proxies: proxy.trusted_proxies,
        grace: proxy.grace,
        token_cache_bytes: proxy.token_cache_bytes,
        state_dir: proxy.state_dir,
        networks: networks
            .all
            .into_iter()
            .map(|(network, _)| network)
            .collect(),
        management,
        runbeam,
        logging,
        pipelines: pipelines
            .into_iter()
            .map(|(pipeline, _)| pipeline)
            .collect(),
        notes: loading.take_notes(),
        files: loading.take_files(),
    })
}
