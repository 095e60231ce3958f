//! What refuses to start because it would let in too many.

use super::{GOOD, line_of, with};
use crate::support::keys::RsaKey;
use crate::support::{Program, secrets};

/// [`GOOD`] with these lines instead of the step's `algorithm` and `jwks_url`.
fn keys(lines: &str) -> String {
    let begin = GOOD.find("  algorithm").unwrap();
    let end = GOOD.find("  issuer").unwrap();
    format!("{}{lines}\n{}", &GOOD[..begin], &GOOD[end..])
}

const LONG: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_step_that_could_not_tell_a_good_token_refuses_to_start() {
    let rows: [(&str, &str, &[&str]); 11] = [
        (
            "a secret without its algorithm",
            "secret = \"0123456789abcdef0123456789abcdef\",",
            &["HS256"],
        ),
        ("HS256 without a secret", "algorithm = \"HS256\",", &["secret"]),
        (
            "HS256 with a key set",
            "algorithm = \"HS256\", jwks_url = \"http://127.0.0.1:1/j\",",
            &["secret"],
        ),
        ("a short secret", "algorithm = \"HS256\", secret = \"tooShortToBeASecret\",", &["32"]),
        (
            "no algorithm at all",
            "algorithm = \"none\", secret = \"0123456789abcdef0123456789abcdef\",",
            &["algorithm"],
        ),
        (
            "algorithms of two families",
            "algorithms = [\"RS256\", \"HS256\"], jwks_url = \"http://127.0.0.1:1/j\",",
            &["algorithms"],
        ),
        (
            "expiry not looked at",
            "jwks_url = \"http://127.0.0.1:1/j\", validate_expiry = false,",
            &["validate_expiry"],
        ),
        (
            "keys over plain http from elsewhere",
            "jwks_url = \"http://keys.example.com/j\",",
            &["jwks_url", "http"],
        ),
        (
            "too much leeway",
            "jwks_url = \"http://127.0.0.1:1/j\", leeway_secs = 301,",
            &["leeway_secs", "300"],
        ),
        ("a key file that is not there", "public_key_path = \"absent.pem\",", &["absent.pem"]),
        ("a key set that is not there", "jwks_path = \"absent.json\",", &["absent.json"]),
    ];
    for (row, lines, words) in rows {
        let ran = Program::check(&keys(lines)).run();
        assert_eq!(ran.status, Some(1), "{row}:\n{}{}", ran.stdout, ran.stderr);
        ran.error_with(words);
        assert!(
            !ran.stderr.contains("tooShortToBeASecret") && !ran.stderr.contains(LONG),
            "{row}: the secret is not said"
        );
        let started =
            Program::with(&["-c", "harmony.toml"]).file("harmony.toml", &keys(lines)).run();
        assert_eq!(started.status, Some(1), "{row}: started all the same");
    }
}

#[test]
fn an_issuer_that_is_no_url_is_no_source_of_keys() {
    for lines in ["algorithm = \"RS256\",", ""] {
        let text = keys(lines).replace("https://auth.example.com", "auth");
        let ran = Program::check(&text).run();
        assert_eq!(ran.status, Some(1), "{lines}:\n{}{}", ran.stdout, ran.stderr);
        ran.error_with(&["jwks_url"]);
        let started = Program::with(&["-c", "harmony.toml"]).file("harmony.toml", &text).run();
        assert_eq!(started.status, Some(1), "{lines}: started all the same");
    }
}

#[test]
fn what_is_stated_starts() {
    let rows = [
        ("an issuer that publishes its keys", "algorithm = \"RS256\","),
        ("HS256", "algorithm = \"HS256\", secret = \"${JWT_SECRET}\","),
        ("use_hs256", "use_hs256 = true, hs256_secret = \"${JWT_SECRET}\","),
        ("RS256 by default", "jwks_uri = \"https://auth.example.com/j\","),
        (
            "one algorithm in a list",
            "algorithms = [\"RS256\"], jwks_url = \"https://auth.example.com/j\",",
        ),
        (
            "plain http where it is allowed",
            "jwks_url = \"http://keys.example.com/j\", jwks_allow_http = true,",
        ),
        ("a key file", "public_key_path = \"key.pem\","),
        ("a key set in a file", "jwks_path = \"keys.json\","),
    ];
    let key = RsaKey::number(0);
    let set = format!("{{\"keys\": [{}]}}", key.jwk("k1"));
    for (row, lines) in rows {
        let program = Program::check(&keys(lines))
            .env("JWT_SECRET", LONG)
            .file("key.pem", &key.public_pem())
            .file("keys.json", &set);
        program.run().assert_ok(row);
    }
}

#[test]
fn a_variable_that_is_empty_is_no_secret() {
    let text = keys("algorithm = \"HS256\", secret = \"${JWT_SECRET}\",");
    for value in ["", " ", "short"] {
        let ran = Program::check(&text).env("JWT_SECRET", value).run();
        assert_eq!(ran.status, Some(1), "{value:?}");
        ran.error_with(&["secret"]);
    }
    Program::check(&text).run().error_with(&["JWT_SECRET"]);
}

