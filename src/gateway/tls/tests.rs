//! Files in, certificates or reasons out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};

use super::certificate::Certificate;
use super::listener::ByName;
use super::{Listener, Roots, Tickets};
use crate::config::{CertificateFiles, ListenerTls};

struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn put(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn pair(&self, name: &str, certificate: &str, key: &str) -> CertificateFiles {
        CertificateFiles {
            cert_path: self.put(&format!("{name}.pem"), certificate),
            key_path: self.put(&format!("{name}.key"), key),
        }
    }
}

fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn error(files: &CertificateFiles) -> String {
    let (key, why) = Certificate::load(files).unwrap_err();
    format!("{key}: {why}")
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let files = Files::new();
    let (certificate, key) = made(&["a.example"], |_| {});
    let (_, other) = made(&["a.example"], |_| {});
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    for (cert, key, expected) in [
        (
            "junk",
            &*key,
            "cert_path: {dir}/x.pem: the file is not in PEM form",
        ),
        (
            &*key,
            &*key,
            "cert_path: {dir}/x.pem: the file holds no certificate",
        ),
        (
            broken,
            &*key,
            "cert_path: {dir}/x.pem: its first certificate is no X.509 certificate",
        ),
        (
            "-----BEGIN CERTIFICATE-----\n",
            &*key,
            "cert_path: {dir}/x.pem: the file is broken PEM",
        ),
        (
            &*certificate,
            "junk",
            "key_path: {dir}/x.key: the file is not in PEM form",
        ),
        (
            &*certificate,
            &*certificate,
            "key_path: {dir}/x.key: the file holds no key",
        ),
        (
            &*certificate,
            encrypted,
            "key_path: {dir}/x.key: the file holds a key that a password protects",
        ),
        (
            &*certificate,
            &*other,
            "key_path: {dir}/x.key: the key does not belong to the certificate in {dir}/x.pem",
        ),
    ] {
        let found = error(&files.pair("x", cert, key));
        let expected = expected.replace("{dir}", files.directory.path().to_str().unwrap());
        assert!(found.starts_with(&expected), "{found}\n{expected}");
    }
    let gone = CertificateFiles {
        cert_path: files.directory.path().join("none"),
        key_path: files.put("k", &key),
    };
    assert!(error(&gone).contains("the file cannot be read: No such file"));
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let files = Files::new();
    let old = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let early =
        |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2090, 1, 1);
    for (names, change, expected) in [
        (
            &["a.example"][..],
            &(|_: &mut CertificateParams| {}) as &dyn Fn(&mut CertificateParams),
            None,
        ),
        (
            &["a.example"],
            &old,
            Some("the certificate expired on Jan  1"),
        ),
        (
            &["a.example"],
            &early,
            Some("the certificate is not valid before"),
        ),
        (
            &[],
            &|_: &mut CertificateParams| {},
            Some("the certificate has no subject alternative name"),
        ),
    ] {
        let (certificate, key) = made(names, change);
        let loaded = Certificate::load(&files.pair("x", &certificate, &key)).unwrap();
        match expected {
            None => assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings),
            Some(expected) => assert!(
                loaded.warnings[0].contains(expected),
                "{:?}",
                loaded.warnings
            ),
        }
    }
    let (certificate, key) = made(&["a.example", "10.0.0.1"], |_| {});
    let pair = files.pair("x", &certificate, &key);
    fs::set_permissions(&pair.key_path, fs::Permissions::from_mode(0o644)).unwrap();
    let loaded = Certificate::load(&pair).unwrap();
    assert!(loaded.warnings[0].contains("x.key: everybody on this machine can read the key"));
    assert_eq!(
        (&*loaded.name, &*loaded.dns_names),
        ("a.example", &["a.example".to_owned()][..])
    );
}

#[test]
fn a_name_finds_its_certificate() {
    let files = Files::new();
    let certificates = [
        &["first.example"][..],
        &["a.example", "*.b.example"],
        &["x.b.example"],
    ]
    .map(|names| {
        let (certificate, key) = made(names, |_| {});
        Certificate::load(&files.pair(names[0], &certificate, &key)).unwrap()
    });
    let keys = certificates
        .each_ref()
        .map(|certificate| certificate.key.clone());
    let by_name = ByName::new(certificates.into());
    for (name, expected) in [
        (None, 0),
        (Some("unknown.example"), 0),
        (Some("first.example"), 0),
        (Some("A.Example"), 1),
        (Some("y.b.example"), 1),
        (Some("x.b.example"), 2),
        (Some("y.x.b.example"), 0),
        (Some("b.example"), 0),
        (Some("example"), 0),
    ] {
        assert!(
            Arc::ptr_eq(&by_name.candidates(name)[0], &keys[expected]),
            "{name:?}"
        );
    }
}

#[test]
fn errors_of_a_listener_name_the_network_and_come_together() {
    let files = Files::new();
    let (certificate, key) = made(&["a.example"], |_| {});
    let (_, other) = made(&["a.example"], |_| {});
    let settings = ListenerTls {
        certificates: vec![
            files.pair("a", &certificate, &other),
            files.pair("b", "junk", &key),
            files.pair("c", &certificate, &key),
        ],
        client_ca_path: Some(files.put("ca", &key)),
        requests_certificate: false,
    };
    let errors =
        Listener::build(&"public".into(), &settings, false, &Tickets::default()).unwrap_err();
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(
        errors[0].starts_with("network.public.key_path: "),
        "{errors:#?}"
    );
    assert!(
        errors[1].starts_with("network.public.cert_path: "),
        "{errors:#?}"
    );
    assert!(
        errors[2].starts_with("network.public.client_ca_path: "),
        "{errors:#?}"
    );
}

#[test]
fn resumption_is_off_where_certificates_are_asked_for() {
    let files = Files::new();
    let (certificate, key) = made(&["a.example"], |_| {});
    let ca = made(&["ca"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)
    })
    .0;
    let mut settings = ListenerTls {
        certificates: vec![files.pair("a", &certificate, &key)],
        client_ca_path: None,
        requests_certificate: false,
    };
    let tickets = Tickets::default();
    let build = |settings: &ListenerTls| {
        Listener::build(&"public".into(), settings, false, &tickets).unwrap()
    };
    let (one, other) = (build(&settings), build(&settings));
    assert!(one.server.ticketer.enabled());
    assert!(
        Arc::ptr_eq(&one.server.ticketer, &other.server.ticketer),
        "tickets outlive a reload"
    );
    assert_eq!(one.server.max_early_data_size, 0);
    settings.client_ca_path = Some(files.put("ca", &ca));
    let asking = build(&settings);
    assert!(!asking.server.ticketer.enabled() && !asking.server.session_storage.can_cache());
}

#[test]
fn authorities_of_an_upstream_are_told_apart_by_content() {
    let files = Files::new();
    let ca = || {
        made(&["ca"], |params| {
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)
        })
        .0
    };
    let (one, other) = (ca(), ca());
    let id = |name: &str, text: &str| Roots::load(&files.put(name, text)).unwrap().id;
    assert_eq!(id("a", &one), id("b", &one));
    assert_ne!(id("a", &one), id("a", &other));
    assert_ne!(id("a", &one), id("a", &(one.clone() + &other)));
    let refused = |path: &Path| Roots::load(path).unwrap_err();
    assert!(refused(&files.put("junk", "junk")).contains("junk: the file is not in PEM form"));
}
