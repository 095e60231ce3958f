//! `mutual-tls`: the certificate of the connection, verified in its handshake, says who a request
//! is from. Never a header.

use std::sync::Arc;

use http::HeaderValue;

use super::certificate::{CertificateTrust, PresentedCertificate};
use super::identity::{AuthMethod, Content, Credential, Identity};
use super::outcome::{Outcome, Reason};
use super::request::AuthRequest;
use crate::config::{self, MutualTls};
use jose::clock::UnixTime;

/// A `mutual-tls` step.
#[derive(Debug)]
pub(crate) struct Verifier {
    settings: Arc<MutualTls>,
}

impl Verifier {
    pub(crate) fn new(settings: &Arc<MutualTls>) -> Self {
        Self {
            settings: settings.clone(),
        }
    }

    /// Examines the certificate of the request's connection.
    pub(crate) fn authenticate(&self, request: &AuthRequest<'_>, now: UnixTime) -> Outcome {
        match request.certificate {
            None => Outcome::NotPresented,
            // It is for tokens that are bound to it.
            Some(presented) if presented.trust == CertificateTrust::Unverified => {
                Outcome::NotPresented
            }
            Some(presented) => self.identity(presented, now).into(),
        }
    }

    /// The identity of a certificate that has passed before, as it is now; `None`: it does not
    /// pass.
    pub(crate) fn current(
        &self,
        identity: &Identity,
        presented: PresentedCertificate<'_>,
        now: UnixTime,
    ) -> Option<Identity> {
        let current = self.identity(presented, now).ok()?;
        (current.credential() == identity.credential()).then_some(current)
    }

