//! `token_header`, `token_cookie` and `token_query` of a `jwt-auth` step.

use super::jwt::{GOOD, step};
use super::*;

#[test]
fn places() {
    for (text, want) in [
        ("", CredentialLocation::Authorization),
        (
            "token_header = \"X-Access-Token\"",
            CredentialLocation::Header("x-access-token".parse().unwrap()),
        ),
        (
            "token_cookie = \"__Host-t\"",
            CredentialLocation::Cookie("__Host-t".into()),
        ),
        (
            "token_query = \"access_token\"",
            CredentialLocation::Query("access_token".into()),
        ),
    ] {
        let config = ok(&step(&format!("{text}\n{GOOD}")));
        assert_eq!(jwt_settings(&config).location, want);
        let shown = warnings(&config);
        let is_query = matches!(want, CredentialLocation::Query(_));
        assert_eq!(shown.len(), usize::from(is_query), "{shown:?}");
        assert!(!is_query || shown[0].contains("token_query: a token in a URL"));
    }
}

#[test]
fn what_is_refused() {
    for (text, want) in [
        (
            "token_header = \"X-A\"\ntoken_query = \"t\"",
            "token_query: is a second place for the token beside `token_header`",
        ),
        (
            "token_cookie = \"a\"\ntoken_query = \"t\"",
            "token_query: is a second place for the token beside `token_cookie`",
        ),
        (
            "token_header = \"X A\"",
            "token_header: is not a header name",
        ),
        ("token_header = \"\"", "token_header: is not a header name"),
        (
            "token_header = \"Authorization\"",
            "is the place where a token stands anyway; remove it",
        ),
        (
            "token_header = \"Cookie\"",
            "holds cookies; name the cookie with `token_cookie`",
        ),
        (
            "token_header = \"Host\"",
            "header \"Host\" cannot carry a token",
        ),
        (
            "token_header = \"X_Auth_Token\"",
            "header \"X_Auth_Token\" is taken from what clients send",
        ),
        (
            "token_header = \"X-User\"\nclaims_to_headers = { sub = \"X_User\" }",
            "header \"X-User\" is taken from what clients send",
        ),
        (
            "token_cookie = \"a b\"",
            "token_cookie: is not a cookie name",
        ),
        (
            "token_cookie = \"a=b\"",
            "token_cookie: is not a cookie name",
        ),
        ("token_cookie = \"\"", "token_cookie: is not a cookie name"),
        ("token_query = \"\"", "token_query: is empty"),
        ("token_query = 1", "token_query: expected a string"),
    ] {
        one_error(&step(&format!("{text}\n{GOOD}")), want);
    }
}
