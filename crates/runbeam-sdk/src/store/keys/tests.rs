//! Every form of a key, and every text that is none. What the real `age-keygen` prints is tested in
//! `tests/edge`.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

use super::*;

/// Made by age-keygen 1.1.1 for this test.
const ONE: &str = "AGE-SECRET-KEY-1WURFAUMASFMP46Q6JE00FRSN4GWV4VUQPTX8QZUF8M4U7W2SQCXSJSQVG0";
const PUBLIC: &str = "age1ck7xhj4r9wus7673phrp6hzj2xawyrmceh9wjnur7ky0qf524cfq88rs6j";

fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn wrapped(text: &str) -> String {
    let lines = text.as_bytes().chunks(76);
    lines
        .map(|line| format!("{}\n", std::str::from_utf8(line).unwrap()))
        .collect()
}

fn keygen(key: &str) -> String {
    format!("# created: 2026-01-02T03:04:05+01:00, on a, b and c\n# public key: {PUBLIC}\n{key}\n")
}

fn other() -> String {
    EncryptionKeys::generate().first().to_string()
}

/// The secrets in their order.
fn read(text: &str) -> Result<Vec<String>, KeyError> {
    let keys = EncryptionKeys::parse(text)?;
    Ok(keys
        .identities
        .iter()
        .map(|key| secret(key).to_string())
        .collect())
}

#[test]
fn every_form_of_one_key() {
    let whole = keygen(ONE);
    let line = format!("{ONE}\n");
    for (row, text) in [
        ("bare", ONE.to_owned()),
        ("with white space", format!("  {ONE} \r\n\n")),
        ("in lower case", ONE.to_lowercase()),
        ("the output of age-keygen", whole.clone()),
        ("with Windows line ends", whole.replace('\n', "\r\n")),
        (
            "with age-keygen's standard error",
            format!("Public key: {PUBLIC}\n{whole}"),
        ),
        ("base64 of the key", encode(ONE)),
        ("base64 of its line", encode(&line)),
        ("base64 of all of it", encode(&whole)),
        ("base64, wrapped", wrapped(&encode(&whole))),
        (
            "base64, wrapped, with spaces for newlines",
            wrapped(&encode(&whole)).replace('\n', " "),
        ),
        ("base64 without padding", STANDARD_NO_PAD.encode(&whole)),
        ("base64 of the URL alphabet", URL_SAFE.encode(&whole)),
        ("base64 twice", encode(&encode(&whole))),
        (
            "base64 twice, wrapped twice",
            wrapped(&encode(&wrapped(&encode(&whole)))),
        ),
        ("base64 twice of the line", encode(&encode(&line))),
        ("with a byte order mark", format!("\u{feff}{whole}")),
    ] {
        assert_eq!(read(&text), Ok(vec![ONE.to_owned()]), "{row}");
    }
}

#[test]
fn several_keys_in_their_order() {
    let (two, three) = (other(), other());
    let all = vec![ONE.to_owned(), two.clone(), three.clone()];
    for text in [
        format!("{ONE},{two},{three}"),
        format!("{ONE} , {two},\n{three}\n"),
        format!("{},{},{three}", encode(&keygen(ONE)), keygen(&two)),
        format!(
            "{},{}",
            wrapped(&encode(&encode(&keygen(ONE)))),
            encode(&format!("{two},{three}"))
        ),
        format!("{}{}{}", keygen(ONE), keygen(&two), keygen(&three)),
        format!("{ONE}\n{two}\n{three}"),
    ] {
        assert_eq!(read(&text), Ok(all.clone()), "{text}");
    }
}

