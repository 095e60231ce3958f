//! Taking the credential of the Basic scheme apart (RFC 7617 section 2).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::auth::outcome::Reason;

/// bcrypt looks at no more than this; a longer password is refused, since cutting it would let
/// others in.
pub(super) const MAX_PASSWORD: usize = 72;

/// What the client sent. Zeroed when dropped.
pub(super) struct UserPass {
    pub(super) user: Zeroizing<String>,
    pub(super) password: Zeroizing<String>,
}

impl UserPass {
    /// Strict base64 with its padding, of UTF-8 without control characters, split at the first
    /// colon.
    pub(super) fn decode(token: &[u8]) -> Result<Self, Reason> {
        // Room for all of it: growing would leave a copy behind.
        let mut decoded = Zeroizing::new(Vec::with_capacity(token.len()));
        STANDARD
            .decode_vec(token, &mut decoded)
            .map_err(|_| Reason::Malformed)?;
        let text = std::str::from_utf8(&decoded).map_err(|_| Reason::Malformed)?;
        if text.chars().any(char::is_control) {
            return Err(Reason::Malformed);
        }
        let (user, password) = text.split_once(':').ok_or(Reason::Malformed)?;
        if password.len() > MAX_PASSWORD {
            return Err(Reason::TooLong);
        }
        Ok(Self {
            user: Zeroizing::new(user.to_owned()),
            password: Zeroizing::new(password.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: impl AsRef<[u8]>) -> Result<(String, String), Reason> {
        let presented = UserPass::decode(STANDARD.encode(text).as_bytes())?;
        Ok((presented.user.to_string(), presented.password.to_string()))
    }

    #[test]
    fn splits_at_the_first_colon() {
        let good = |user: &str, password: &str| Ok((user.to_owned(), password.to_owned()));
        // RFC 7617 sections 2 and 2.1
        assert_eq!(
            decoded("Aladdin:open sesame"),
            good("Aladdin", "open sesame")
        );
        assert_eq!(decoded("test:123\u{a3}"), good("test", "123\u{a3}"));
        assert_eq!(decoded("a:b:c"), good("a", "b:c"));
        assert_eq!(decoded(":"), good("", ""));
        assert_eq!(decoded("a:"), good("a", ""));
        let longest = "x".repeat(MAX_PASSWORD);
        assert_eq!(decoded(format!("a:{longest}")), good("a", &longest));
        assert_eq!(decoded(format!("a:{longest}x")), Err(Reason::TooLong));
        assert_eq!(
            decoded(format!("a:{}", "é".repeat(37))),
            Err(Reason::TooLong)
        );
        for bad in [
            &b"a"[..],
            b"",
            b"a:\0",
            b"a\n:b",
            b"a:\x7f",
            "a:\u{85}".as_bytes(),
            b"a:\xff",
            b"\xc0\x80:a",
        ] {
            assert_eq!(decoded(bad), Err(Reason::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert!(UserPass::decode(b"YTpi").is_ok());
        assert!(UserPass::decode(b"YTo=").is_ok());
        for bad in [
            "YTo", "YTp", "YTo==", "YTp=", "YT o=", "YT-_", "YTpi=", "====", "!!!", "YTpi\n",
        ] {
            assert_eq!(
                UserPass::decode(bad.as_bytes()).err(),
                Some(Reason::Malformed),
                "{bad}"
            );
        }
    }

    /// Whatever can be written comes back, and nothing makes it panic.
    #[test]
    fn round_trips() {
        let mut random = fastrand::Rng::with_seed(7617);
        for _ in 0..20_000 {
            let mut text = |most| -> String {
                let length = random.usize(..most);
                (0..length).map(|_| random.char(' '..'\u{2000}')).collect()
            };
            let (user, password) = (text(8), text(40));
            let fits = !user.contains(':')
                && password.len() <= MAX_PASSWORD
                && !user.chars().chain(password.chars()).any(char::is_control);
            let found = decoded(format!("{user}:{password}"));
            // With a colon in it, another name is read, and that one may fit.
            if !user.contains(':') {
                assert_eq!(found.is_ok(), fits);
            }
            if fits {
                assert_eq!(found, Ok((user, password)));
            }
            let bytes: Vec<u8> = (0..random.usize(..40)).map(|_| random.u8(..)).collect();
            if let Ok(found) = UserPass::decode(&bytes) {
                let again = format!("{}:{}", *found.user, *found.password);
                assert_eq!(STANDARD.encode(again).as_bytes(), bytes);
            }
        }
    }
}
