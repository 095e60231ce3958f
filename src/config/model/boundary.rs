//! Where a path prefix ends, to the servers behind an endpoint.

/// `prefix_boundary`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PrefixBoundary {
    /// `segment`: at a slash or at the end of the path.
    #[default]
    Segment,
    /// `word`: before every character that is no letter, digit, `-` or `_`. `/admin.json` and
    /// `/admin%20` are refused then, unless another prefix takes them.
    Word,
}

impl PrefixBoundary {
    /// Whether such servers take a segment of a path for this one of a prefix.
    pub fn takes(self, segment: &str, of_prefix: &str, case_sensitive: bool) -> bool {
        let parts = segment.as_bytes().split_at_checked(of_prefix.len());
        parts.is_some_and(|(name, rest)| {
            let same = match case_sensitive {
                true => name == of_prefix.as_bytes(),
                false => name.eq_ignore_ascii_case(of_prefix.as_bytes()),
            };
            same && rest.first().is_none_or(|next| self.is_before(*next))
        })
    }

    /// Whether a prefix may end before this character, which is no slash.
    fn is_before(self, next: u8) -> bool {
        let of_word = next.is_ascii_alphanumeric() || matches!(next, b'-' | b'_');
        self == Self::Word && !of_word
    }
}

#[cfg(test)]
mod tests {
    use super::PrefixBoundary::{Segment, Word};

    #[test]
    fn a_segment_is_the_one_of_the_prefix_or_goes_on_with_no_word() {
        for (segment, by_segment, by_word) in [
            ("admin", true, true),
            ("Admin", true, true),
            ("admin.", false, true),
            ("ADMIN.json", false, true),
            ("admin%20", false, true),
            ("admin~1", false, true),
            ("admins", false, false),
            ("admin-x", false, false),
            ("admin_x", false, false),
            ("admi", false, false),
            ("", false, false),
        ] {
            assert_eq!(
                Segment.takes(segment, "admin", false),
                by_segment,
                "{segment}"
            );
            assert_eq!(Word.takes(segment, "admin", false), by_word, "{segment}");
            let lower = !segment.bytes().any(|byte| byte.is_ascii_uppercase());
            assert_eq!(
                Word.takes(segment, "admin", true),
                by_word && lower,
                "{segment}"
            );
        }
    }
}
