//! Which headers the steps and backends of a pipeline may name: none that carries a credential of
//! its steps, and none that some pipeline fills from claims.

use crate::config::model::{
    AuthSettings, Backend, CredentialLocation, HeaderTemplate, Pipeline, Step, WhenLocation,
};
use crate::config::reader::Entry;
use crate::config::tables::OwnedPipelines;
use crate::config::tables::values::header::spelling;

use http::HeaderName;

/// Reports names that the steps of one pipeline may not change, and warns of values that no request
/// has.
pub(super) fn check_steps(steps: &[Step], origin: &Entry<'_>) {
    let read: Vec<(&Step, &HeaderName)> = steps
        .iter()
        .filter_map(|step| Some((step, credential_header(step)?)))
        .collect();
    let authenticates = steps.iter().any(Step::authenticates);
    for step in steps {
        let Some(rules) = step.header_rules() else {
            continue;
        };
        for name in rules.request.names() {
            let found = read.iter().find(|(_, of)| spelling(of) == spelling(name));
            if let Some((reader, _)) = found {
                origin.error_help(
                    format!(
                        "step {:?} changes {:?}, where step {:?} reads a credential",
                        step.name,
                        name.as_str(),
                        reader.name
                    ),
                    "forward_credential says whether the upstream gets it",
                );
            }
        }
        if !authenticates && rules.templates().any(HeaderTemplate::reads_identity) {
            origin.warning(&format!(
                "step {:?} uses {{subject}} or {{claim:NAME}}, and no step authenticates anybody: \
                 the header is never sent",
                step.name
            ));
        }
    }
}

/// Reports names that tell who a request is from, because some pipeline fills them from claims.
pub(crate) fn check_claims(pipelines: &[(Pipeline, Entry<'_>)], owned: &OwnedPipelines) {
    let of_cloud = |pipeline: &Pipeline, entry: &Entry<'_>| owned.is_of_cloud(pipeline, entry);
    for (pipeline, entry) in pipelines {
        let counts = |other: &&(Pipeline, Entry<'_>)| {
            other.0.name == pipeline.name || !of_cloud(&other.0, &other.1)
        };
        let claimed: Vec<String> = pipelines
            .iter()
            .filter(counts)
            .flat_map(|(other, _)| claim_headers(other))
            .map(spelling)
            .collect();
        if claimed.is_empty() {
            continue;
        }
        let rules = pipeline.steps.iter().filter_map(Step::header_rules);
        let changed = rules.flat_map(|rules| rules.request.names());
        let read = pipeline.backends.iter().filter_map(condition_header);
        for name in changed.chain(read) {
            if claimed.contains(&spelling(name)) {
                entry.error_help(
                    format!(
                        "{:?} tells who a request is from: claims_to_headers fills it",
                        name.as_str()
                    ),
                    "choose another name for the header rule or the `when`",
                );
            }
        }
    }
}

fn condition_header(backend: &Backend) -> Option<&HeaderName> {
    match &backend.when.as_ref()?.location {
        WhenLocation::Header(name) => Some(name),
        WhenLocation::Cookie(_) => None,
    }
}

fn credential_header(step: &Step) -> Option<&HeaderName> {
    let location = match &step.enforced_auth()?.settings {
        AuthSettings::Jwt(settings) => &settings.location,
        AuthSettings::ApiKey(settings) => &settings.location,
        AuthSettings::Introspection(settings) => &settings.location,
        AuthSettings::Basic(_) | AuthSettings::MutualTls(_) => return None,
    };
    match location {
        CredentialLocation::Header(name) => Some(name),
        _ => None,
    }
}

fn claim_headers(pipeline: &Pipeline) -> impl Iterator<Item = &HeaderName> {
    let steps = pipeline.steps.iter().filter_map(|step| step.kind.auth());
    let rules = steps.filter_map(|step| match &step.settings {
        AuthSettings::Jwt(settings) => Some(&settings.rules),
        AuthSettings::Introspection(settings) => Some(&settings.rules),
        _ => None,
    });
    rules.flat_map(|rules| rules.claims_to_headers.iter().map(|(_, name)| name))
}