#[test]
fn key_files_that_hold_no_good_key_refuse_to_start() {
    // A public key of 1024 bits.
    const WEAK: &str = "-----BEGIN PUBLIC KEY-----\nMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDVBgxKQ0\
                        OuIX0PGlTsAhKk7rlx\nhu33tRN9gBhVzJ0x1nnMOKDkqZpvHPNcA3MVQ1DZLrGHdGwF3VdpXb\
                        3sEyhOBB9v\nBbI8vnmyKHKkMxcRRm7bVjXxJpXGU5AxT2v7HSdXGXWLTj4MUmDYSzUwt6D0Sj\
                        Zz\nTwrHwHSIFzBgqdvQowIDAQAB\n-----END PUBLIC KEY-----\n";
    for (row, name, content, setting, word) in [
        ("no PEM", "key.pem", "nonsense", "public_key_path", ""),
        ("an empty file", "key.pem", "", "public_key_path", ""),
        ("a weak key", "key.pem", WEAK, "public_key_path", "1024 bits"),
        ("no JSON", "keys.json", "nonsense", "jwks_path", ""),
        ("no keys", "keys.json", "{\"keys\": []}", "jwks_path", ""),
    ] {
        let ran =
            Program::check(&keys(&format!("{setting} = \"{name}\","))).file(name, content).run();
        assert_eq!(ran.status, Some(1), "{row}:\n{}{}", ran.stdout, ran.stderr);
        ran.error_with(&[name, word]);
    }
}

#[test]
fn a_last_step_has_nothing_to_fall_back_on() {
    let ran = Program::check(&with(
        "type = \"jwt-auth\"",
        "type = \"jwt-auth\"\nfallback_on = \"failed\"",
    ))
    .run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["fallback_on"]);
}

#[test]
fn the_management_stays_on_loopback() {
    let text = GOOD.replace(
        "bind_address = \"127.0.0.1\"\nbind_port = 19090",
        "bind_address = \"0.0.0.0\"\nbind_port = 19090",
    );
    let ran = Program::check(&text).run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["management"]);
}

#[test]
fn what_is_allowed_but_deserves_a_word_gets_one() {
    for (piece, other, word) in [
        ("  issuer = \"https://auth.example.com\",\n", "", "issuer"),
        ("  audience = \"harmony-api\",\n", "", "audience"),
        ("middleware = [\"jwt\"]", "middleware = []", "\"api\" is open"),
    ] {
        let ran = Program::check(&with(piece, other)).run();
        ran.assert_ok(word);
        ran.error_with(&["warning", word]);
    }
}

#[test]
fn the_check_never_prints_a_secret() {
    let secret = "anUpstreamPasswordNobodyMaySee0123456789";
    secrets::remember(secret);
    let text =
        keys(&format!("algorithm = \"HS256\", secret = \"{secret}\", nonsense = \"{secret}\","));
    let ran = Program::check(&text).env("RUST_LOG", "trace").run();
    assert_eq!(ran.status, Some(1));
    assert_eq!(secrets::leak_in(ran.stderr.as_bytes()), None);
}

#[test]
fn whoever_forgets_the_steps_of_a_pipeline_does_not_open_it() {
    let silent = with("middleware = [\"jwt\"]\n", "");
    let line = format!("harmony.toml:{}: ", line_of(&silent, "[pipelines.api]"));
    let error = "pipelines.api.middleware: is missing; list the steps that a request has to pass, \
                 like middleware = [\"jwt\"], or write middleware = [] to let anyone pass";
    for arguments in [&["-c", "harmony.toml", "--check"][..], &["-c", "harmony.toml"]] {
        let ran = Program::with(arguments).file("harmony.toml", &silent).run();
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        assert_eq!(ran.stderr.trim_end(), format!("{line}{error}"));
    }
    // In the pipelines directory as well.
    let (main, pipelines) = silent.split_once("[pipelines.api]").unwrap();
    let ran = Program::check(&main.replacen("[proxy]", "[proxy]\npipelines_path = \"p\"", 1))
        .file("p/api.toml", &format!("[pipelines.api]{pipelines}"))
        .run();
    assert_eq!(ran.status, Some(1));
    ran.error_with(&["p/api.toml:1: pipelines.api.middleware: is missing"]);
}

#[test]
fn what_is_open_is_a_warning_and_so_is_a_step_that_nothing_uses() {
    let open = with("middleware = [\"jwt\"]", "middleware = []");
    let ran = Program::check(&open).run();
    ran.assert_ok("open as written");
    let pipeline = ran.error_with(&["warning: ", "pipeline \"api\" is open: anyone may pass"]);
    assert!(pipeline.contains(&format!("harmony.toml:{}: ", line_of(&open, "middleware = []"))));
    ran.error_with(&["warning: ", "middleware.jwt: no pipeline uses this step"]);
    let ran = Program::check(GOOD).run();
    ran.assert_ok("a pipeline that authenticates");
    assert_eq!(ran.stderr, "");
}
