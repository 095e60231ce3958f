//! References inside strings: `${NAME}`, `${NAME:-default}`, `${file:/path}`, `${credential:NAME}`.
//!
//! They are filled in after parsing, once: what comes out is not looked at again. A message names
//! the reference, never what it stands for.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::model::ErrorKind;

/// Where references and defaults get environment variables from, so that a test passes a map.
pub trait Environment {
    /// The value of a variable; `None` if it is not set or not UTF-8.
    fn var(&self, name: &str) -> Option<String>;
}

/// The environment of the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

impl Environment for BTreeMap<String, String> {
    fn var(&self, name: &str) -> Option<String> {
        self.get(name).cloned()
    }
}

/// A string after filling in. Zeroed when dropped, since it may be a secret.
pub(crate) struct Text {
    value: Zeroizing<String>,
    /// Whether any of it came from outside the file, so that it is not shown.
    pub(crate) filled: bool,
}

impl Text {
    /// How an error may show it: quoted, or not at all.
    pub(crate) fn shown(&self) -> String {
        if self.filled {
            "(filled in)".to_owned()
        } else {
            format!("{:?}", self.value.as_str())
        }
    }

    /// A part of it, to be shown or not as the whole.
    pub(crate) fn part(&self, part: &str) -> Self {
        Self {
            value: Zeroizing::new(part.to_owned()),
            filled: self.filled,
        }
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.value
    }
}

/// Fills every reference of `written` in. `base` is what relative paths are relative to; `file`
/// hears of each file that is read.
///
/// # Errors
///
/// What is wrong with the first reference that cannot be filled in, and what to do.
pub(crate) fn interpolate(
    written: &str,
    env: &dyn Environment,
    base: &Path,
    file: &mut dyn FnMut(PathBuf),
) -> Result<Text, (ErrorKind, String)> {
    if let Some(name) = as_in_a_shell(written) {
        return Err((
            format!("${name} is not filled in without braces").into(),
            format!("write ${{{name}}}"),
        ));
    }
    let mut value = Zeroizing::new(String::with_capacity(written.len()));
    let mut filled = false;
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((reference, after)) = after.split_once('}') else {
            return Err((
                "a reference has no closing brace".into(),
                "write ${NAME}".into(),
            ));
        };
        value.push_str(before);
        value.push_str(&resolve(reference, env, base, file)?);
        filled = true;
        rest = after;
    }
    value.push_str(rest);
    Ok(Text { value, filled })
}

/// The name in a text that begins with `$NAME` or `$(NAME)`, or is a URL with such a part: as a
/// value, it would be a secret that anybody guesses, or the name of a host or a file.
fn as_in_a_shell(written: &str) -> Option<&str> {
    let (before, after) = written.split_once('$')?;
    let url = before.contains("://");
    if !before.is_empty() && !url {
        return None;
    }
    let (after, closing) = match after.strip_prefix('(') {
        Some(after) => (after, true),
        None => (after, false),
    };
    let in_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let end = after.find(|c| !in_name(c)).unwrap_or(after.len());
    let (name, rest) = after.split_at_checked(end)?;
    let ends = match closing {
        true => rest.starts_with(')'),
        false => url || rest.is_empty() || rest.starts_with(['/', ':', '.']),
    };
    let named = name.len() > 1 && !name.starts_with(|c: char| c.is_ascii_digit());
    (named && ends).then_some(name)
}

