//! `profile = "at+jwt"`: access tokens as RFC 9068 has them.

use serde_json::{Value, json};

use crate::support::{Edge, Issuer, Upstream};

#[test]
fn an_access_token_says_all_that_it_has_to() {
    let (issuer, upstream) = (Issuer::start(), Upstream::start());
    let edge = Edge::with_jwt(&issuer, &upstream).jwt("profile = \"at+jwt\"").start();
    let good = || {
        let token = issuer.token().header("typ", "at+jwt");
        token.claim("client_id", "app").claim("jti", "1")
    };
    let status = |token: &str| edge.get("/api/x").bearer(token).send().status;
    assert_eq!(status(&good().sign()), 200);
    assert_eq!(status(&good().header("typ", "application/AT+JWT").sign()), 200);
    assert_eq!(status(&good().header("typ", "JWT").sign()), 401);
    assert_eq!(status(&good().without_header("typ").sign()), 401);
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        assert_eq!(status(&good().without(name).sign()), 401, "{name}");
        for value in [json!(""), json!({}), Value::Null] {
            assert_eq!(status(&good().claim(name, value.clone()).sign()), 401, "{name} {value}");
        }
    }
    assert_eq!(status(&issuer.token().sign()), 401);
}
