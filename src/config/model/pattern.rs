//! Patterns, compiled when the configuration is read: what a request is compared with costs nothing
//! to prepare.

use std::fmt;

use matchit::Router;
use regex::Regex;

/// A regular expression. Equal to another one of the same text.
#[derive(Clone)]
pub struct TextPattern(Regex);

impl TextPattern {
    pub(in crate::config) fn new(regex: Regex) -> Self {
        Self(regex)
    }

    /// Whether it matches somewhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for TextPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for TextPattern {}

/// Leaves the text out: it may spell a secret that a header is compared with.
impl fmt::Debug for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[pattern]")
    }
}

/// A pattern of paths in `matchit` syntax: `/users/{id}`, `/files/{*path}`; or `*`, every path. A
/// slash at the end of a path counts for nothing.
#[derive(Clone)]
pub struct PathPattern {
    text: String,
    /// `None`: every path.
    router: Option<Router<()>>,
    /// The same in lower case, for a pattern that is not.
    folded: Option<Router<()>>,
    /// `/files`, for `/files/{*path}`.
    stem: Option<String>,
}

impl PathPattern {
    /// Compiles a pattern that is well formed otherwise: begins with a slash, ends with none.
    pub(in crate::config) fn new(text: &str) -> Result<Self, matchit::InsertError> {
        let compiled = |text: &str| {
            let mut router = Router::new();
            router.insert(text, ()).map(|()| Some(router))
        };
        let router = if text == "*" { None } else { compiled(text)? };
        let lower = text.to_ascii_lowercase();
        let folded = if lower == text {
            None
        } else {
            compiled(&lower)?
        };
        let stem = text
            .rsplit_once('/')
            .filter(|(_, last)| last.starts_with("{*") && last.ends_with('}'))
            .map(|(stem, _)| if stem.is_empty() { "/" } else { stem }.to_owned());
        Ok(Self {
            text: text.to_owned(),
            router,
            folded,
            stem,
        })
    }

    /// Whether it matches a canonical path.
    pub fn is_match(&self, path: &str) -> bool {
        let path = trimmed(path);
        self.router
            .as_ref()
            .is_none_or(|router| router.at(path).is_ok())
    }

    /// The same for a pattern that denies, for what servers behind us may take for a match:
    /// `/files/{*path}` takes `/files` and `/files/` too, what follows a semicolon in a segment
    /// counts for nothing, nor does case, unless those servers are `case_sensitive`.
    pub fn covers(&self, path: &str, case_sensitive: bool) -> bool {
        let covers = |path: &str| {
            self.is_match(path)
                || self.is_stem(path, case_sensitive)
                || (!case_sensitive && self.is_match_folded(path))
        };
        covers(path) || without_parameters(path).is_some_and(|path| covers(&path))
    }

    fn is_stem(&self, path: &str, case_sensitive: bool) -> bool {
        let path = trimmed(path);
        self.stem
            .as_deref()
            .is_some_and(|stem| match case_sensitive {
                true => stem == path,
                false => stem.eq_ignore_ascii_case(path),
            })
    }

    fn is_match_folded(&self, path: &str) -> bool {
        let Some(router) = self.folded.as_ref().or(self.router.as_ref()) else {
            return true;
        };
        if self.folded.is_none() && !path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return false;
        }
        router.at(&trimmed(path).to_ascii_lowercase()).is_ok()
    }
}

/// A path whose segments lose their parameters; `None` when it has none.
fn without_parameters(path: &str) -> Option<String> {
    if !path.contains(';') && !path.contains("%3B") {
        return None;
    }
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/') {
        let name = without_parameter(segment);
        if !name.is_empty() {
            plain.push('/');
            plain.push_str(name);
        }
    }
    Some(if plain.is_empty() {
        "/".to_owned()
    } else {
        plain
    })
}

/// What a segment is to servers that cut parameters off: it ends before the first `;`, be that
/// escaped or not.
pub(crate) fn without_parameter(segment: &str) -> &str {
    let marks = [";", "%3B"].iter();
    let end = marks.filter_map(|mark| segment.find(mark)).min();
    end.map_or(segment, |end| &segment[..end])
}

fn trimmed(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PathPattern {}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}