    fn identity(
        &self,
        presented: PresentedCertificate<'_>,
        now: UnixTime,
    ) -> Result<Identity, Reason> {
        let certificate = presented.certificate;
        // The handshake has seen to both; but a connection may live longer than its certificate,
        // and than an authority.
        let (begin, end) = certificate.validity();
        if now >= end {
            return Err(Reason::Expired);
        }
        if now < begin {
            return Err(Reason::NotYetValid);
        }
        if presented.trust != CertificateTrust::Verified {
            return Err(Reason::UntrustedCertificate);
        }
        let subject = certificate
            .subject(self.settings.subject)
            .filter(|subject| config::is_subject(subject))
            .ok_or(Reason::UnsafeSubject)?;
        let MutualTls {
            subjects, names, ..
        } = &*self.settings;
        let listed = subjects.is_empty() || subjects.iter().any(|listed| listed == subject);
        if !listed || !names.is_empty() && !certificate.bears(names) {
            return Err(Reason::SubjectNotAllowed);
        }
        let subject = HeaderValue::from_str(subject).map_err(|_| Reason::UnsafeSubject)?;
        Ok(Identity::new(Content {
            method: AuthMethod::MutualTls,
            subject: Some(subject),
            headers: Vec::new(),
            valid_until: Some(end),
            credential: Credential::Certificate(certificate.sha256()),
            claims: None,
            key_scopes: Box::default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ClientCertificate;
    use crate::config::{AlternativeName, CertificateSubject};
    use http::HeaderMap;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    const NOW: UnixTime = 1_800_000_000.0;

    fn certificate(common_names: &[&str], names: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        let mut name = DistinguishedName::new();
        for common_name in common_names {
            name.push(DnType::CommonName, *common_name);
        }
        params.distinguished_name = name;
        params.subject_alt_names = names;
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        ClientCertificate::parse(&[certificate.der().clone()]).unwrap()
    }

    fn outcome(
        certificate: &ClientCertificate,
        settings: MutualTls,
        trust: CertificateTrust,
        now: UnixTime,
    ) -> String {
        let headers = HeaderMap::new();
        let request = AuthRequest {
            certificate: Some(PresentedCertificate { certificate, trust }),
            ..AuthRequest::of(&headers)
        };
        match Verifier::new(&Arc::new(settings)).authenticate(&request, now) {
            Outcome::Authenticated(identity) => {
                identity.subject().unwrap().to_str().unwrap().to_owned()
            }
            Outcome::NotPresented => "nothing".to_owned(),
            Outcome::Rejected(refusal) => refusal.reason.as_str().to_owned(),
        }
    }

    fn any(subject: CertificateSubject) -> MutualTls {
        MutualTls {
            subject,
            subjects: Vec::new(),
            names: Vec::new(),
        }
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn nothing_shown_is_nothing_presented_whatever_a_header_says() {
        let mut headers = HeaderMap::new();
        headers.insert("client-cert", HeaderValue::from_static(":MIIB:"));
        let verifier = Verifier::new(&Arc::new(any(CertificateSubject::CommonName)));
        let outcome = verifier.authenticate(&AuthRequest::of(&headers), NOW);
        assert!(matches!(outcome, Outcome::NotPresented));
    }

    #[test]
    fn the_subject_is_what_the_step_says_and_only_if_there_is_one() {
        let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
        for (names, alternative, kind, expected) in [
            (
                &["alice"][..],
                vec![],
                CertificateSubject::CommonName,
                "alice",
            ),
            (
                &["alice smith"],
                vec![],
                CertificateSubject::CommonName,
                "alice smith",
            ),
            (
                &[],
                vec![dns("alice")],
                CertificateSubject::CommonName,
                "unsafe_subject",
            ),
            (
                &["Zo\u{eb}"],
                vec![],
                CertificateSubject::CommonName,
                "unsafe_subject",
            ),
            (
                &["a\r\nb"],
                vec![],
                CertificateSubject::CommonName,
                "unsafe_subject",
            ),
            (
                &["alice"],
                vec![],
                CertificateSubject::Uri,
                "unsafe_subject",
            ),
            (
                &["alice"],
                vec![uri("spiffe://x/a")],
                CertificateSubject::Uri,
                "spiffe://x/a",
            ),
            (
                &[],
                vec![uri("spiffe://x/a"), uri("spiffe://x/b")],
                CertificateSubject::Uri,
                "unsafe_subject",
            ),
            (
                &[],
                vec![dns("Client.Example"), uri("spiffe://x/a")],
                CertificateSubject::Dns,
                "client.example",
            ),
            (
                &[],
                vec![SanType::Rfc822Name("a@b.example".try_into().unwrap())],
                CertificateSubject::Email,
                "a@b.example",
            ),
        ] {
            let found = outcome(
                &certificate(names, alternative),
                any(kind),
                CertificateTrust::Verified,
                NOW,
            );
            assert_eq!(found, expected, "{names:?} {kind:?}");
        }
    }

    #[test]
    fn lists_are_exact() {
        let certificate = certificate(
            &["billing"],
            vec![
                uri("spiffe://x/billing"),
                SanType::IpAddress([10, 0, 0, 1].into()),
            ],
        );
        let with = |subjects: &[&str], names: &[AlternativeName]| MutualTls {
            subject: CertificateSubject::CommonName,
            subjects: subjects.iter().map(|&subject| subject.to_owned()).collect(),
            names: names.to_vec(),
        };
        let right = AlternativeName::Uri("spiffe://x/billing".to_owned());
        let wrong = AlternativeName::Dns("spiffe://x/billing".to_owned());
        let address = AlternativeName::Ip([10, 0, 0, 1].into());
        for (settings, expected) in [
            (with(&["other", "billing"], &[]), "billing"),
            (with(&["Billing"], &[]), "subject_not_allowed"),
            (with(&["bill"], &[]), "subject_not_allowed"),
            (with(&[], std::slice::from_ref(&right)), "billing"),
            (with(&[], &[wrong.clone(), address]), "billing"),
            (
                with(&[], std::slice::from_ref(&wrong)),
                "subject_not_allowed",
            ),
            (with(&["other"], &[right]), "subject_not_allowed"),
        ] {
            assert_eq!(
                outcome(
                    &certificate,
                    settings.clone(),
                    CertificateTrust::Verified,
                    NOW
                ),
                expected,
                "{settings:?}"
            );
        }
    }

    #[test]
    fn a_connection_may_outlive_its_certificate_and_its_authority() {
        let certificate = certificate(&["alice"], vec![]);
        let any = || any(CertificateSubject::CommonName);
        assert_eq!(
            outcome(
                &certificate,
                any(),
                CertificateTrust::Verified,
                1_900_000_000.0
            ),
            "expired"
        );
        assert_eq!(
            outcome(
                &certificate,
                any(),
                CertificateTrust::Verified,
                1_000_000_000.0
            ),
            "not_yet_valid"
        );
        assert_eq!(
            outcome(&certificate, any(), CertificateTrust::Withdrawn, NOW),
            "untrusted_certificate"
        );
        // It may be shown by anybody, and says nothing.
        assert_eq!(
            outcome(&certificate, any(), CertificateTrust::Unverified, NOW),
            "nothing"
        );
        let mut asked = 0;
        for (authority, good) in [
            ([1; 32], true),
            ([1; 32], true),
            ([2; 32], false),
            ([2; 32], false),
        ] {
            let verdict = certificate.is_verified_by(authority, NOW, |_| {
                asked += 1;
                authority == [1; 32]
            });
            assert_eq!(verdict, good);
        }
        assert_eq!(asked, 2, "once for each authority");
    }

    #[test]
    fn an_authority_that_ends_is_noticed_on_an_open_connection() {
        let authority = |year: i32| {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        let own = certificate(&["alice"], vec![]);
        // One of them has ended before the handshake, and is no part of the path.
        let chain = [own.chain()[0].clone(), authority(2028), authority(2020)];
        let chain = ClientCertificate::parse(&chain).unwrap();
        let (end, mut asked) = (1_830_297_600.0, 0);
        for (now, expected) in [
            (NOW, 1),
            (end - 1.0, 1),
            (end, 2),
            (end + 1.0, 2),
            (1_893_456_000.0, 3),
            (1_993_456_000.0, 3),
        ] {
            let good = chain.is_verified_by([1; 32], now, |_| {
                asked += 1;
                now < end
            });
            assert_eq!((good, asked), (now < end, expected), "{now}");
        }
    }
}
