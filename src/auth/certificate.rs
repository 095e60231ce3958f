//! The certificate that a client showed in the TLS handshake of its connection, taken apart once.
//!
//! Not here: verifying it (the handshake does, and whoever holds the authority), and deciding whom
//! it lets in (`mutual_tls`).

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::common::sha256;
use crate::config::{AlternativeName, CertificateSubject};
use jose::clock::UnixTime;

/// A client's certificate, as its connection keeps it.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    sha256: [u8; 32],
    /// `None`: a common name that is not valid text.
    common_names: Vec<Option<String>>,
    names: Vec<AlternativeName>,
    not_before: i64,
    not_after: i64,
    verdict: Mutex<Option<Verdict>>,
}

/// How a certificate was last verified.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    authority: [u8; 32],
    good: bool,
    /// When the next certificate of the chain ends.
    until: UnixTime,
}

/// The certificate of the connection that a request came on.
#[derive(Debug, Clone, Copy)]
pub struct PresentedCertificate<'a> {
    /// The certificate.
    pub certificate: &'a ClientCertificate,
    /// Whether anybody vouches for it.
    pub trust: CertificateTrust,
}

/// Whether an authority vouches for a certificate, by those that count now: a reload may have
/// changed them since the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateTrust {
    /// One does.
    Verified,
    /// One did in the handshake, and none that counts now does.
    Withdrawn,
    /// Nobody has to, where any certificate may be shown. It says only who has its key.
    Unverified,
}

impl ClientCertificate {
    /// Parses a chain; its first certificate is the client's. `None`: it cannot be parsed.
    pub fn parse(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let own = chain.first()?;
        let (_, certificate) = X509Certificate::from_der(own).ok()?;
        let names = match certificate.subject_alternative_name().ok()? {
            Some(extension) => (extension.value.general_names.iter())
                .filter_map(alternative_name)
                .collect(),
            None => Vec::new(),
        };
        Some(Self {
            sha256: sha256(&[own]),
            common_names: certificate
                .subject()
                .iter_common_name()
                .map(|name| name.as_str().ok().map(str::to_owned))
                .collect(),
            names,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            verdict: Mutex::new(None),
            chain: chain
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
        })
    }

    /// The client's certificate, and those that it sent along.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The SHA-256 of the client's certificate in its DER form (RFC 8705 section 3.1).
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Whether an authority vouches for it. `verify` is asked once for each authority, and again
    /// when a certificate of the chain has ended: on all other requests this costs nothing.
    pub fn is_verified_by(
        &self,
        authority: [u8; 32],
        now: UnixTime,
        verify: impl FnOnce(&Self) -> bool,
    ) -> bool {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        match *verdict {
            Some(known) if known.authority == authority && now < known.until => known.good,
            _ => {
                let good = verify(self);
                *verdict = Some(Verdict {
                    authority,
                    good,
                    until: self.next_end(now),
                });
                good
            }
        }
    }

    /// When the next certificate of the chain ends.
    #[allow(clippy::cast_precision_loss, reason = "exact for 285 million years")]
    fn next_end(&self, now: UnixTime) -> UnixTime {
        let end = |certificate: &CertificateDer<'_>| {
            let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
            Some(certificate.validity().not_after.timestamp() as UnixTime)
        };
        let ends = self.chain.iter().filter_map(end).filter(|end| *end > now);
        ends.fold(UnixTime::INFINITY, UnixTime::min)
    }

    /// Its subject alternative names.
    pub fn names(&self) -> &[AlternativeName] {
        &self.names
    }

    /// Its common name, if there is exactly one.
    pub fn common_name(&self) -> Option<&str> {
        match &*self.common_names {
            [Some(name)] => Some(name),
            _ => None,
        }
    }

    /// The subject, if there is exactly one of its kind.
    pub fn subject(&self, kind: CertificateSubject) -> Option<&str> {
        if kind == CertificateSubject::CommonName {
            return self.common_name();
        }
        let mut found = self.names.iter().filter_map(|name| match (kind, name) {
            (CertificateSubject::Uri, AlternativeName::Uri(name))
            | (CertificateSubject::Dns, AlternativeName::Dns(name))
            | (CertificateSubject::Email, AlternativeName::Email(name)) => Some(name.as_str()),
            _ => None,
        });
        match (found.next(), found.next()) {
            (Some(name), None) => Some(name),
            _ => None,
        }
    }

    /// Whether it bears one of these names.
    pub(super) fn bears(&self, names: &[AlternativeName]) -> bool {
        self.names.iter().any(|name| names.contains(name))
    }

    /// `notBefore` and `notAfter`.
    #[allow(clippy::cast_precision_loss, reason = "exact for 285 million years")]
    pub(super) fn validity(&self) -> (UnixTime, UnixTime) {
        (self.not_before as UnixTime, self.not_after as UnixTime)
    }
}

fn alternative_name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    match name {
        GeneralName::DNSName(name) => Some(AlternativeName::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(name) => Some(AlternativeName::Uri((*name).to_owned())),
        GeneralName::RFC822Name(name) => Some(AlternativeName::Email((*name).to_owned())),
        GeneralName::IPAddress(bytes) => ip_address(bytes).map(AlternativeName::Ip),
        _ => None,
    }
}

/// The address that a `GeneralName` holds: 4 bytes or 16 (RFC 5280 section 4.2.1.6).
pub(crate) fn ip_address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}
