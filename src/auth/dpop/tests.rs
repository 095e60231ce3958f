use jose::Algorithm;
use jose::testing::{Pair, encode};
use serde_json::{Value, json};

use super::*;
use crate::auth::outcome::Reason;
use crate::config::Secret;

const TOKEN: &[u8] = b"a.b.c";
const URL: &str = "https://a.example/x";

/// A URL that is compared as text.
struct Exactly(&'static str);

impl TargetUrl for Exactly {
    fn is_named_by(&self, url: &str) -> bool {
        url == self.0
    }
}

impl fmt::Debug for Exactly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

fn settings() -> Dpop {
    Dpop {
        required: true,
        algorithms: vec![Algorithm::Es256, Algorithm::EdDsa],
        max_age: Duration::from_secs(60),
        nonce: None,
    }
}

fn jwk(pair: &Pair) -> Value {
    let mut jwk = pair.jwk("k");
    let object = jwk.as_object_mut().unwrap();
    object.retain(|name, _| !["use", "alg", "kid"].contains(&name.as_str()));
    jwk
}

/// A client with a key.
struct Client {
    pair: Pair,
    thumbprint: [u8; 32],
}

impl Client {
    fn new(algorithm: Algorithm) -> Self {
        let pair = Pair::new(algorithm);
        let mut client = Self {
            pair,
            thumbprint: [0; 32],
        };
        let proof = client.sign(json!({}));
        client.thumbprint = Proof::verify(proof.as_bytes()).unwrap().thumbprint();
        client
    }

    fn sign(&self, claims: Value) -> String {
        let algorithm = self.pair.algorithm.name();
        let header = json!({ "typ": "dpop+jwt", "alg": algorithm, "jwk": jwk(&self.pair) });
        self.pair.sign(&header, &claims)
    }

    /// A good proof, with these claims in the place of its own; `null` takes one away.
    fn proof(&self, other: &[(&str, Value)]) -> String {
        let mut claims = json!({
            "htm": "GET", "htu": URL, "iat": clock::now().floor() + 1.0,
            "jti": fastrand::u64(..).to_string(),
            "ath": encode(digest(&SHA256, TOKEN)),
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in other {
            match value {
                Value::Null => drop(members.remove(*name)),
                value => drop(members.insert((*name).to_owned(), value.clone())),
            }
        }
        self.sign(claims)
    }
}

fn verifier(settings: &Dpop) -> Verifier {
    Verifier::new(settings, &Arc::new(Proofs::for_shadow().unwrap()))
}

/// What fields of a request for [`URL`] with these proofs come to.
async fn verdict(
    verifier: &Verifier,
    client: &Client,
    proofs: &[&str],
    memo: &ProofMemo,
) -> Option<ProofError> {
    let mut headers = HeaderMap::new();
    for proof in proofs {
        headers.append(DPOP, HeaderValue::from_str(proof).unwrap());
    }
    let target = Some(RequestTarget {
        method: &Method::GET,
        url: &Exactly(URL),
        proof: memo,
    });
    let (key, now, mut trace) = (client.thumbprint, clock::now(), Trace::off());
    let verified = verifier.verify(TOKEN, key, &headers, target, now, &mut trace);
    match verified.await.err()?.reason {
        Reason::Proof(error) => Some(error),
        other => panic!("{other:?}"),
    }
}

async fn of(verifier: &Verifier, client: &Client, proof: &str) -> Option<ProofError> {
    verdict(verifier, client, &[proof], &ProofMemo::default()).await
}

#[tokio::test]
async fn a_proof_is_for_one_request_one_token_and_one_moment() {
    let verifier = verifier(&settings());
    let client = Client::new(Algorithm::Es256);
    let now = clock::now();
    for (name, value, expected) in [
        ("htm", json!("GET"), None),
        ("htm", json!("POST"), Some(ProofError::WrongMethod)),
        ("htm", json!("get"), Some(ProofError::WrongMethod)),
        ("htm", json!(["GET"]), Some(ProofError::WrongMethod)),
        ("htm", Value::Null, Some(ProofError::WrongMethod)),
        (
            "htu",
            json!("https://a.example/y"),
            Some(ProofError::WrongUrl),
        ),
        ("htu", json!(7), Some(ProofError::WrongUrl)),
        ("htu", Value::Null, Some(ProofError::WrongUrl)),
        (
            "ath",
            json!(encode(digest(&SHA256, b"x"))),
            Some(ProofError::WrongToken),
        ),
        (
            "ath",
            json!(format!("{}=", encode(digest(&SHA256, TOKEN)))),
            Some(ProofError::WrongToken),
        ),
        ("ath", json!(""), Some(ProofError::WrongToken)),
        ("ath", Value::Null, Some(ProofError::WrongToken)),
        ("iat", json!(now + 4.0), None),
        ("iat", json!(now + 8.0), Some(ProofError::NotYetValid)),
        ("iat", json!(now + 1e9), Some(ProofError::NotYetValid)),
        ("iat", json!(now - 59.0), Some(ProofError::BeforeStart)),
        ("iat", json!(now - 62.0), Some(ProofError::TooOld)),
        ("iat", json!(0), Some(ProofError::TooOld)),
        ("iat", json!(-1), Some(ProofError::Malformed)),
        ("iat", json!(now.to_string()), Some(ProofError::Malformed)),
        ("iat", Value::Null, Some(ProofError::Malformed)),
        ("exp", json!(now + 1.0), None),
        ("exp", json!(now - 10.0), Some(ProofError::TooOld)),
        ("exp", json!("x"), Some(ProofError::Malformed)),
        ("nbf", json!(now + 10.0), Some(ProofError::NotYetValid)),
        ("jti", json!(""), Some(ProofError::NoId)),
        ("jti", json!(7), Some(ProofError::NoId)),
        ("jti", Value::Null, Some(ProofError::NoId)),
        ("nonce", json!("any"), None),
    ] {
        let proof = client.proof(&[(name, value.clone())]);
        assert_eq!(
            of(&verifier, &client, &proof).await,
            expected,
            "{name} {value}"
        );
    }
}

#[tokio::test]
async fn a_proof_is_of_the_key_and_of_an_algorithm_that_is_accepted() {
    let verifier = verifier(&settings());
    let client = Client::new(Algorithm::EdDsa);
    let other = Client::new(Algorithm::EdDsa);
    let rsa = Client::new(Algorithm::Rs256);
    assert_eq!(of(&verifier, &client, &client.proof(&[])).await, None);
    assert_eq!(
        of(&verifier, &client, &other.proof(&[])).await,
        Some(ProofError::WrongKey)
    );
    assert_eq!(
        of(&verifier, &rsa, &rsa.proof(&[])).await,
        Some(ProofError::WrongAlgorithm)
    );
    let good = client.proof(&[]);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let another = client.proof(&[]);
    let (_, signature) = another.rsplit_once('.').unwrap();
    for (proof, expected) in [
        ("", ProofError::Malformed),
        ("a.b.c", ProofError::Malformed),
        (&format!("{signed}.{signature}"), ProofError::BadSignature),
        (&good[..good.len() - 4], ProofError::Malformed),
        (&format!("{good}, {good}"), ProofError::Malformed),
        (&format!("{good}."), ProofError::Malformed),
        (&format!("DPoP {good}"), ProofError::Malformed),
        (&"a".repeat(9000), ProofError::Malformed),
    ] {
        let found = of(&verifier, &client, proof).await;
        assert_eq!(found, Some(expected), "{proof}");
    }
}

#[tokio::test]
async fn a_proof_counts_once_however_many_steps_of_one_request_ask() {
    let verifier = verifier(&settings());
    let client = Client::new(Algorithm::EdDsa);
    let proof = client.proof(&[]);
    let memo = ProofMemo::default();
    for _ in 0..2 {
        assert_eq!(verdict(&verifier, &client, &[&proof], &memo).await, None);
    }
    assert_eq!(
        of(&verifier, &client, &proof).await,
        Some(ProofError::Replayed)
    );
    let other = client.proof(&[]);
    let memo = ProofMemo::default();
    let both = [other.as_str(), &other];
    let repeated = verdict(&verifier, &client, &both, &memo).await;
    assert_eq!(repeated, Some(ProofError::Repeated));
    assert_eq!(
        verdict(&verifier, &client, &[], &memo).await,
        Some(ProofError::Missing)
    );
    assert_eq!(
        of(&verifier, &client, &other).await,
        None,
        "it was not used"
    );
    // What does not pass is not used up, and leaves no room for another one of its id.
    let id = ("jti", json!("one"));
    let wrong = client.proof(&[id.clone(), ("htm", json!("PUT"))]);
    assert_eq!(
        of(&verifier, &client, &wrong).await,
        Some(ProofError::WrongMethod)
    );
    assert_eq!(
        of(&verifier, &client, &client.proof(std::slice::from_ref(&id))).await,
        None
    );
    assert_eq!(
        of(&verifier, &client, &client.proof(&[id])).await,
        Some(ProofError::Replayed)
    );
}

#[tokio::test]
async fn a_nonce_is_asked_for_and_shared_by_a_fleet() {
    let client = Client::new(Algorithm::EdDsa);
    let secret = || Secret::new("0123456789abcdef0123456789abcdef".to_owned());
    let with = |nonce| Dpop {
        nonce: Some(nonce),
        ..settings()
    };
    let one = verifier(&with(DpopNonce::OfFleet(secret())));
    let same = verifier(&with(DpopNonce::OfFleet(secret())));
    let own = verifier(&with(DpopNonce::OfProcess));
    assert!(
        verifier(&settings())
            .next_nonce(None, clock::now())
            .is_none()
    );
    let nonce = one.next_nonce(None, clock::now()).unwrap();
    let nonce = nonce.to_str().unwrap();
    for (verifier, value, expected) in [
        (&one, json!(nonce), None),
        (&same, json!(nonce), None),
        (&own, json!(nonce), Some(ProofError::Nonce)),
        (&one, Value::Null, Some(ProofError::Nonce)),
        (&one, json!(""), Some(ProofError::Nonce)),
        (&one, json!([nonce]), Some(ProofError::Nonce)),
    ] {
        let proof = client.proof(&[("nonce", value.clone())]);
        assert_eq!(of(verifier, &client, &proof).await, expected, "{value}");
    }
    // Only a proof that is good otherwise is told what it lacks.
    let wrong = client.proof(&[("htm", json!("PUT"))]);
    assert_eq!(
        of(&one, &client, &wrong).await,
        Some(ProofError::WrongMethod)
    );
}

#[tokio::test]
async fn what_holds_a_nonce_of_this_process_is_no_older_than_it() {
    let client = Client::new(Algorithm::EdDsa);
    let secret = || Secret::new("0123456789abcdef0123456789abcdef".to_owned());
    for (nonce, expected) in [
        (DpopNonce::OfProcess, None),
        (DpopNonce::OfFleet(secret()), Some(ProofError::BeforeStart)),
    ] {
        let verifier = verifier(&Dpop {
            nonce: Some(nonce),
            ..settings()
        });
        let next = verifier.next_nonce(None, clock::now()).unwrap();
        let proof = client.proof(&[
            ("iat", json!(clock::now() - 30.0)),
            ("nonce", json!(next.to_str().unwrap())),
        ]);
        assert_eq!(of(&verifier, &client, &proof).await, expected);
        let again = of(&verifier, &client, &proof).await;
        assert_eq!(
            again,
            Some(ProofError::Replayed),
            "used up, whatever it came to"
        );
    }
}

/// Nothing is known of the process before: neither what it used nor whether there was one.
#[tokio::test]
async fn what_may_have_been_used_before_passes_with_a_nonce_of_this_process() {
    let client = Client::new(Algorithm::EdDsa);
    let secret = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
    for nonce in [None, Some(DpopNonce::OfFleet(secret))] {
        let proofs = Arc::new(Proofs::new(None).unwrap());
        let settings = Dpop {
            nonce,
            ..settings()
        };
        let verifier = Verifier::new(&settings, &proofs);
        let asked = verifier.next_nonce(None, clock::now());
        assert_eq!(asked.is_some(), settings.nonce.is_some());
        let asked = asked.as_ref().map_or("", |nonce| nonce.to_str().unwrap());
        let doubted = client.proof(&[("nonce", json!(asked)), ("iat", json!(clock::now() + 4.0))]);
        let reason = of(&verifier, &client, &doubted).await;
        assert_eq!(reason, Some(ProofError::BeforeStart));
        let told = verifier.next_nonce(reason.map(Reason::Proof), clock::now());
        let told = told.unwrap();
        assert_ne!(told, asked);
        let told = ("nonce", json!(told.to_str().unwrap()));
        for age in [0.0, 30.0, -4.0] {
            let proof = client.proof(&[told.clone(), ("iat", json!(clock::now() - age))]);
            assert_eq!(of(&verifier, &client, &proof).await, None, "{age}");
            let again = of(&verifier, &client, &proof).await;
            assert_eq!(again, Some(ProofError::Replayed));
        }
    }
}

#[derive(Debug)]
struct Store;

impl ProofStore for Store {
    fn first_use(
        &self,
        _: ProofId,
        _: Duration,
    ) -> std::pin::Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
        Box::pin(std::future::ready(Some(true)))
    }
}

#[tokio::test]
async fn a_store_knows_what_was_used_before() {
    let client = Client::new(Algorithm::EdDsa);
    let proofs = Arc::new(Proofs::new(None).unwrap());
    proofs.share(Some(Arc::new(Store)));
    let verifier = Verifier::new(&settings(), &proofs);
    assert_eq!(of(&verifier, &client, &client.proof(&[])).await, None);
    let old = client.proof(&[("iat", json!(clock::now() - 10.0))]);
    let reason = of(&verifier, &client, &old).await;
    assert_eq!(reason, Some(ProofError::BeforeStart));
}

#[tokio::test]
async fn without_a_target_no_proof_passes() {
    let client = Client::new(Algorithm::EdDsa);
    let mut headers = HeaderMap::new();
    headers.append(DPOP, HeaderValue::from_str(&client.proof(&[])).unwrap());
    let verifier = verifier(&settings());
    let (key, now, mut trace) = (client.thumbprint, clock::now(), Trace::off());
    let verified = verifier.verify(TOKEN, key, &headers, None, now, &mut trace);
    assert_eq!(verified.await, Err(ProofError::WrongUrl.into()));
}
