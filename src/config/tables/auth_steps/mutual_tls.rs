//! Settings of `mutual-tls`. Not here: certificates (the auth room looks at them).

use std::net::IpAddr;

use crate::config::model::{AlternativeName, CertificateSubject, MutualTls};
use crate::config::reader::{Entry, Reader};
use crate::config::tables::values::credential;

const SUBJECTS: &[&str] = &["common_name", "uri", "dns", "email"];

/// Reads the settings.
pub(crate) fn read(reader: &Reader<'_>) -> Option<MutualTls> {
    if let Some(entry) = reader.get("forward_credential") {
        entry.error_help(
            "has no meaning here: a certificate never travels",
            "remove it",
        );
    }
    let subject = match reader.get("subject_from") {
        Some(entry) => subject_from(&entry)?,
        None => CertificateSubject::CommonName,
    };
    let subjects = reader.get("subjects").map(|entry| subjects(&entry));
    let names = reader.get("sans").map(|entry| alternative_names(&entry));
    Some(MutualTls {
        subject,
        subjects: subjects.unwrap_or_default(),
        names: names.unwrap_or_default(),
    })
}

fn subject_from(entry: &Entry<'_>) -> Option<CertificateSubject> {
    let text = entry.text()?;
    match &*text {
        "common_name" => Some(CertificateSubject::CommonName),
        "uri" => Some(CertificateSubject::Uri),
        "dns" => Some(CertificateSubject::Dns),
        "email" => Some(CertificateSubject::Email),
        _ => {
            entry.unknown("subject", &text, SUBJECTS);
            None
        }
    }
}

fn subjects(entry: &Entry<'_>) -> Vec<String> {
    let texts = entry.one_or_more();
    for (_, item) in texts
        .iter()
        .filter(|(text, _)| !text.is_empty() && !credential::is_subject(text))
    {
        item.error("must be visible ASCII: no other subject could go into a header");
    }
    texts
        .into_iter()
        .map(|(text, _)| text.to_string())
        .collect()
}

/// As `openssl x509 -text` shows them.
fn alternative_names(entry: &Entry<'_>) -> Vec<AlternativeName> {
    let mut names = Vec::new();
    for (text, item) in entry.one_or_more() {
        match alternative_name(&text) {
            Some(name) => names.push(name),
            None if text.is_empty() => {}
            None => item.error_help(
                "is not a subject alternative name",
                "write \"DNS:NAME\", \"URI:...\", \"email:...\" or \"IP:ADDRESS\"",
            ),
        }
    }
    names
}

fn alternative_name(text: &str) -> Option<AlternativeName> {
    let (kind, value) = text.split_once(':')?;
    if value.is_empty() {
        return None;
    }
    match kind.to_ascii_lowercase().as_str() {
        "dns" => Some(AlternativeName::Dns(value.to_ascii_lowercase())),
        "uri" => Some(AlternativeName::Uri(value.to_owned())),
        "email" => Some(AlternativeName::Email(value.to_owned())),
        "ip" | "ip address" => value.parse::<IpAddr>().ok().map(AlternativeName::Ip),
        _ => None,
    }
}
