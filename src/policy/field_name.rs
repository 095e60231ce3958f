//! Field names as servers behind us may read them.

/// Whether a name holds a character that is no letter, digit or `-`, so that a server which maps
/// such characters takes it for another name.
pub fn is_ambiguous(name: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    !name.iter().all(plain)
}

/// Whether two names are one to a server that folds case and maps every token character that is no
/// letter or digit to one and the same, as CGI does (RFC 3875 section 4.1.18).
pub fn reads_as(name: &[u8], other: &[u8]) -> bool {
    let same = |(a, b): (&u8, &u8)| {
        a.eq_ignore_ascii_case(b) || !(a.is_ascii_alphanumeric() || b.is_ascii_alphanumeric())
    };
    name.len() == other.len() && name.iter().zip(other).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_character_but_letters_and_digits_counts_as_a_hyphen() {
        for mark in "!#$%&'*+-.^_`|~".chars() {
            let name = format!("x{mark}Auth{mark}subject");
            assert!(reads_as(name.as_bytes(), b"X-Auth-Subject"), "{name}");
            assert!(reads_as(b"x_auth_subject", name.as_bytes()), "{name}");
            assert_eq!(is_ambiguous(name.as_bytes()), mark != '-', "{name}");
        }
        for name in [
            "x-auth-subjec",
            "x-auth-subjects",
            "xaauth-subject",
            "x--auth-subject",
        ] {
            assert!(!reads_as(name.as_bytes(), b"x-auth-subject"), "{name}");
        }
        assert!(!reads_as(b"x0auth", b"x-auth") && !reads_as(b"x-auth", b"x0auth"));
    }
}
