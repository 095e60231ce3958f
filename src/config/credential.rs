//! The forms of stored credentials: hashes of passwords and digests of keys, and names that go to an upstream. Only forms: nothing is hashed here.

use http::HeaderName;

use super::entry::Entry;

/// Costs that bcrypt has.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Whether a name can be a subject: visible ASCII and inner spaces, so that a header carries it unchanged.
pub(crate) fn is_subject(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && name.trim_ascii() == name
}

/// Whether a text is a bcrypt hash of a version that is taken: `$2a$`, `$2b$` or `$2y$`.
pub(crate) fn is_bcrypt(hash: &str) -> bool {
    bcrypt_cost(hash).is_some()
}

/// The cost of a bcrypt hash. `None`: it is none.
pub(super) fn bcrypt_cost(hash: &str) -> Option<u32> {
    let versions = ["$2a$", "$2b$", "$2y$"];
    let rest = versions
        .iter()
        .find_map(|version| hash.strip_prefix(version))?;
    let (cost, _) = rest.split_once('$')?;
    let written = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let parts: bcrypt::HashParts = hash.parse().ok()?;
    Some(parts.get_cost()).filter(|cost| written && COSTS.contains(cost))
}

/// 32 bytes in 64 hexadecimal digits.
pub(super) fn hex32(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |index: usize| char::from(pair[index]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(bytes)
}

/// A header that may carry a credential: none that the edge takes away or reads itself before a step sees it.
pub(super) fn header(entry: &Entry<'_>) -> Option<HeaderName> {
    let text = entry.text()?;
    let Ok(name) = HeaderName::from_bytes(text.as_bytes()) else {
        entry.error_help("is not a header name", "write it like \"X-API-Key\"");
        return None;
    };
    let spelt = super::claims::spelling(name.as_str());
    if spelt.starts_with("x-auth-") || super::claims::RESERVED.contains(&spelt.as_str()) {
        entry.error_help(
            format!("header {} cannot carry a credential of its own", text.shown()),
            "choose another, like \"X-API-Key\"; Authorization is for jwt-auth and basic-auth, and no client may set X-Auth-*",
        );
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bcrypt_hashes() {
        let rest = "c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";
        for (start, cost) in [
            ("$2a$05$", Some(5)),
            ("$2b$04$", Some(4)),
            ("$2y$31$", Some(31)),
            ("$2x$05$", None),
            ("$2$05$", None),
            ("$2b$03$", None),
            ("$2b$32$", None),
            ("$2b$+5$", None),
            ("$2b$5$", None),
            ("2b$05$", None),
            ("", None),
        ] {
            assert_eq!(bcrypt_cost(&format!("{start}{rest}")), cost, "{start}");
        }
        for bad in ["$2b$12$...", "$2b$12$", "", "secret", "$2b$éé$"] {
            assert!(!is_bcrypt(bad), "{bad}");
        }
        let hash = format!("$2b$05${rest}");
        assert!(!is_bcrypt(&hash[..59]) && !is_bcrypt(&format!("{hash}a")));
        assert!(!is_bcrypt(&hash.replace('6', "!")));
    }

    #[test]
    fn digests() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            let bytes: [u8; 32] = std::array::from_fn(|_| random.u8(..));
            let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex32(&text), Some(bytes));
            assert_eq!(hex32(&text.to_uppercase()), Some(bytes));
            assert_eq!(hex32(&text[1..]), None);
            assert_eq!(hex32(&format!("{text}0")), None);
            assert_eq!(hex32(&text.replacen(&text[..1], "g", 1)), None);
        }
        assert_eq!(hex32(&"é".repeat(32)), None);
    }

    #[test]
    fn subjects() {
        for good in ["a", "Alice Smith", "a@b", "~"] {
            assert!(is_subject(good), "{good}");
        }
        for bad in ["", " a", "a ", "a\t", "é", "a\n", "\u{7f}"] {
            assert!(!is_subject(bad), "{bad:?}");
        }
    }
}
