//! The forms of stored credentials: hashes of passwords and digests of keys, and names that go to
//! an upstream. Only forms: nothing is hashed here.

use zeroize::Zeroizing;

use crate::config::model::Secret;

/// The digits of bcrypt's own base64, by value.
const DIGITS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Costs that bcrypt has.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Whether a name can be a subject: visible ASCII and inner spaces, so that a header carries it
/// unchanged.
pub(crate) fn is_subject(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && name.trim_ascii() == name
}

/// A bcrypt hash of a version that is taken (`$2a$`, `$2b$` or `$2y$`), and its cost. `None`: it is
/// none.
///
/// The last digits of salt and hash hold bits that mean nothing. Some programs leave them set, and
/// the hash comes without them.
pub(crate) fn bcrypt_hash(text: &str) -> Option<(Secret, u32)> {
    let versions = ["$2a$", "$2b$", "$2y$"];
    let rest = versions
        .iter()
        .find_map(|version| text.strip_prefix(version))?;
    let (cost, _) = rest.split_once('$')?;
    let written = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
    let mut hash = Zeroizing::new(text.as_bytes().to_vec());
    for (digit, used) in [(28, 0b11_0000), (59, 0b11_1100)] {
        let digit = hash.get_mut(digit)?;
        *digit = DIGITS[DIGITS.iter().position(|known| known == digit)? & used];
    }
    let hash = Secret::new(std::str::from_utf8(&hash).ok()?.to_owned());
    let cost = hash.expose().parse::<bcrypt::HashParts>().ok()?.get_cost();
    (written && COSTS.contains(&cost)).then_some((hash, cost))
}

/// 32 bytes in 64 hexadecimal digits.
pub(crate) fn hex32(text: &str) -> Option<[u8; 32]> {
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
            let found = bcrypt_hash(&format!("{start}{rest}"));
            assert_eq!(found.map(|(_, cost)| cost), cost, "{start}");
        }
        for bad in ["$2b$12$...", "$2b$12$", "", "secret", "$2b$éé$"] {
            assert!(bcrypt_hash(bad).is_none(), "{bad}");
        }
        let hash = format!("$2b$05${rest}");
        for bad in [&hash[..59], &format!("{hash}a"), &hash.replace('6', "!")] {
            assert!(bcrypt_hash(bad).is_none());
        }
        // "u" and "C" have bits to spare.
        let spare = hash.replace("a6uX", "a6vX").replace("RqC", "RqD");
        assert_ne!(spare, hash);
        for text in [&hash, &spare] {
            assert_eq!(bcrypt_hash(text).unwrap().0.expose(), hash);
        }
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
