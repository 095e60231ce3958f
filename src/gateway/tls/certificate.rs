//! One certificate of a listener, with its key: read, checked, and described.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{pem, provider};
use crate::auth::ip_address;
use crate::config::CertificateFiles;

/// A certificate that is in service, for a metric or a status page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The network whose listener shows it.
    pub network: Arc<str>,
    /// Its first DNS name or address; else its subject.
    pub name: String,
    /// When it expires, in seconds since 1970.
    pub not_after: i64,
}

/// A certificate as read.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// The DNS names that it is for, in lower case; some may begin with `*.`.
    pub(super) dns_names: Vec<String>,
    pub(super) name: String,
    pub(super) not_after: i64,
    /// What deserves a word, each beginning with the file's name.
    pub(super) warnings: Vec<String>,
}

impl Certificate {
    /// Reads both files. The error names the one that is wrong, and whether it is that of
    /// `key_path`.
    pub(super) fn load(files: &CertificateFiles) -> Result<Self, (&'static str, String)> {
        let wrong_cert =
            |why: String| ("cert_path", format!("{}: {why}", files.cert_path.display()));
        let wrong_key = |why: String| ("key_path", format!("{}: {why}", files.key_path.display()));
        let chain = pem::certificates(&files.cert_path)
            .map_err(|error| wrong_cert(format!("the file {error}")))?;
        let key =
            pem::key(&files.key_path).map_err(|error| wrong_key(format!("the file {error}")))?;
        let leaf = chain.first().cloned().unwrap_or_else(|| Vec::new().into());
        let (_, parsed) = X509Certificate::from_der(&leaf)
            .map_err(|_| wrong_cert("its first certificate is no X.509 certificate".to_owned()))?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => wrong_key(format!(
                "the key does not belong to the certificate in {}",
                files.cert_path.display()
            )),
            rustls::Error::InvalidCertificate(error) => {
                wrong_cert(format!("the certificate cannot be used: {error}"))
            }
            error => wrong_key(format!("the key cannot be used: {error}")),
        })?;
        let names = Names::of(&parsed);
        let validity = parsed.validity();
        let not_after = validity.not_after.timestamp();
        let mut warnings = Vec::new();
        let mut warn =
            |path: &Path, what: &str| warnings.push(format!("{}: {what}", path.display()));
        let now = seconds(SystemTime::now());
        if not_after <= now {
            warn(
                &files.cert_path,
                &format!("the certificate expired on {}", validity.not_after),
            );
        } else if validity.not_before.timestamp() > now {
            warn(
                &files.cert_path,
                &format!(
                    "the certificate is not valid before {}",
                    validity.not_before
                ),
            );
        }
        if !names.any {
            warn(
                &files.cert_path,
                "the certificate has no subject alternative name: clients refuse it",
            );
        }
        if is_open(&files.key_path) {
            warn(
                &files.key_path,
                "everybody on this machine can read the key: `chmod 600` it",
            );
        }
        Ok(Self {
            key: Arc::new(key),
            name: names.first.unwrap_or_else(|| parsed.subject().to_string()),
            dns_names: names.dns,
            not_after,
            warnings,
        })
    }
}

/// The subject alternative names.
struct Names {
    dns: Vec<String>,
    first: Option<String>,
    any: bool,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map_or(&[][..], |extension| &extension.value.general_names);
        let dns: Vec<String> = names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect();
        let address = || {
            names.iter().find_map(|name| match name {
                GeneralName::IPAddress(bytes) => ip_address(bytes).map(|ip| ip.to_string()),
                _ => None,
            })
        };
        Self {
            first: dns.first().cloned().or_else(address),
            any: !names.is_empty(),
            dns,
        }
    }
}

fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
