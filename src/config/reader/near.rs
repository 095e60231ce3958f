//! Known names near one that is not known.

/// As many names are told as a line takes, where none of them is near.
const FEW: usize = 16;
/// The same for keys, which no user chose.
const MANY: usize = 48;

/// The known name that this one is probably a typo of. Case and the kind of dash do not count.
pub(crate) fn near<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let spelt = spelling(name);
    let (distance, candidate) = known
        .iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&spelt, &spelling(candidate));
            (distance, *candidate)
        })
        .min()?;
    (distance <= 1.max(name.chars().count() / 3)).then_some(candidate)
}

/// `did you mean "x"?`, or the few names there are, or nothing.
pub(crate) fn known_names(name: &str, known: &[&str]) -> Option<String> {
    let meant = near(name, known).or_else(|| begun(name, known));
    match meant {
        Some(meant) => Some(format!("did you mean {meant:?}?")),
        None => listed(known, FEW).map(|list| format!("known: {list}")),
    }
}

/// The same for a key: where none is a typo away, those that have a word in common with it.
pub(crate) fn known_keys(key: &str, known: &[&str]) -> Option<String> {
    if let Some(meant) = near(key, known).or_else(|| begun(key, known)) {
        return Some(format!("did you mean {meant:?}?"));
    }
    let mut related = known.to_vec();
    related.retain(|known| has_word_of(known, key));
    match listed(&related, FEW) {
        Some(list) if known.len() > 8 => Some(format!("known keys near it: {list}")),
        _ => listed(known, MANY).map(|list| format!("known: {list}")),
    }
}

/// The one name that begins with this word: `jwt-auth` for `jwt`.
fn begun<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let name = spelling(name);
    let begins = |known: &&&str| {
        let known = spelling(known);
        known
            .strip_prefix(&name)
            .is_some_and(|rest| rest.starts_with('_'))
    };
    let mut found = known.iter().filter(begins);
    let first = found.next().filter(|_| name.len() > 2)?;
    found.next().is_none().then_some(*first)
}

fn has_word_of(known: &str, key: &str) -> bool {
    let (known, key) = (spelling(known), spelling(key));
    let mut words = key.split('_').filter(|word| word.len() > 2);
    words.any(|word| known.contains(word))
        || known
            .split('_')
            .any(|word| word.len() > 2 && key.contains(word))
}

fn listed(names: &[&str], most: usize) -> Option<String> {
    let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
    (1..=most)
        .contains(&quoted.len())
        .then(|| quoted.join(", "))
}

fn spelling(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: &[&str] = &["jwt-auth", "basic-auth", "api-key", "policies"];
    const KEYS: &[&str] = &[
        "jwks_url",
        "jwks_path",
        "jwks_cache_secs",
        "public_key_path",
        "issuer",
        "audience",
        "validate_expiry",
        "optional",
        "realm",
    ];

    #[test]
    fn a_name_that_is_nearly_known() {
        for (name, expected) in [
            ("jwt_auth", "did you mean \"jwt-auth\"?"),
            ("JWT-Auth", "did you mean \"jwt-auth\"?"),
            ("jwt-aut", "did you mean \"jwt-auth\"?"),
            ("jwt", "did you mean \"jwt-auth\"?"),
            ("basic", "did you mean \"basic-auth\"?"),
            (
                "oauth",
                "known: \"jwt-auth\", \"basic-auth\", \"api-key\", \"policies\"",
            ),
        ] {
            assert_eq!(
                known_names(name, TYPES).as_deref(),
                Some(expected),
                "{name}"
            );
        }
        let many: Vec<String> = (0..40)
            .map(|number| format!("backend-{number:02}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(known_names("something-else", &many), None);
        assert_eq!(known_names("x", &[]), None);
    }

    #[test]
    fn keys_that_have_a_word_in_common() {
        let near = |key: &str| known_keys(key, KEYS).unwrap_or_default();
        assert_eq!(near("audiance"), "did you mean \"audience\"?");
        assert_eq!(
            near("jwks"),
            "known keys near it: \"jwks_url\", \"jwks_path\", \"jwks_cache_secs\""
        );
        assert_eq!(near("expiry"), "known keys near it: \"validate_expiry\"");
        assert_eq!(near("key_file"), "known keys near it: \"public_key_path\"");
        assert!(near("foo").starts_with("known: \"jwks_url\", ") && near("foo").contains("realm"));
    }
}
