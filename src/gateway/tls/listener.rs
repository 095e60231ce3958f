//! TLS of one listener: its certificates by the name that a client asks for, and the settings of
//! its handshakes.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::{Certificate, CertificateStatus};
use super::client_auth::ClientCa;
use super::{ClientAuth, Tickets, provider};
use crate::config;

/// TLS of a listener, ready for handshakes.
#[derive(Debug, Clone)]
pub struct Listener {
    /// What a handshake goes by.
    pub server: Arc<ServerConfig>,
    /// Which certificates clients may show; `None`: they are not asked for any.
    pub client_auth: Option<ClientAuth>,
    pub(in crate::gateway) certificates: Vec<CertificateStatus>,
    pub(in crate::gateway) warnings: Vec<String>,
}

impl Listener {
    /// Reads the files of a network. Every error is reported. On the management network
    /// (`management`), clients must have a certificate if any authority is named.
    pub(in crate::gateway) fn build(
        network: &Arc<str>,
        settings: &config::ListenerTls,
        management: bool,
        tickets: &Tickets,
    ) -> Result<Self, Vec<config::Error>> {
        let at =
            |key: &str, why: String| config::Error::new(["network", network.as_ref(), key], why);
        let mut errors = Vec::new();
        let mut loaded = Vec::new();
        for files in &settings.certificates {
            match Certificate::load(files) {
                Ok(certificate) => loaded.push(certificate),
                Err((key, why)) => errors.push(at(key, why)),
            }
        }
        let client_ca = match &settings.client_ca_path {
            Some(path) => ClientCa::load(path, management)
                .map_err(|why| errors.push(at("client_ca_path", why)))
                .ok(),
            None => None,
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let client_auth = ClientAuth::new(client_ca, settings.requests_certificate);
        let certificates = loaded.iter().map(|certificate| CertificateStatus {
            network: network.clone(),
            name: certificate.name.clone(),
            not_after: certificate.not_after,
        });
        let mut listener = Self {
            certificates: certificates.collect(),
            warnings: loaded
                .iter_mut()
                .flat_map(|certificate| std::mem::take(&mut certificate.warnings))
                .map(|warning| format!("network.{network}: {warning}"))
                .collect(),
            server: Arc::new(
                server_config(network, loaded, client_auth.as_ref(), tickets)
                    .map_err(|error| vec![at("cert_path", error.to_string())])?,
            ),
            client_auth,
        };
        if management && let Some(server) = Arc::get_mut(&mut listener.server) {
            server.alpn_protocols = vec![b"http/1.1".to_vec()];
        }
        Ok(listener)
    }
}

/// TLS 1.2 and 1.3 with the suites that rustls thinks safe, HTTP/2 before HTTP/1.1, no early data.
fn server_config(
    network: &Arc<str>,
    certificates: Vec<Certificate>,
    client_auth: Option<&ClientAuth>,
    tickets: &Tickets,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let builder = match client_auth {
        Some(auth) => builder.with_client_cert_verifier(auth.verifier()),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certificates)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if client_auth.is_some() {
        // A resumed session would bring its certificate along unverified: every handshake is a
        // whole one.
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = tickets.of(network)?;
    }
    Ok(config)
}

/// The certificates of a listener. Several may be for one name, with keys of different kinds.
#[derive(Debug)]
pub(super) struct ByName {
    all: Vec<Arc<CertifiedKey>>,
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
}

impl ByName {
    pub(super) fn new(certificates: Vec<Certificate>) -> Self {
        let mut by_name = Self {
            all: Vec::new(),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        };
        for certificate in certificates {
            for name in certificate.dns_names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcard, parent.to_owned()),
                    None => (&mut by_name.exact, name),
                };
                names.entry(name).or_default().push(certificate.key.clone());
            }
            by_name.all.push(certificate.key);
        }
        by_name
    }

    /// Those for a name: exact before a wildcard, which stands for one label; for no name, and for
    /// one that none is for, all in their order.
    pub(super) fn candidates(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name.map(str::to_ascii_lowercase) else {
            return &self.all;
        };
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.exact
            .get(&name)
            .or_else(|| self.wildcard.get(parent?))
            .unwrap_or(&self.all)
    }
}

impl ResolvesServerCert for ByName {
    /// The first that the client can verify the signature of. If there is none, the first: the
    /// handshake then says what is wrong.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let schemes = hello.signature_schemes();
        candidates
            .iter()
            .find(|candidate| candidate.key.choose_scheme(schemes).is_some())
            .or(candidates.first())
            .cloned()
    }
}
