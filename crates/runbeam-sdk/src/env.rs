//! The environment variables that the SDK reads where a program does not say otherwise. None of
//! them is read anywhere else.

use std::env;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// The one trusted issuer of user tokens.
pub(super) const API_URL: &str = "RUNBEAM_API_URL";
/// The secret that HS256 user tokens are signed with.
pub(super) const JWT_SECRET: &str = "RUNBEAM_JWT_SECRET";
/// The keys of the encrypted files.
const ENCRYPTION_KEY: &str = "RUNBEAM_ENCRYPTION_KEY";

/// A variable; one that is no UTF-8 counts as unset.
pub(super) fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The keys of the encrypted files. What is no UTF-8 is no key, and refused as such.
pub(super) fn encryption_key() -> Option<Zeroizing<String>> {
    let key = env::var_os(ENCRYPTION_KEY)?;
    Some(Zeroizing::new(key.to_string_lossy().into_owned()))
}

/// The home directory of the user.
pub(super) fn home() -> Option<PathBuf> {
    env::home_dir()
}
