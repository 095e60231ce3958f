//! Where a token is looked for, and nowhere else.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::chain;
use crate::auth::chain::Chain;
use crate::auth::request::AuthRequest;
use crate::auth::testing::{self, Signer, bearer, settings};
use crate::config::{CredentialLocation, KeySource, StepKind};

const NAME: HeaderName = HeaderName::from_static("x-token");

async fn outcome(chain: &Chain, headers: &HeaderMap, query: Option<&str>) -> String {
    let request = AuthRequest {
        query,
        ..AuthRequest::of(headers)
    };
    match chain.authenticate(&request).await {
        Ok(_) => "passes".to_owned(),
        Err(denial) => {
            let challenge = denial.challenges()[0].to_str().unwrap();
            let error = challenge.split("error=").nth(1).unwrap_or("none");
            let (status, reason) = (denial.status(), denial.reason().as_str());
            format!("{status} {reason} {}", error.trim_matches('"'))
        }
    }
}

const MISSING: &str = "401 missing none";
const MALFORMED: &str = "401 malformed invalid_token";
const REPEATED: &str = "400 repeated invalid_request";
const TOO_LONG: &str = "401 too_long invalid_token";

#[tokio::test]
async fn in_a_header_of_its_own() {
    let signer = Signer::generate();
    let location = CredentialLocation::Header(NAME);
    let chain = chain(&signer, |settings| settings.location = location.clone());
    let token = signer.token("k");
    for (values, expected) in [
        (vec![token.clone()], "passes"),
        (vec![format!("Bearer {token}")], "passes"),
        (vec![format!("bearer   {token}")], "passes"),
        (vec![], MISSING),
        (vec![String::new()], MALFORMED),
        (vec!["Bearer ".to_owned()], MALFORMED),
        (vec!["Bearer".to_owned()], MALFORMED),
        (vec![format!("Bearer Bearer {token}")], MALFORMED),
        (vec![format!("Basic {token}")], MALFORMED),
        (vec![format!("{token} ")], MALFORMED),
        (vec![format!("{token},{token}")], MALFORMED),
        (vec!["a.".repeat(4097)], TOO_LONG),
        (vec![token.clone(), token.clone()], REPEATED),
        (vec![token.clone(), String::new()], REPEATED),
    ] {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append(NAME, HeaderValue::from_str(value).unwrap());
        }
        assert_eq!(
            outcome(&chain, &headers, None).await,
            expected,
            "{values:?}"
        );
    }
    assert_eq!(outcome(&chain, &bearer(&token), None).await, MISSING);
    assert!(chain.stripped().is_empty());
}

#[tokio::test]
async fn in_a_cookie() {
    let signer = Signer::generate();
    let location = CredentialLocation::Cookie("token".to_owned());
    let chain = chain(&signer, |settings| settings.location = location.clone());
    let token = signer.token("k");
    let t = &token;
    for (cookies, expected) in [
        (vec![format!("token={t}")], "passes"),
        (vec![format!("a=b; token={t}; c=d")], "passes"),
        (vec![format!("a=b;token={t}")], "passes"),
        (vec!["a=b".to_owned(), format!(" token = {t} ")], "passes"),
        (vec![], MISSING),
        (vec![format!("Token={t}")], MISSING),
        (vec![format!("tokens={t}; xtoken={t}")], MISSING),
        (vec![format!("a=token={t}")], MISSING),
        (vec!["token".to_owned()], MALFORMED),
        (vec!["token=".to_owned()], MALFORMED),
        (vec![format!("token=\"{t}\"")], MALFORMED),
        (vec![format!("token=Bearer {t}")], MALFORMED),
        (vec![format!("token={t}={t}")], MALFORMED),
        (vec![format!("token={t}; token={t}")], REPEATED),
        (vec![format!("token={t}"), "token=".to_owned()], REPEATED),
    ] {
        let mut headers = HeaderMap::new();
        for cookie in &cookies {
            headers.append(COOKIE, HeaderValue::from_str(cookie).unwrap());
        }
        assert_eq!(
            outcome(&chain, &headers, None).await,
            expected,
            "{cookies:?}"
        );
    }
    assert_eq!(outcome(&chain, &bearer(t), None).await, MISSING);
}

#[tokio::test]
async fn in_the_query() {
    let signer = Signer::generate();
    let location = CredentialLocation::Query("access_token".to_owned());
    let chain = chain(&signer, |settings| settings.location = location.clone());
    let token = signer.token("k");
    let t = &token;
    let encoded = t.replace('.', "%2e").replacen('e', "%65", 1);
    let cut = t.replacen('.', "%2", 1);
    for (query, expected) in [
        (format!("access_token={t}"), "passes"),
        (format!("a=b&access_token={t}&c"), "passes"),
        (format!("access_token={encoded}"), "passes"),
        (format!("access%5Ftoken={t}"), "passes"),
        (String::new(), MISSING),
        (format!("Access_token={t}"), MISSING),
        (format!("token={t}"), MISSING),
        (format!("a=b;access_token={t}"), MISSING),
        ("access_token".to_owned(), MALFORMED),
        ("access_token=".to_owned(), MALFORMED),
        (format!("access_token={cut}"), MALFORMED),
        (format!("access_token=Bearer%20{t}"), MALFORMED),
        (format!("access_token={t}&access_token={t}"), REPEATED),
        (format!("access_token={t}&access%5ftoken"), REPEATED),
    ] {
        let found = outcome(&chain, &HeaderMap::new(), Some(&query)).await;
        assert_eq!(found, expected, "{query}");
    }
    let mut headers = bearer(t);
    assert_eq!(outcome(&chain, &headers, None).await, MISSING);
    // It never travels, whatever `forward_credential` says.
    assert_eq!(chain.stripped(), [location]);
    // Any chain minds a repeated `Authorization`.
    headers.append(AUTHORIZATION, HeaderValue::from_static("x"));
    let query = format!("access_token={t}");
    assert_eq!(outcome(&chain, &headers, Some(&query)).await, REPEATED);
}

#[tokio::test]
async fn no_other_step_makes_a_repeated_token_good() {
    let signer = Signer::generate();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, signer.public_pem()).unwrap();
    let looking_in = |location: CredentialLocation| {
        let mut settings = settings(KeySource::PublicKey(path.clone()));
        settings.location = location;
        testing::step(settings)
    };
    let mut first = looking_in(CredentialLocation::Cookie("t".to_owned()));
    let StepKind::Auth(step) = &mut first.kind else {
        panic!()
    };
    (step.optional, step.fallback_on_failed) = (true, true);
    let second = looking_in(CredentialLocation::Authorization);
    let chain = Chain::build(&[first, second], &testing::shared()).unwrap();
    let mut headers = bearer(&signer.token("k"));
    for (cookie, expected) in [("a=b", "passes"), ("t=x", "passes"), ("t=x; t=y", REPEATED)] {
        headers.insert(COOKIE, HeaderValue::from_static(cookie));
        assert_eq!(outcome(&chain, &headers, None).await, expected, "{cookie}");
    }
}

#[tokio::test]
async fn another_place_is_not_looked_at() {
    let signer = Signer::generate();
    let chain = chain(&signer, |_| {});
    let token = signer.token("k");
    let mut headers = HeaderMap::new();
    headers.insert(NAME, HeaderValue::from_str(&token).unwrap());
    headers.insert(
        COOKIE,
        HeaderValue::from_str(&format!("access_token={token}")).unwrap(),
    );
    let query = format!("access_token={token}");
    assert_eq!(outcome(&chain, &headers, Some(&query)).await, MISSING);
}
