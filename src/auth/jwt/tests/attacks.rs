//! Tokens that must not pass, and that all get the same answer.

mod claims;
mod form;
mod header;

use serde_json::{Value, json};

use super::chain;
use crate::auth::AuthRequest;
use crate::auth::outcome::Reason;
use crate::auth::testing::{self, Issuer, Signer, bearer, encode, status};

/// Makes tokens that are wrong in one thing each, and says why they must not pass.
struct Forge {
    /// Whose key is trusted.
    good: Signer,
    evil: Signer,
    /// Where a key set with the other key would be fetched.
    trap_url: String,
    /// Claims that pass.
    claims: String,
    /// A token that passes.
    token: String,
    cases: Vec<(String, Reason)>,
}

impl Forge {
    fn add(&mut self, token: String, reason: impl Into<Reason>) {
        self.cases.push((token, reason.into()));
    }

    /// With this header.
    fn signed(&self, header: &str) -> String {
        self.good.sign(header, &self.claims)
    }

    /// With this in its header.
    fn headed(&self, name: &str, value: Value) -> String {
        let mut header = json!({ "alg": "RS256", "kid": "k" });
        header[name] = value;
        self.signed(&header.to_string())
    }

    /// With these claims.
    fn claimed(&self, claims: &str) -> String {
        self.good.sign(r#"{"alg":"RS256","kid":"k"}"#, claims)
    }

    fn unsigned(&self, header: &str) -> String {
        format!("{}.{}.", encode(header), encode(&self.claims))
    }

    /// Those of the token that passes.
    fn segments(&self) -> [String; 3] {
        let segments: Vec<_> = self.token.split('.').map(str::to_owned).collect();
        segments.try_into().unwrap()
    }
}

#[tokio::test]
async fn attacks_are_refused_alike() {
    let (good, evil) = (Signer::generate(), Signer::generate());
    let chain = chain(&good, |_| {});
    let trap = Issuer::start(testing::keys(&[evil.jwk("k")])).await;
    let token = good.token("k");
    assert_eq!(status(&chain, &token).await, 200);
    let mut forge = Forge {
        good,
        evil,
        trap_url: trap.url.clone(),
        claims: testing::claims().to_string(),
        token,
        cases: Vec::new(),
    };
    header::algorithm(&mut forge);
    header::parameters(&mut forge);
    header::keys(&mut forge);
    form::repeated_names(&mut forge);
    form::not_json(&mut forge);
    form::compact_form(&mut forge);
    form::signature(&mut forge);
    claims::times(&mut forge);
    claims::names(&mut forge);

    assert!(forge.cases.len() > 150, "{}", forge.cases.len());
    let expected = chain
        .authenticate(&AuthRequest::of(&bearer(&forge.evil.token("k"))))
        .await
        .unwrap_err();
    assert_eq!(
        expected.challenges(),
        [r#"Bearer realm="harmony", error="invalid_token""#]
    );
    for (token, reason) in forge.cases {
        let denial = chain
            .authenticate(&AuthRequest::of(&bearer(&token)))
            .await
            .expect_err(&token);
        assert_eq!(denial.reason(), reason, "{token}");
        let answer = (denial.status(), denial.challenges(), denial.retry_after());
        assert_eq!(answer, (401, expected.challenges(), None), "{token}");
    }
    assert_eq!(trap.fetches(), 0);
}
