//! What `fuzz/` needs of the SDK: how issuers and addresses are read.

use super::origin::{self, Origin};

/// The origin of an address that somebody else wrote.
pub fn exact_origin(address: &str) -> Option<String> {
    Origin::exact(address).map(|origin| origin.to_string())
}

/// The origin of an address that the operator named; or what is said of it.
pub fn named_origin(address: &str) -> Result<String, String> {
    match Origin::named(address) {
        Ok(origin) => Ok(origin.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A text from elsewhere as a log shows it.
pub fn printable(text: &str, most: usize) -> String {
    origin::printable(text, most)
}
