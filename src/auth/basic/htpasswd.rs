//! htpasswd files: a user and a bcrypt hash on each line, as `htpasswd -B` writes them. Empty lines
//! and lines that begin with `#` do not count.

use std::path::Path;

use zeroize::Zeroizing;

use super::stored::StoredPassword;
use crate::auth::error::{BuildCause, HtpasswdError};
use crate::config;

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Vec<(String, StoredPassword)>, BuildCause> {
    let text = std::fs::read_to_string(path).map_err(|error| BuildCause::UnreadableUsers {
        path: path.to_owned(),
        error,
    })?;
    parse(&Zeroizing::new(text)).map_err(|(line, error)| BuildCause::Htpasswd {
        path: path.to_owned(),
        line,
        error,
    })
}

/// The users of a text, or the first line that is wrong, counted from 1.
pub(super) fn parse(text: &str) -> Result<Vec<(String, StoredPassword)>, (usize, HtpasswdError)> {
    let lines = text.lines().enumerate();
    let written = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    written
        .map(|(index, line)| user(line.trim_end()).map_err(|error| (index + 1, error)))
        .collect()
}

fn user(line: &str) -> Result<(String, StoredPassword), HtpasswdError> {
    let (name, hash) = line.split_once(':').ok_or(HtpasswdError::NoColon)?;
    if !config::is_subject(name) {
        return Err(HtpasswdError::Name);
    }
    let stored = StoredPassword::bcrypt(hash).ok_or(HtpasswdError::Hash)?;
    Ok((name.to_owned(), stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC";

    #[test]
    fn reads_users_and_skips_comments() {
        let text = format!("# users\n\nalice:{HASH}\r\nbob smith:{HASH}  \n");
        let users = parse(&text).unwrap();
        let names: Vec<_> = users.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["alice", "bob smith"]);
        assert_eq!(users[0].1.cost(), Some(5));
        assert_eq!(users[0].1.bytes(), HASH.as_bytes());
        assert_eq!(parse("").unwrap().len(), 0);
    }

    #[test]
    fn wrong_lines() {
        for (line, error) in [
            ("alice", HtpasswdError::NoColon),
            (":$2y$", HtpasswdError::Name),
            ("Zoë:$2y$", HtpasswdError::Name),
            (" a:$2y$", HtpasswdError::Name),
            ("a:", HtpasswdError::Hash),
            ("a:secret", HtpasswdError::Hash),
            ("a:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", HtpasswdError::Hash),
            (
                "a:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00",
                HtpasswdError::Hash,
            ),
            ("a:$6$salt$hash", HtpasswdError::Hash),
        ] {
            let text = format!("ok:{HASH}\n\n{line}\n");
            let (at, found) = parse(&text).map(|_| ()).unwrap_err();
            assert_eq!((at, found), (3, error), "{line}");
            assert!(!found.to_string().contains(line));
        }
        let more = format!("a:{HASH}:more");
        assert_eq!(parse(&more).map(|_| ()), Err((1, HtpasswdError::Hash)));
    }
}
