//! `jwt-auth`: everything that is unsafe to start with.

use super::jwt::{GOOD, step};
use super::*;

#[test]
fn unsafe_to_start_with() {
    let rest = "issuer = \"i\"\naudience = \"a\"\n";
    for (keys, want) in [
        (
            "",
            "22: middleware.jwt: RS256 has no key source; add one of jwks_url, jwks_path, \
             public_key_path",
        ),
        (
            "algorithm = \"HS256\"",
            "22: middleware.jwt: HS256 has no secret",
        ),
        (
            "secret = \"${LONG}\"",
            "24: middleware.jwt.secret: is a shared secret, and HS256 is not stated; add \
             algorithm = \"HS256\"",
        ),
        (
            "algorithm = \"RS256\"\nsecret = \"${LONG}\"",
            "is a shared secret, and HS256 is not stated",
        ),
        (
            "algorithm = \"HS256\"\njwks_url = \"https://h/\"",
            "is a source of public keys, and HS256 takes none",
        ),
        (
            "algorithm = \"HS256\"\nsecret = \"${EMPTY}\"",
            "25: middleware.jwt.secret: is empty after filling in",
        ),
        (
            "algorithm = \"HS256\"\nsecret = \"${SHORT}\"",
            "middleware.jwt.secret: must be at least 32 bytes",
        ),
        (
            "algorithm = \"HS256\"\nsecret = \"${NONE}\"",
            "middleware.jwt.secret: environment variable NONE is not set; set it, or give a \
             default: ${NONE:-...}",
        ),
        (
            "jwks_url = \"https://h/\"\npublic_key_path = \"k\"",
            "25: middleware.jwt.public_key_path: is a second key source beside `jwks_url`",
        ),
        (
            "jwks_url = \"https://h/\"\njwks_uri = \"https://h/\"",
            "`jwks_url` is defined twice",
        ),
        (
            "jwks_url = \"http://example.com/\"",
            "middleware.jwt.jwks_url: must be https",
        ),
        (
            "jwks_url = \"http://127.0.0.1.evil.example/\"",
            "must be https",
        ),
        ("jwks_url = \"file:///etc/jwks\"", "jwks_url: "),
        (
            "jwks_url = \"https://h/.well-known/openid-configuration\"",
            "jwks_url: is the URL of the issuer's document, not of its key set",
        ),
        (
            "jwks_path = \"/nowhere/jwks\"",
            "middleware.jwt.jwks_path: /nowhere/jwks cannot be read: ",
        ),
        ("public_key_path = \"/\"", "it is not a file"),
        (
            "jwks_url = \"https://h/\"\nalgorithm = \"none\"",
            "\"none\" is refused",
        ),
        (
            "jwks_url = \"https://h/\"\nalgorithm = \"NONE\"",
            "\"none\" is refused",
        ),
        (
            "jwks_url = \"https://h/\"\nalgorithm = \"RS265\"",
            "unknown algorithm \"RS265\"; did you mean \"RS256\"?",
        ),
        (
            "jwks_url = \"https://h/\"\nalgorithms = [\"RS256\", \"HS256\"]",
            "mixes a shared secret with public keys",
        ),
        (
            "jwks_url = \"https://h/\"\nalgorithms = [\"RS256\", \"ES256\"]",
            "names more than one algorithm",
        ),
        ("jwks_url = \"https://h/\"\nalgorithms = []", "is empty"),
        (
            "jwks_url = \"https://h/\"\nalgorithm = \"RS256\"\nuse_hs256 = true",
            "use_hs256: contradicts `algorithm`",
        ),
        (
            "jwks_url = \"https://h/\"\nvalidate_expiry = false",
            "validate_expiry: must not be switched off",
        ),
        (
            "jwks_url = \"https://h/\"\nleeway_secs = 301",
            "leeway_secs: must be from 0 to 300",
        ),
        (
            "jwks_url = \"https://h/\"\njwks_cache_secs = 59",
            "must be from 60 to",
        ),
        (
            "jwks_url = \"https://h/\"\nfallback_on = \"faild\"",
            "unknown fallback \"faild\"; did you mean \"failed\"?",
        ),
        (
            "jwks_url = \"https://h/\"\nrealm = \"a\\\"b\"",
            "realm: must be visible ASCII",
        ),
        (
            "jwks_url = \"https://h/\"\nrequired_claims = { role = [] }",
            "required_claims.role: is empty",
        ),
        (
            "jwks_url = \"https://h/\"\nrequired_claims = { role = [{}] }",
            "required_claims.role[0]: expected a string, a number or a boolean, found a table",
        ),
        (
            "jwks_url = \"https://h/\"\nrequired_scopes = [\"\"]",
            "an empty string means nothing here",
        ),
        (
            "jwks_url = \"https://h/\"\nclaims_to_headers = { a = \"Not A Header\" }",
            "claims_to_headers.a: is not a header name",
        ),
        (
            "jwks_url = \"https://h/\"\nclaims_to_headers = { a = \"Transfer-Encoding\" }",
            "header \"Transfer-Encoding\" cannot carry a claim",
        ),
        (
            "jwks_url = \"https://h/\"\nclaims_to_headers = { a = \"X_Auth_Subject\" }",
            "header \"X_Auth_Subject\" cannot carry a claim",
        ),
        (
            "jwks_url = \"https://h/\"\nclaims_to_headers = { a = \"x-user\", b = \"X_User\" }",
            "claims_to_headers.b: is the header of claim \"a\" too",
        ),
    ] {
        one_error(&step(&format!("{keys}\n{rest}")), want);
    }
    let lines = errors(&step(
        "jwks_url = \"https://h/\"\nissuer = \"\"\naudience = []",
    ));
    assert!(
        lines.len() == 2
            && lines[0].contains("jwt.issuer: ")
            && lines[1].contains("jwt.audience: is empty"),
        "{lines:?}"
    );
}

