//! `[authentications.*]`: named once, referred to as `authentication = "authentications.NAME"`.
//!
//! On an endpoint or a middleware it is inbound and means a step; on a backend or a target it is
//! outbound: the credential that the upstream gets.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::auth_steps::{SCHEMES, basic};
use crate::config::model::{AuthStep, Basic, ErrorKind, OutboundCredential, Secret};
use crate::config::reader::{Entry, Named, Reader, Text};

/// The tables by name.
pub(crate) struct Authentications {
    named: Named<Authentication>,
}

enum Authentication {
    Inbound(AuthStep),
    /// A user name and a password: a step where it is inbound (or why it cannot be one), a
    /// credential where it is outbound.
    Either(Result<AuthStep, ErrorKind>, OutboundCredential),
    /// A credential for the upstream, and the method's name.
    Outbound(OutboundCredential, &'static str),
    /// `method = "none"`.
    Nothing,
}

/// Reads `[authentications.*]`.
pub(crate) fn read(root: &Reader<'_>, jwks_fresh: Duration) -> Authentications {
    let mut named = Named::new("authentication");
    for (name, entry) in root.group("authentications") {
        named.insert(name, &entry, read_one(&entry, jwks_fresh));
    }
    Authentications { named }
}

impl Authentications {
    /// The step that a reference on an endpoint or a middleware means.
    pub(crate) fn inbound(&self, reference: &Entry<'_>) -> Option<AuthStep> {
        match self.resolve(reference)? {
            Authentication::Inbound(step) => Some(step.clone()),
            Authentication::Either(Ok(step), _) => {
                reference.warning(
                    "the password stands in the file as it is; put password_hash in \
                     its place, made with `harmony-edge hash-password`",
                );
                Some(step.clone())
            }
            Authentication::Either(Err(error), _) => {
                reference.error(error.clone());
                None
            }
            Authentication::Nothing => {
                reference.error_help(
                    "method \"none\" checks nothing",
                    "remove `authentication` here",
                );
                None
            }
            Authentication::Outbound(_, method) => {
                reference.error_help(
                    format!("method {method:?} is what an upstream gets, not a check"),
                    "use method = \"jwt\", \"introspection\", \"basic\", \"api_key\" or \
                     \"mutual_tls\" here",
                );
                None
            }
        }
    }

    /// The credential that a reference on a backend or a target means; the outer `None` after an
    /// error.
    pub(crate) fn outbound(&self, reference: &Entry<'_>) -> Option<Option<OutboundCredential>> {
        match self.resolve(reference)? {
            Authentication::Outbound(credential, _) | Authentication::Either(_, credential) => {
                Some(Some(credential.clone()))
            }
            Authentication::Nothing => Some(None),
            Authentication::Inbound(step) => {
                reference.error_help(
                    format!(
                        "it means a {} step, which is a check, not what an upstream gets",
                        step.settings.type_name()
                    ),
                    "use method = \"bearer\", \"basic\" or \"none\" here",
                );
                None
            }
        }
    }

    /// Warns of tables that nothing refers to.
    pub(crate) fn warn_unused(&self, root: &Reader<'_>) {
        let what = "nothing refers to it: write authentication = \"authentications.NAME\" where \
                    it is for, or remove it";
        self.named.warn_unused(root, "authentications", what);
    }

    fn resolve(&self, reference: &Entry<'_>) -> Option<&Authentication> {
        let text = reference.text()?;
        let Some(name) = text.strip_prefix("authentications.") else {
            reference.error_help(
                "must name a table",
                "write it like \"authentications.NAME\"",
            );
            return None;
        };
        self.named.resolve(&text.part(name), reference)
    }
}

fn read_one(entry: &Entry<'_>, jwks_fresh: Duration) -> Option<Authentication> {
    let mut reader = entry.table()?;
    reader.know(&["description"]);
    reader.ignore(&["id", "tags", "name"]);
    let Some(method) = reader.get("method") else {
        reader.missing(
            "method",
            "name one of \"jwt\", \"basic\", \"api_key\", \"bearer\", \"none\"",
        );
        return None;
    };
    let name = method.text()?;
    reader.flatten("options");
    reader.flatten("config");
    let scheme = SCHEMES
        .iter()
        .find(|scheme| scheme.method == name.replace('-', "_"));
    let authentication = match (&*name, scheme) {
        ("basic", _) if !basic::OF_A_STEP.iter().any(|key| reader.has(key)) => {
            user_and_password(&reader)
        }
        ("bearer", _) => {
            bearer(&reader).map(|credential| Authentication::Outbound(credential, "bearer"))
        }
        ("none", _) => Some(Authentication::Nothing),
        (_, Some(scheme)) => {
            match scheme.method {
                "basic" => refuse_file(&reader, "htpasswd_path = \"PATH\""),
                "api_key" => refuse_file(&reader, "keys = [\"sha256:...\"]"),
                _ => {}
            }
            scheme
                .step(&reader, jwks_fresh)
                .map(Authentication::Inbound)
        }
        ("custom", None) => {
            method.foreign(
                "the method",
                "custom",
                "use \"jwt\" for who may come in, \"bearer\" \
                 or \"basic\" for what an upstream gets",
            );
            return None;
        }
        _ => {
            let schemes = SCHEMES.iter().map(|scheme| scheme.method);
            let known: Vec<_> = schemes.chain(["bearer", "none"]).collect();
            method.unknown("method", &name, &known);
            return None;
        }
    };
    reader.finish();
    authentication
}

/// `username` and `password`.
fn user_and_password(reader: &Reader<'_>) -> Option<Authentication> {
    refuse_file(reader, "password = \"${file:PATH}\"");
    let username = reader.required_text("username", "name the user that the upstream knows");
    let password = reader.required_text("password", "write password = \"${PASSWORD}\"");
    let (username, password) = (username?, password?);
    let unfit = |text: &Text| text.chars().any(char::is_control);
    if username.contains(':') || unfit(&username) || unfit(&password) {
        reader.error(
            "a user name has no colon, and neither it nor a password has control characters",
            "change them",
        );
        return None;
    }
    let pair = Zeroizing::new(format!("{}:{}", &*username, &*password));
    let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
    let credential = OutboundCredential(Secret::new(format!("Basic {}", encoded.as_str())));
    let inbound = basic::plain_user(&username, &password).map(|user| {
        let settings = Basic {
            users: vec![user],
            htpasswd_path: None,
            max_failures: basic::MAX_FAILURES,
            owner: reader.owner(),
        };
        AuthStep::new(settings)
    });
    Some(Authentication::Either(inbound, credential))
}

/// `token`.
fn bearer(reader: &Reader<'_>) -> Option<OutboundCredential> {
    refuse_file(reader, "token = \"${file:PATH}\"");
    let token = reader.required_text("token", "write token = \"${TOKEN}\"")?;
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        reader.error(
            "the token must be visible ASCII and not empty",
            "check what it is filled in with",
        );
        return None;
    }
    Some(OutboundCredential(Secret::new(format!(
        "Bearer {}",
        &*token
    ))))
}

fn refuse_file(reader: &Reader<'_>, instead: &str) {
    if let Some(entry) = reader.get("credentials_path") {
        entry.error_help(
            ErrorKind::NotServed("credentials_path".to_owned()),
            format!("write {instead}"),
        );
    }
}
