//! The commands that make what goes into a configuration file: hashes of keys and passwords, and an
//! identity for the token store.
//!
//! A secret comes from standard input, or from a prompt that does not show it; never from an
//! argument, which every user of the machine can see.

use std::io::{self, IsTerminal, Read};

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::common::Hex;
use crate::config::{Environment, ProcessEnvironment};
use runbeam_sdk::EncryptionKeys;

/// The default of `--cost`: about a quarter of a second on one core.
pub(super) const COST: u32 = 12;
/// bcrypt looks at no more.
const MAX_PASSWORD: usize = 72;
/// More than any secret that is one.
const MAX_INPUT: u64 = 64 * 1024;

/// `hash-key`: what goes into `keys` of an `api-key` step, or into `token_hash` of `[management]`.
pub(super) fn hash_key(pepper_env: Option<&str>) -> anyhow::Result<()> {
    let pepper = match pepper_env {
        Some(name) => Some(pepper(name, &ProcessEnvironment)?),
        None => None,
    };
    let key = read_secret("Key: ", false)?;
    answer(&key_digest(&key, pepper.as_deref().map(String::as_str))?);
    Ok(())
}

/// `hash-password`: what goes into `password_hash` of a `basic-auth` step.
pub(super) fn hash_password(cost: u32) -> anyhow::Result<()> {
    let password = read_secret("Password: ", true)?;
    answer(&password_hash(&password, cost)?);
    Ok(())
}

/// `keygen`: what goes into `RUNBEAM_ENCRYPTION_KEY`.
pub(super) fn keygen() {
    answer(&identity());
}

/// A bearer token, with or without the word before it.
pub(super) fn read_token() -> anyhow::Result<Zeroizing<String>> {
    let given = read_secret("Token: ", false)?;
    let given = given.trim();
    let token = match given.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer ") => token.trim_start(),
        _ => given,
    };
    check(token)?;
    Ok(Zeroizing::new(token.to_owned()))
}

fn pepper(name: &str, env: &dyn Environment) -> anyhow::Result<Zeroizing<String>> {
    let pepper = Zeroizing::new(env.var(name).unwrap_or_default());
    ensure!(
        !pepper.is_empty(),
        "environment variable {name} is not set or empty"
    );
    Ok(pepper)
}

fn key_digest(key: &str, pepper: Option<&str>) -> anyhow::Result<String> {
    check(key)?;
    let key = key.as_bytes();
    Ok(match pepper {
        Some(pepper) => {
            let pepper = hmac::Key::new(hmac::HMAC_SHA256, pepper.as_bytes());
            format!("hmac-sha256:{}", Hex(hmac::sign(&pepper, key).as_ref()))
        }
        None => format!(
            "sha256:{}",
            Hex(digest::digest(&digest::SHA256, key).as_ref())
        ),
    })
}

fn password_hash(password: &str, cost: u32) -> anyhow::Result<String> {
    check(password)?;
    let length = password.len();
    ensure!(
        length <= MAX_PASSWORD,
        "the password has {length} bytes; bcrypt looks at no more than {MAX_PASSWORD}"
    );
    bcrypt::hash(password, cost).context("hashing the password")
}

fn identity() -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(EncryptionKeys::generate().first().as_bytes()))
}

/// What no client can present is no secret to make a hash of.
fn check(secret: &str) -> anyhow::Result<()> {
    ensure!(!secret.is_empty(), "nothing was given");
    ensure!(
        !secret.chars().any(char::is_control),
        "it contains control characters (several lines?), which no client can send"
    );
    Ok(())
}

fn read_secret(prompt: &str, again: bool) -> anyhow::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return piped(io::stdin());
    }
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map(Zeroizing::new);
    let secret = ask(prompt)?;
    if again && *ask("Once more: ")? != *secret {
        bail!("the two inputs differ");
    }
    Ok(secret)
}

/// Everything up to the end, without the newline that `echo` and editors put there.
fn piped(input: impl Read) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    input
        .take(MAX_INPUT)
        .read_to_string(&mut text)
        .context("reading standard input")?;
    let kept = text.strip_suffix('\n').unwrap_or(&text);
    let kept = kept.strip_suffix('\r').unwrap_or(kept).len();
    text.truncate(kept);
    Ok(text)
}

#[allow(clippy::print_stdout, reason = "what the command is for")]
fn answer(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn digests_of_keys() {
        // FIPS 180-2 appendix B.1
        assert_eq!(
            key_digest("abc", None).unwrap(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // RFC 4231 section 4.3
        assert_eq!(
            key_digest("what do ya want for nothing?", Some("Jefe")).unwrap(),
            "hmac-sha256:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        for bad in ["", "two\nlines", "a\0"] {
            assert!(key_digest(bad, None).is_err());
        }
    }

    #[test]
    fn hashes_of_passwords() {
        let hash = password_hash("open sesame:yes", 4).unwrap();
        assert!(hash.starts_with("$2b$04$") && crate::config::bcrypt_hash(&hash).is_some());
        assert!(bcrypt::verify("open sesame:yes", &hash).unwrap());
        assert!(password_hash(&"x".repeat(72), 4).is_ok());
        let error = password_hash(&"x".repeat(73), 4).unwrap_err().to_string();
        assert!(
            error.contains("73 bytes") && !error.contains("xx"),
            "{error}"
        );
        assert!(password_hash("", 4).is_err() && password_hash("a", 3).is_err());
    }

    #[test]
    fn identities() {
        let text = STANDARD.decode(identity().as_str()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("AGE-SECRET-KEY-1"));
        assert!(EncryptionKeys::parse(&identity()).is_ok());
        assert_ne!(*identity(), *identity());
    }

    #[test]
    fn the_newline_of_a_pipe_is_not_part_of_the_secret() {
        for (input, want) in [
            ("a", "a"),
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a \n", "a "),
            ("a\n\n", "a\n"),
            ("", ""),
        ] {
            assert_eq!(*piped(input.as_bytes()).unwrap(), want);
        }
        assert!(piped(&b"\xff"[..]).is_err());
    }

    #[test]
    fn a_pepper_has_to_be_there() {
        let env = BTreeMap::from([
            ("P".to_owned(), "x".to_owned()),
            ("E".to_owned(), String::new()),
        ]);
        assert_eq!(*pepper("P", &env).unwrap(), "x");
        assert!(pepper("E", &env).is_err() && pepper("NONE", &env).is_err());
    }
}
