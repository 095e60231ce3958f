//! Users' tokens: whom the SDK believes, and where it goes for keys.

use std::time::{Duration, Instant};

use runbeam_sdk::{
    JwtAlgorithm, JwtError, JwtValidationOptions, RunbeamError, UserTokens, validate_jwt_token,
};

use crate::support::Cloud;
use crate::support::cloud::Fault;
use crate::support::keys::{OtherRsa, RsaKey, Signer};
use crate::support::ports::Port;
use crate::support::server::Server;
use crate::support::token::Token;

const SECRET: &str = "a-secret-that-is-shared-with-the-cloud";

fn trusting(cloud: &Cloud) -> JwtValidationOptions {
    JwtValidationOptions { trusted_issuers: vec![cloud.url()], ..JwtValidationOptions::default() }
}

fn problem(error: RunbeamError) -> JwtError {
    assert!(error.is_bad_user_token() && !error.is_timeout() && !error.is_unreachable(), "{error}");
    match error {
        RunbeamError::JwtValidation(problem) => problem,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_published_clients_default_address_is_its_https_origin() {
    let cloud = Cloud::start();
    let published = UserTokens::new(JwtValidationOptions {
        trusted_issuers: vec!["https://app.runbeam.io".to_owned()],
        jwks_uri: Some(format!("{}/api/.well-known/jwks.json", cloud.url())),
        ..JwtValidationOptions::default()
    })
    .unwrap();
    let issued = |issuer: &str| cloud.user_token().claim("iss", issuer).sign();
    let claims = published.validate(issued("http://app.runbeam.io/api/cli/check-login/x")).await;
    assert_eq!(claims.unwrap().api_base_url(), "https://app.runbeam.io");
    for other in ["http://app.runbeam.io:8080/api", "http://app.runbeam.io.evil.example/api"] {
        let refused = published.validate(issued(other)).await.unwrap_err();
        assert!(matches!(problem(refused), JwtError::UntrustedIssuer { .. }), "{other}");
    }
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_passes() {
    let cloud = Cloud::start();
    let tokens = UserTokens::new(trusting(&cloud)).unwrap();
    assert!(cloud.requests().is_empty(), "nothing is fetched before it is needed");
    let claims = tokens.validate(cloud.user_token().sign()).await.unwrap();
    assert_eq!(claims.api_base_url(), cloud.url());
    assert!(
        claims.iss.ends_with("/api/cli/check-login/xyz")
            && claims.aud.is_empty()
            && claims.exp > 1e9
            && claims.iat.is_some()
    );
    let (user, team) = (claims.user.unwrap(), claims.team.unwrap());
    assert_eq!(
        (&*claims.sub, &*user.id, &*user.email, &*user.name),
        ("user-1", "u1", "op@example.com", "Op")
    );
    assert_eq!((&*team.id, &*team.name), ("t1", "Team"));
    for variant in [
        cloud.user_token().claim("aud", "runbeam-cli"),
        cloud.user_token().without("sub").without("user").without("team"),
        cloud.user_token().claim("iss", cloud.url()),
    ] {
        tokens.validate(variant.sign()).await.unwrap();
    }
    let requests = cloud.requests();
    assert_eq!((requests.len(), &*requests[0].path), (1, "/api/.well-known/jwks.json"));
    assert_eq!(requests[0].authorization, None, "no token goes where keys come from");
    // The same sets under other options.
    let strict = tokens
        .with_options(JwtValidationOptions {
            required_claims: vec!["tenant".into()],
            ..trusting(&cloud)
        })
        .unwrap();
    assert_eq!(
        problem(strict.validate(cloud.user_token().sign()).await.unwrap_err()),
        JwtError::Invalid("claim_missing")
    );
    strict.validate(cloud.user_token().claim("tenant", 1).sign()).await.unwrap();
    let audience = tokens
        .with_options(JwtValidationOptions {
            audiences: vec!["runbeam-cli".into()],
            ..trusting(&cloud)
        })
        .unwrap();
    assert_eq!(
        problem(audience.validate(cloud.user_token().sign()).await.unwrap_err()),
        JwtError::Invalid("wrong_audience")
    );
    audience.validate(cloud.user_token().claim("aud", "runbeam-cli").sign()).await.unwrap();
    assert_eq!(cloud.requests().len(), 1);
}

#[tokio::test]
async fn nobody_else_is_trusted_or_even_asked() {
    let cloud = Cloud::start();
    let port = Port::claim();
    let elsewhere = Server::start(port.number(), |_, _| {});
    let tokens = UserTokens::new(trusting(&cloud)).unwrap();
    let own = cloud.url();
    let number = own.rsplit(':').next().unwrap();
    let issuers = [
        format!("{own}.evil.example"),
        format!("{own}@evil.example"),
        format!("{own}@127.0.0.1:{port}/"),
        format!("{own}\\@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}#{own}"),
        format!("https://127.0.0.1:{number}"),
        format!("http://localhost:{number}"),
        format!("HTTP://127.0.0.1:{number}"),
        format!("http://127.0.0.1.:{number}"),
        format!("http://127.1:{number}"),
        format!("http://2130706433:{number}"),
        format!("http://[::ffff:127.0.0.1]:{number}"),
        format!("http://127。0。0。1:{number}"),
        format!("http:/127.0.0.1:{number}"),
        format!(" {own}"),
        format!("{own}\n"),
        format!("{own} "),
        "http://127.0.0.1".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("file://127.0.0.1:{number}/x"),
        "https://api.runbeam.cloud".to_owned(),
        "https://api.runbeam.cloud.evil.example".to_owned(),
        String::new(),
    ];
    for issuer in issuers {
        let error = tokens
            .validate(cloud.user_token().claim("iss", issuer.clone()).sign())
            .await
            .unwrap_err();
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(matches!(problem(error), JwtError::UntrustedIssuer { .. }), "{issuer:?}");
    }
    for token in [
        cloud.user_token().without("iss"),
        cloud.user_token().claim("iss", 7),
        cloud.user_token().claim("iss", vec![own.clone()]),
    ] {
        let error = tokens.validate(token.sign()).await.unwrap_err();
        assert!(matches!(problem(error), JwtError::UntrustedIssuer { .. }));
    }
    // Where the header points, nobody goes either.
    let token = cloud
        .user_token()
        .header("jku", format!("http://127.0.0.1:{port}/jwks.json"))
        .header("x5u", format!("http://127.0.0.1:{port}/x"));
    tokens.validate(token.sign()).await.unwrap();
    assert_eq!((elsewhere.accepted(), cloud.requests().len()), (0, 1));
    let nobody = tokens
        .with_options(JwtValidationOptions { trusted_issuers: Vec::new(), ..trusting(&cloud) })
        .unwrap();
    nobody.validate(cloud.user_token().sign()).await.unwrap_err();
}

#[tokio::test]
async fn the_letters_of_a_trusted_address_may_be_of_either_case() {
    let cloud = Cloud::start();
    let named = cloud.url().replace("http://127.0.0.1", "HTTP://LocalHost") + "/api/";
    let options =
        JwtValidationOptions { trusted_issuers: vec![named], ..JwtValidationOptions::default() };
    let issuer = cloud.url().replace("127.0.0.1", "localhost");
    let claims =
        validate_jwt_token(cloud.user_token().claim("iss", format!("{issuer}/x")).sign(), &options)
            .await
            .unwrap();
    assert_eq!(claims.api_base_url(), issuer);
}

#[tokio::test]
async fn bad_tokens_are_refused() {
    let cloud = Cloud::start();
    let tokens = UserTokens::new(trusting(&cloud)).unwrap();
    let good = cloud.user_token();
    let key = cloud.signing_key();
    let cases: Vec<(&str, Token)> = vec![
        ("wrong_algorithm", good.clone().header("alg", "none").signed_by(Signer::Nothing)),
        ("wrong_algorithm", good.clone().header("alg", "NONE").signed_by(Signer::Nothing)),
        ("wrong_algorithm", good.clone().header("alg", "rs256")),
        ("wrong_algorithm", good.clone().without_header("alg")),
        (
            "wrong_algorithm",
            good.clone()
                .header("alg", "RS384")
                .signed_by(Signer::Rsa(key.clone(), &OtherRsa::Rs384)),
        ),
        (
            "wrong_algorithm",
            good.clone()
                .header("alg", "PS256")
                .signed_by(Signer::Rsa(key.clone(), &OtherRsa::Ps256)),
        ),
        (
            "wrong_algorithm",
            good.clone().header("alg", "HS512").signed_by(Signer::Hs512(SECRET.into())),
        ),
        ("bad_signature", good.clone().signed_by(Signer::Rs256(RsaKey::number(0)))),
        ("bad_signature", good.clone().signed_by(Signer::Nothing)),
        ("bad_signature", good.clone().signed_by(Signer::Hs512(key.public_pem().into_bytes()))),
        ("unknown_kid", good.clone().kid("another")),
        ("expired", good.clone().expired()),
        ("no_expiry", good.clone().without("exp")),
        ("not_yet_valid", good.clone().claim("nbf", 4_000_000_000_i64)),
        ("not_yet_valid", good.clone().claim("iat", 4_000_000_000_i64)),
        ("malformed", good.clone().claim("exp", "soon")),
        ("unsupported_header", good.clone().header("crit", vec!["x"])),
        ("wrong_type", good.clone().header("typ", "JWE")),
        ("malformed", good.clone().raw_claims(good.claims_text().replace('}', ",\"iss\":\"x\"}"))),
    ];
    for (reason, token) in cases {
        let error = tokens.validate(token.sign()).await.unwrap_err();
        assert_eq!(problem(error), JwtError::Invalid(reason), "{token:?}");
    }
    for bad in
        ["", "1|abc", "mt_abc", "a.b.c", "a.b", &format!("{}x", good.sign()), &"a".repeat(100_000)]
    {
        let error = tokens.validate(bad).await.unwrap_err();
        let shown = format!("{error} {error:?} {tokens:?}");
        assert!(error.is_bad_user_token() && shown.len() < 2000, "{shown}");
    }
    let wider = tokens
        .with_options(JwtValidationOptions {
            algorithms: vec![JwtAlgorithm::Rs256, JwtAlgorithm::Rs384, JwtAlgorithm::Hs256],
            ..trusting(&cloud)
        })
        .unwrap();
    let hs256 =
        good.clone().header("alg", "HS256").signed_by(Signer::Hs256(key.public_pem().into_bytes()));
    assert_eq!(problem(wider.validate(hs256.sign()).await.unwrap_err()), JwtError::NoSecret);
    wider.validate(good.sign()).await.unwrap();
}

#[tokio::test]
async fn hs256_needs_a_secret() {
    let cloud = Cloud::start();
    let signed = |secret: &str| {
        cloud.user_token().header("alg", "HS256").signed_by(Signer::Hs256(secret.into())).sign()
    };
    let validate = async |token: String, secret: Option<&str>| {
        let options =
            JwtValidationOptions { jwt_secret: secret.map(str::to_owned), ..trusting(&cloud) };
        UserTokens::new(options).unwrap().validate(token).await
    };
    let error = validate(signed(SECRET), None).await.unwrap_err();
    assert!(error.to_string().contains("RUNBEAM_JWT_SECRET"), "{error}");
    assert_eq!(problem(error), JwtError::NoSecret);
    assert_eq!(validate(signed(SECRET), Some(SECRET)).await.unwrap().sub, "user-1");
    assert_eq!(
        problem(
            validate(signed("another-secret-that-is-long-enough"), Some(SECRET)).await.unwrap_err()
        ),
        JwtError::Invalid("bad_signature")
    );
    let error = validate(signed("short"), Some("short")).await.unwrap_err();
    assert!(
        error.is_bad_user_token()
            && matches!(error, RunbeamError::ShortSecret { length: 5, minimum: 32 }),
        "{error}"
    );
    // The issuer has to be trusted all the same: its address is where tokens will go.
    let elsewhere = cloud
        .user_token()
        .claim("iss", "https://evil.example")
        .header("alg", "HS256")
        .signed_by(Signer::Hs256(SECRET.into()));
    assert!(matches!(
        problem(validate(elsewhere.sign(), Some(SECRET)).await.unwrap_err()),
        JwtError::UntrustedIssuer { .. }
    ));
    assert!(cloud.requests().is_empty(), "a secret needs no key set");
    validate(cloud.user_token().sign(), Some(SECRET)).await.unwrap();
}

#[tokio::test]
async fn without_keys_nothing_is_said_about_a_token() {
    let mut cloud = Cloud::start();
    let token = cloud.user_token().sign();
    for fault in [
        Fault::status(500),
        Fault::Garbage(100),
        Fault::Garbage(5_000_000),
        Fault::Down,
        Fault::Redirect(302, "http://192.0.2.1/".into()),
    ] {
        cloud.recover();
        cloud.fail(fault.clone());
        let error = UserTokens::new(trusting(&cloud)).unwrap().validate(&token).await.unwrap_err();
        assert!(
            error.is_unreachable() && !error.is_bad_user_token() && !error.is_timeout(),
            "{fault:?}: {error}"
        );
    }
    cloud.recover();
    cloud.stop();
    let tokens = UserTokens::new(trusting(&cloud)).unwrap();
    let error = tokens.validate(&token).await.unwrap_err();
    assert!(error.is_unreachable() && error.retry_after().is_some(), "{error}");
    cloud.restart();
    // After its pause it is asked again.
    let begun = Instant::now();
    while tokens.validate(&token).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it recovers");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // And then an outage does no harm.
    cloud.stop();
    tokens.validate(&token).await.unwrap();
}

#[tokio::test]
async fn a_key_set_that_is_slow_is_a_matter_of_time() {
    let cloud = Cloud::start();
    cloud.fail(Fault::Silence);
    let error = UserTokens::new(trusting(&cloud))
        .unwrap()
        .validate(cloud.user_token().sign())
        .await
        .unwrap_err();
    assert!(error.is_timeout() && !error.is_unreachable() && !error.is_bad_user_token(), "{error}");
}

#[tokio::test]
async fn keys_may_come_from_a_place_of_the_operators() {
    let (cloud, keys) = (Cloud::start(), Cloud::start());
    let options = JwtValidationOptions {
        jwks_uri: Some(format!("{}/api/.well-known/jwks.json", keys.url())),
        ..trusting(&cloud)
    };
    UserTokens::new(options).unwrap().validate(cloud.user_token().sign()).await.unwrap();
    assert_eq!((cloud.requests().len(), keys.requests().len()), (0, 1));
}

#[test]
fn the_keys_of_the_process_outlive_a_runtime() {
    let cloud = Cloud::start();
    let token = cloud.user_token().sign();
    let run = || tokio::runtime::Runtime::new().unwrap();
    // A fetch that ends with its runtime.
    cloud.fail_at("jwks", 1, Fault::Silence);
    run().block_on(async {
        let options = trusting(&cloud);
        let unfinished = validate_jwt_token(&token, &options);
        assert!(tokio::time::timeout(Duration::from_millis(200), unfinished).await.is_err());
    });
    for _ in 0..3 {
        let claims = run().block_on(validate_jwt_token(&token, &trusting(&cloud))).unwrap();
        assert_eq!(claims.sub, "user-1");
    }
    assert_eq!(cloud.requests_to("jwks").len(), 2, "one that was lost, and one for all");
    // Without options only the default issuer is trusted: see `seed` for the variable.
    if std::env::var_os("RUNBEAM_API_URL").is_none() {
        let problem = problem(run().block_on(validate_jwt_token(&token, 24)).unwrap_err());
        let JwtError::UntrustedIssuer { trusted, .. } = problem else {
            panic!("{problem}");
        };
        assert_eq!(trusted, ["https://api.runbeam.cloud"]);
    }
}
