//! What Runbeam Cloud adds to the local files: pipelines and what belongs to them, as texts that
//! are merged into the local document.
//!
//! The local files win. What cannot serve beside them is quarantined with its reasons, together
//! with what refers to it, and the rest serves. `validate` says what a text may hold, `same`
//! whether a table says what the local one says, `owned` which local tables the cloud may change;
//! what its pipelines may connect to is checked with all others (`tables`). Not here: keeping the
//! texts (the gateway room).

mod overlay;
mod owned;
mod quarantine;
mod same;
mod text;
mod upload;
mod validate;

use std::path::Path;

use crate::config::model::{Cloud, Config};
use crate::config::reader::{Environment, Loading, Local};
use crate::config::tables;
use quarantine::Quarantine;
use same::Comparison;

pub use text::CloudText;
pub use upload::Upload;
pub(crate) use upload::text as upload;

/// How often what is left is tried after something was quarantined. In practice it takes two
/// rounds.
const ROUNDS: usize = 32;

/// The local files, which mean `config`, with the texts added. Later texts come after earlier ones.
pub(crate) fn merge(
    path: &Path,
    env: &dyn Environment,
    local: &Local,
    mut config: Config,
    texts: &[CloudText<'_>],
) -> Config {
    let mut quarantine = Quarantine::default();
    let (parsed, broken) = text::parse(texts, path, env);
    for (change, errors) in broken {
        quarantine.add_text(change, errors);
    }
    let comparison = Comparison::new(path, env, local, &config);
    let owned = owned::of(&config, texts.first().map_or(&[], |text| text.uploaded));
    for _ in 0..ROUNDS {
        let loading = Loading::new(path, env, local.clone());
        let Some(mut document) = tables::document(path, &loading) else {
            break;
        };
        let kept = validate::validate(
            &parsed,
            &quarantine,
            &document,
            &comparison,
            &owned,
            &loading,
        );
        let (mut pipelines, changed) = validate::merge(&kept, &mut document);
        let owned = owned::with_changed(&owned, &document, &changed);
        pipelines.extend(owned.changed.iter().cloned());
        pipelines.sort_unstable();
        pipelines.dedup();
        let whole = tables::build(&document, &owned, &loading);
        if let (Some(mut whole), true) = (whole, loading.is_clean()) {
            whole.cloud = Cloud {
                pipelines,
                set_aside: quarantine.into_set_aside(),
            };
            return whole;
        }
        if !quarantine.add(loading.into_errors(), &parsed, &kept) {
            break;
        }
    }
    quarantine.add_rest(&parsed);
    config.cloud.set_aside = quarantine.into_set_aside();
    config
}
