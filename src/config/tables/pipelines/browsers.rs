//! What holds for the `cors` step of a pipeline: there is one, it stands before whoever
//! authenticates, and pages can send the credentials that they need.

use http::header::AUTHORIZATION;

use crate::config::model::{AuthSettings, AuthStep, Cors, CredentialLocation, Step};
use crate::config::reader::Entry;

pub(super) fn check(steps: &[Step], origin: &Entry<'_>) {
    let mut cors = steps.iter().filter_map(|step| Some((step, step.cors()?)));
    let Some((step, settings)) = cors.next() else {
        return;
    };
    if let Some((second, _)) = cors.next() {
        origin.error_help(
            format!(
                "steps {:?} and {:?} are both of type cors",
                step.name, second.name
            ),
            "keep one of them",
        );
    }
    let before = steps.iter().take_while(|it| it.cors().is_none());
    if let Some(before) = before.clone().find(|step| step.kind.auth().is_some()) {
        origin.error_help(
            format!(
                "step {:?} stands behind step {:?}, which a preflight has no credential for",
                step.name, before.name
            ),
            "list it before every step that authenticates",
        );
    }
    let auth: Vec<&AuthStep> = steps.iter().filter_map(Step::enforced_auth).collect();
    if !auth.is_empty() && !auth.iter().any(|step| is_sendable(step, settings)) {
        origin.warning(&format!(
            "no page can send the credential that this pipeline asks for: allow_headers of step \
             {:?} does not name its header (\"*\" does not cover Authorization)",
            step.name
        ));
    }
}

/// Whether a page may send what a step reads.
fn is_sendable(step: &AuthStep, cors: &Cors) -> bool {
    let any = cors.headers.iter().any(|name| name == "*");
    let location = match &step.settings {
        AuthSettings::Jwt(settings) => &settings.location,
        AuthSettings::ApiKey(settings) => &settings.location,
        AuthSettings::Introspection(settings) => &settings.location,
        AuthSettings::Basic(_) => &CredentialLocation::Authorization,
        AuthSettings::MutualTls(_) => return true,
    };
    match location {
        CredentialLocation::Authorization => cors.headers.contains(&AUTHORIZATION),
        CredentialLocation::Header(name) => any || cors.headers.contains(name),
        CredentialLocation::Cookie(_) | CredentialLocation::Query(_) => true,
    }
}