#[test]
fn what_is_no_key_is_named() {
    use KeyError::*;
    let unsupported = |sort| Err(Unsupported { entry: 1, sort });
    let pq = "AGE-SECRET-KEY-PQ-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SF3Q5NL";
    for (text, want) in [
        ("", Err(Empty)),
        (" \n", Err(Empty)),
        ("# public key: age1abc\n", Err(Empty)),
        (&format!("{ONE},"), Err(EmptyEntry { entry: 2 })),
        (&format!(",{ONE}"), Err(EmptyEntry { entry: 1 })),
        (&format!("{ONE},,{ONE}"), Err(EmptyEntry { entry: 2 })),
        (PUBLIC, Err(PublicKey { entry: 1 })),
        (
            &format!("{ONE},{}", encode(PUBLIC)),
            Err(PublicKey { entry: 2 }),
        ),
        (pq, unsupported("a post-quantum key")),
        (&encode(pq), unsupported("a post-quantum key")),
        (
            "AGE-PLUGIN-YUBIKEY-1Q",
            unsupported("a key of an age plugin"),
        ),
        ("ssh-ed25519 AAAA", unsupported("an SSH key")),
        (&ONE[..ONE.len() - 1], Err(Damaged { entry: 1 })),
        (&ONE.replace("SJSQ", "SJQS"), Err(Damaged { entry: 1 })),
        (&encode(&ONE[..40]), Err(Damaged { entry: 1 })),
        (&format!("{ONE} {PUBLIC}"), Err(NotAKey { entry: 1 })),
        ("correct horse battery staple", Err(NotAKey { entry: 1 })),
        ("changeme", Err(NotAKey { entry: 1 })),
        ("hunter2!", Err(NotAKey { entry: 1 })),
        (&format!("\"{ONE}\""), Err(NotAKey { entry: 1 })),
        (&encode(&encode(&encode(ONE))), Err(NotAKey { entry: 1 })),
        (
            &encode("# nothing but a comment"),
            Err(NotAKey { entry: 1 }),
        ),
        (&encode("a passphrase"), Err(NotAKey { entry: 1 })),
        (&"A".repeat(MAX_TEXT + 1), Err(TooLong)),
    ] {
        assert_eq!(read(text), want, "{}", &text[..text.len().min(200)]);
    }
}

#[test]
fn nothing_of_a_key_is_said() {
    assert_eq!(
        format!(
            "{:?}",
            EncryptionKeys::parse(&format!("{ONE},{ONE}")).unwrap()
        ),
        "EncryptionKeys(2)"
    );
    for bad in [
        "correct horse",
        &ONE[..60],
        &format!("{ONE} correct"),
        "ssh-rsa correct",
    ] {
        let error = EncryptionKeys::parse(bad).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(
            !said.contains("correct") && !said.contains("WURFA"),
            "{said}"
        );
    }
}

#[test]
fn the_first_encrypts_and_all_decrypt() {
    let (old, new) = (EncryptionKeys::generate(), EncryptionKeys::generate());
    let sealed = old.encrypt(b"a token").unwrap();
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
    assert!(matches!(
        new.decrypt(&sealed),
        Err(DecryptFailure::NoMatchingKey)
    ));
    let both = EncryptionKeys::parse(&format!("{},{}", *new.first(), *old.first())).unwrap();
    assert_eq!(both.decrypt(&sealed).unwrap().as_slice(), b"a token");
    let sealed = both.encrypt(b"another").unwrap();
    assert!(old.decrypt(&sealed).is_err());
    assert_eq!(new.decrypt(&sealed).unwrap().as_slice(), b"another");
}

#[test]
fn what_is_cut_or_changed_does_not_open() {
    let key = EncryptionKeys::generate();
    let sealed = key.encrypt(b"a token").unwrap();
    for end in 0..sealed.len() {
        assert!(
            matches!(key.decrypt(&sealed[..end]), Err(DecryptFailure::Damaged)),
            "{end}"
        );
    }
    let mut changed = sealed.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(
        key.decrypt(&changed),
        Err(DecryptFailure::Damaged)
    ));
    assert!(matches!(
        key.decrypt(b"{\"machine_token\": 1}"),
        Err(DecryptFailure::Damaged)
    ));
}

#[test]
fn keys_are_joined_once_each_and_written_as_age_reads_them() {
    let (one, two) = (
        EncryptionKeys::parse(ONE).unwrap(),
        EncryptionKeys::generate(),
    );
    let both = one.clone().followed_by(&two).followed_by(&one);
    let file = both.to_file("from a test");
    assert!(file.starts_with("# from a test\n# public key: age1"));
    assert_eq!(
        read(&file).unwrap(),
        [ONE.to_owned(), two.first().to_string()]
    );
}