#[test]
fn insecure_choices_are_warned_of() {
    let config = ok(&step(
        "jwks_url = \"http://example.com/\"\njwks_allow_http = true",
    ));
    let shown = warnings(&config).join("\n");
    for want in [
        "jwks_url: the key set comes over http",
        "middleware.jwt: no issuer",
        "middleware.jwt: no audience",
    ] {
        assert!(shown.contains(want), "{shown}");
    }
}

#[test]
fn authentication_tables_as_steps() {
    let reference = |table: &str| {
        step("X").replace(
            "type = \"jwt-auth\"\nX",
            "optional = true\nauthentication = \"authentications.x\"",
        ) + table
    };
    let table = format!("[authentications.x]\nid = \"x\"\nmethod = \"jwt\"\nrealm = \"r\"\n{GOOD}");
    let config = ok(&reference(&table));
    assert!(auth_step(&config).optional && auth_step(&config).realm == "r");
    for (text, want) in [
        (
            reference(&table.replace("x]", "y]")),
            "unknown authentication \"x\"; did you mean \"y\"?",
        ),
        (
            reference(&table.replace("\"jwt\"", "\"jtw\"")),
            "authentications.x.method: unknown method \"jtw\"; did you mean \"jwt\"?",
        ),
        (
            reference("[authentications.x]\nmethod = \"basic\"\nusers = []\n"),
            "authentications.x.users: is empty",
        ),
        (
            reference("[authentications.x]\nmethod = \"bearer\"\ntoken = \"t\"\n"),
            "is what an upstream gets, not a check",
        ),
        (
            reference("[authentications.x]\nmethod = \"custom\"\n"),
            "the method \"custom\" is not something",
        ),
        (
            reference("[authentications.x]\nmethod = \"none\"\n"),
            "method \"none\" checks nothing",
        ),
        (
            reference(&table).replace("optional = true", "issuer = \"z\""),
            "the settings of this step stand in the table that `authentication` names",
        ),
        (
            reference(&table).replace("authentications.x\"", "x\""),
            "must name a table; write it like \"authentications.NAME\"",
        ),
    ] {
        one_error(&text, want);
    }
}
