//! What each table of the file means: one file for each, or a directory where a table has much to
//! say. Every one reads its keys into the types of `model`.
//!
//! Not here: how a value is read (`reader`).

mod auth_steps;
mod authentications;
mod backends;
mod endpoints;
mod logging;
mod management;
mod middleware;
mod network;
mod owned;
mod pipelines;
mod policies;
mod proxy;
mod reach;
mod receivers;
mod revocations;
mod rules;
mod runbeam;
pub(crate) mod secrets;
mod shared;
mod tracing;
mod unsupported;
mod values;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::model::{Cloud, Config, ErrorKind, KeyPath, LoadError, Reach};
use crate::config::reader::{Document, Environment, Loading, Local, Reader};

pub(crate) use management::load_address as load_management_address;
pub(crate) use owned::OwnedPipelines;
pub(crate) use values::credential::{bcrypt_hash, is_subject};

/// Loads the local files; what `local` holds is not read again. Their texts come back.
///
/// # Errors
///
/// Every error in them.
pub(crate) fn load(
    path: &Path,
    env: &dyn Environment,
    local: Local,
) -> Result<(Config, Local), LoadError> {
    let loading = Loading::new(path, env, local);
    let config = document(path, &loading)
        .and_then(|document| build(&document, &OwnedPipelines::default(), &loading));
    match config {
        Some(config) if loading.is_clean() => Ok((config, loading.take_local())),
        // what was named is in the one or in the other
        config => {
            let (files, pipelines_dir) = config
                .map(|config| (config.files, config.pipelines_dir))
                .unwrap_or_else(|| (loading.take_files(), loading.take_pipelines()));
            Err(LoadError {
                files,
                pipelines_dir,
                errors: loading.into_errors(),
            })
        }
    }
}

/// The local files as one document.
pub(crate) fn document(path: &Path, loading: &Loading<'_>) -> Option<Document> {
    let mut document = main_document(path, loading)?;
    merge_pipelines(&mut document, loading);
    Some(document)
}

/// The main file alone.
fn main_document(path: &Path, loading: &Loading<'_>) -> Option<Document> {
    let text = match loading.read(path) {
        Ok(text) => text,
        Err(error) => {
            let kind = ErrorKind::Unreadable {
                what: "the file".to_owned(),
                why: error.to_string(),
            };
            loading.error(&loading.main_file(), &KeyPath::default(), kind);
            return None;
        }
    };
    Document::parse(path, &text, loading)
}

fn merge_pipelines(document: &mut Document, loading: &Loading<'_>) {
    let Some((directory, span)) = proxy::pipelines_directory(document, loading) else {
        return;
    };
    if let Err(error) = document.merge_directory(&directory, loading) {
        let kind = ErrorKind::Unreadable {
            what: "the directory".to_owned(),
            why: error.to_string(),
        };
        loading.error_help(
            &span,
            &KeyPath::from(["proxy", "pipelines_path"]),
            kind,
            "create it, or remove the key",
        );
        loading.incomplete();
    }
}

/// Builds the whole from its parts. What it returns counts only if nothing was reported.
pub(crate) fn build(
    document: &Document,
    owned: &OwnedPipelines,
    loading: &Loading<'_>,
) -> Option<Config> {
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
    let revocations = revocations::read(&root);
    let trusts = proxy.as_ref().is_none_or(|proxy| proxy.trusts);
    let tracing = tracing::read(&root);
    let audit_path = logging::audit_path(&root);
    let mut networks = network::read(&root, trusts);
    let management = management::read(&root, &networks);
    let of_management = management.as_ref().map(|management| &management.network);
    network::settle(&mut networks, of_management);
    let (runbeam, cloud_rights) = runbeam::read(&root, proxy.as_ref());
    let reach = Arc::new(Reach {
        management: management
            .as_ref()
            .and_then(|management| networks.address(&management.network)),
        allow: cloud_rights.backend_allow.clone(),
    });
    loading.set_reach(&reach);
    let authentications = authentications::read(&root, jwks_fresh);
    let surroundings = rules::Surroundings {
        trusts,
        shares: root.has("shared"),
    };
    let policies = policies::read(&root, surroundings);
    let store = shared::read(&root);
    let shared = middleware::Shared {
        authentications: &authentications,
        jwks_fresh,
        policies: &policies,
        sensitive_fields: proxy.as_ref().map_or(&[], |proxy| &*proxy.sensitive_fields),
    };
    let steps = middleware::read(&root, document, &shared, loading);
    let endpoints = endpoints::read(
        &root,
        &endpoints::Parts {
            authentications: &authentications,
            steps: &steps,
            jwks_fresh,
            max_body_size,
        },
    );
    let backends = backends::read(&root, &authentications);
    let parts = pipelines::Parts {
        networks: &networks,
        trusts,
        management: management
            .as_ref()
            .map(|management| management.network.clone()),
        endpoints: &endpoints,
        steps: &steps,
        backends: &backends,
    };
    let pipelines = pipelines::read(&root, &parts);
    pipelines::routes::check(&pipelines, owned);
    pipelines::header_names::check_claims(&pipelines, owned);
    steps.warn_unused(&root);
    authentications.warn_unused(&root);
    policies.warn_unused(&root);
    secrets::warn(document, loading);
    reach::check(&root, &pipelines, owned, management.as_ref(), &reach);
    root.finish();

    let proxy = proxy?;
    Some(Config {
        id: proxy.id,
        threads: proxy.threads,
        trusted_proxies: proxy.trusted_proxies,
        forwarded: proxy.forwarded,
        resolve_interval: proxy.resolve_interval,
        grace: proxy.grace,
        shutdown_delay: proxy.shutdown_delay,
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
        audit_path,
        shared: store,
        revocations,
        tracing,
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
