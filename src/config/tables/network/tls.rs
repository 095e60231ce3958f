//! TLS on a listener, as it is written: certificates, the authority of clients, `force_https`.
//!
//! Not here: what is in the files (the gateway reads them).

use crate::config::model::{CertificateFiles, ListenerTls};
use crate::config::reader::{Entry, Reader};

/// What `force_https` says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForceHttps {
    /// `true`: to the port that is found out.
    Found,
    Port(u16),
}

/// Reads `cert_path`, `key_path`, `certificates`, `client_ca_path` and `client_certificate`; `None`
/// without a certificate.
pub(crate) fn read(reader: &Reader<'_>) -> Option<ListenerTls> {
    let mut certificates: Vec<CertificateFiles> = pair(reader).into_iter().collect();
    let first = reader.has("cert_path") || reader.has("key_path");
    if let Some(entry) = reader.get("certificates").filter(Entry::is_not_empty) {
        for item in entry.items() {
            let Some(item) = item.table() else { continue };
            certificates.extend(pair(&item));
            if !item.has("cert_path") && !item.has("key_path") {
                item.missing("cert_path", "add cert_path and key_path");
            }
            item.finish();
        }
    }
    let client_ca = reader.get("client_ca_path");
    let client_certificate = reader.get("client_certificate");
    let of_clients = [&client_ca, &client_certificate].into_iter().flatten();
    for entry in of_clients.filter(|_| !first && !reader.has("certificates")) {
        entry.error_help(
            "has no meaning on a listener without TLS",
            "add cert_path and key_path",
        );
    }
    let client_ca_path = client_ca.and_then(|entry| entry.readable_file());
    (!certificates.is_empty()).then_some(ListenerTls {
        certificates,
        client_ca_path,
        requests_certificate: client_certificate.is_some_and(|entry| requests_certificate(&entry)),
    })
}

fn requests_certificate(entry: &Entry<'_>) -> bool {
    let Some(text) = entry.text() else {
        return false;
    };
    let is_known = &*text == "request";
    if !is_known {
        entry.unknown("choice", &text, &["request"]);
    }
    is_known
}

/// `true`, or the port as clients see it.
pub(crate) fn force_https(reader: &Reader<'_>) -> Option<ForceHttps> {
    let entry = reader.get("force_https")?;
    if entry.is_integer() {
        let port = entry.integer(1..=65_535)?;
        return u16::try_from(port).ok().map(ForceHttps::Port);
    }
    entry.boolean()?.then_some(ForceHttps::Found)
}

/// A certificate and its key.
fn pair(reader: &Reader<'_>) -> Option<CertificateFiles> {
    let (cert, key) = (reader.get("cert_path"), reader.get("key_path"));
    match (&cert, &key) {
        (Some(_), None) => reader.missing("key_path", "name the file with the key of cert_path"),
        (None, Some(_)) => reader.missing("cert_path", "name the file with the certificate"),
        _ => {}
    }
    let cert_path = cert.and_then(|entry| entry.readable_file());
    let key_path = key.and_then(|entry| entry.readable_file());
    Some(CertificateFiles {
        cert_path: cert_path?,
        key_path: key_path?,
    })
}
