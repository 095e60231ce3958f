//! Prefixes that a path does not begin with, but would for another server: one that folds case, or
//! that takes a prefix to end before a `.` or a space.

use std::borrow::Cow;

use foldhash::HashMap;

use crate::config::PrefixBoundary;

/// The prefixes of a host, as such servers compare them.
#[derive(Debug, Default)]
pub(super) struct ConfusablePrefixes {
    /// Those whose case does not count, by their lower case.
    folded: HashMap<Box<str>, Vec<Box<str>>>,
    /// Whether one of them has a letter in upper case, so that a path without any can be taken for
    /// it.
    upper: bool,
    /// Those that end with their word.
    words: Vec<Word>,
}

#[derive(Debug)]
struct Word {
    prefix: Box<str>,
    case_sensitive: bool,
}

impl ConfusablePrefixes {
    /// Adds a prefix; empty for `/`, which every path begins with.
    pub(super) fn insert(&mut self, prefix: &str, case_sensitive: bool, boundary: PrefixBoundary) {
        if prefix.is_empty() {
            return;
        }
        if !case_sensitive {
            self.upper |= has_upper(prefix);
            let spellings = self
                .folded
                .entry(prefix.to_ascii_lowercase().into())
                .or_default();
            if !spellings.iter().any(|known| **known == *prefix) {
                spellings.push(prefix.into());
            }
        }
        if boundary == PrefixBoundary::Word {
            self.words.push(Word {
                prefix: prefix.into(),
                case_sensitive,
            });
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.folded.is_empty() && self.words.is_empty()
    }

    /// The first that `pick` takes of the prefixes longer than `own` that a path begins with when
    /// case is folded, the longest ones first. `deepest`: as many of the path's segments as any
    /// prefix has.
    pub(super) fn find_folded<R>(
        &self,
        deepest: &str,
        own: usize,
        mut pick: impl FnMut(&str) -> Option<R>,
    ) -> Option<R> {
        let upper = deepest.len() > own && has_upper(deepest);
        if !upper && !self.upper {
            return None;
        }
        let lower = match upper {
            true => Cow::Owned(deepest.to_ascii_lowercase()),
            false => Cow::Borrowed(deepest),
        };
        let mut end = lower.len();
        while end > own {
            let spellings = self.folded.get(&lower[..end]).into_iter().flatten();
            if let Some(picked) = spellings.map(|prefix| &**prefix).find_map(&mut pick) {
                return Some(picked);
            }
            end = lower[..end].rfind('/')?;
        }
        None
    }

    /// A prefix longer than `own` that ends with its word, and that a path begins with up to there.
    pub(super) fn find_cut(&self, path: &str, own: usize) -> Option<&str> {
        let mut words = self.words.iter();
        let found = words.find(|word| word.prefix.len() > own && word.is_begun_by(path));
        found.map(|word| &*word.prefix)
    }
}

impl Word {
    /// Whether each of its segments stands in the path, followed by nothing or by what is no part
    /// of a word.
    fn is_begun_by(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let takes =
            |segment, wanted| PrefixBoundary::Word.takes(segment, wanted, self.case_sensitive);
        self.prefix.split('/').all(|wanted| {
            segments
                .next()
                .is_some_and(|segment| takes(segment, wanted))
        })
    }
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}