fn resolve(
    reference: &str,
    env: &dyn Environment,
    base: &Path,
    file: &mut dyn FnMut(PathBuf),
) -> Result<Zeroizing<String>, (ErrorKind, String)> {
    if let Some(path) = reference.strip_prefix("file:") {
        return read(&base.join(path), file);
    }
    if let Some(name) = reference.strip_prefix("credential:") {
        let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        let directory = env
            .var("CREDENTIALS_DIRECTORY")
            .filter(|directory| !directory.is_empty());
        return match directory {
            _ if !plain => Err((
                "a credential has a plain file name".into(),
                "write ${credential:NAME}".into(),
            )),
            Some(directory) => read(&Path::new(&directory).join(name), file),
            None => Err((
                ErrorKind::UnsetVariable("CREDENTIALS_DIRECTORY".into()),
                format!("start it as a systemd service with LoadCredential={name}:PATH"),
            )),
        };
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let well_formed = !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err((
            "a reference is malformed".into(),
            "write ${NAME}, ${NAME:-default}, ${file:/path} or ${credential:NAME}".into(),
        ));
    }
    match (env.var(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(Zeroizing::new(default.to_owned())),
        (Some(value), _) => Ok(Zeroizing::new(value)),
        (None, Some(default)) => Ok(Zeroizing::new(default.to_owned())),
        (None, None) => Err((
            ErrorKind::UnsetVariable(name.to_owned()),
            format!("set it, or give a default: ${{{name}:-...}}"),
        )),
    }
}

/// A file's text without its last newline.
fn read(
    path: &Path,
    file: &mut dyn FnMut(PathBuf),
) -> Result<Zeroizing<String>, (ErrorKind, String)> {
    file(path.to_owned());
    match fs::read_to_string(path) {
        Ok(mut text) => {
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            Ok(Zeroizing::new(text))
        }
        Err(error) => {
            let kind = ErrorKind::Unreadable {
                what: path.display().to_string(),
                why: error.to_string(),
            };
            Err((kind, "create it, or let this user read it".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(written: &str, base: &Path) -> Result<String, String> {
        let env = BTreeMap::from([
            ("A", "x"),
            ("EMPTY", ""),
            ("CREDENTIALS_DIRECTORY", base.to_str().unwrap()),
        ]);
        let env: BTreeMap<String, String> = env
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        interpolate(written, &env, base, &mut |_| {})
            .map(|text| text.to_string())
            .map_err(|(kind, _)| kind.to_string())
    }

    #[test]
    fn every_form() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "two\nlines\r\n").unwrap();
        for (written, want) in [
            ("plain $2b$12$abc {} $A", "plain $2b$12$abc {} $A"),
            ("$2b$12$abc", "$2b$12$abc"),
            ("$A", "$A"),
            ("^/x$", "^/x$"),
            ("$ABC|x", "$ABC|x"),
            ("$apr1$x", "$apr1$x"),
            ("a$ABC", "a$ABC"),
            ("${A}", "x"),
            ("a-${A}-${A}", "a-x-x"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${NONE:-}", ""),
            ("${NONE:-http://h:1/}", "http://h:1/"),
            ("${file:secret}", "two\nlines"),
            ("${credential:secret}", "two\nlines"),
        ] {
            assert_eq!(
                filled(written, dir.path()).as_deref(),
                Ok(want),
                "{written}"
            );
        }
    }

    #[test]
    fn what_cannot_be_filled_in() {
        for (written, want) in [
            ("${NONE}", "environment variable NONE is not set"),
            ("$JWKS_URL", "$JWKS_URL is not filled in without braces"),
            ("$(JWKS_URL)", "$JWKS_URL is not filled in without braces"),
            ("$HOME/keys", "$HOME is not filled in without braces"),
            ("http://$HOST:80/", "$HOST is not filled in without braces"),
            ("$HOST:${A}", "$HOST is not filled in without braces"),
            ("${A", "a reference has no closing brace"),
            ("${}", "a reference is malformed"),
            ("${1A}", "a reference is malformed"),
            ("${A-b}", "a reference is malformed"),
            ("${credential:../x}", "a credential has a plain file name"),
        ] {
            assert_eq!(
                filled(written, Path::new("/nowhere")).unwrap_err(),
                want,
                "{written}"
            );
        }
        assert!(
            filled("${file:/nowhere/x}", Path::new(""))
                .unwrap_err()
                .starts_with("/nowhere/x cannot be read: ")
        );
    }
}
