//! The keys of the encrypted file: every form in which `RUNBEAM_ENCRYPTION_KEY` may come, and what
//! is done with them. Where they are stored: `file`.

use std::fmt;
use std::io::Read;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use age::{DecryptError, Decryptor, armor::ArmoredReader};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;
use zeroize::Zeroizing;

use super::error::StorageError;

/// More than any list of keys needs.
const MAX_TEXT: usize = 64 * 1024;
/// The seeds' commands encode once, a Kubernetes manifest once more.
const MAX_DECODINGS: u8 = 2;
/// What the secret half of an age key begins with.
const SECRET: &str = "AGE-SECRET-KEY-";

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// One or more age X25519 identities: the first encrypts, all decrypt. Wiped when dropped; `Debug`
/// shows only how many there are.
#[derive(Clone)]
pub struct EncryptionKeys {
    /// Never empty.
    identities: Vec<Identity>,
}

/// Why a text holds no keys. Says where, never what.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Nothing, or comment lines only.
    #[error(
        "holds no key: make one with `harmony-edge keygen`, or with `age-keygen | base64 -w 0`"
    )]
    Empty,
    /// Two commas in a row, or one at an end.
    #[error("key {entry} is empty: keys are separated by single commas")]
    EmptyEntry {
        /// Counted from 1.
        entry: usize,
    },
    /// `age1...`: what others encrypt to.
    #[error(
        "key {entry} is a public key: what is needed is the line that begins with AGE-SECRET-KEY-1"
    )]
    PublicKey {
        /// Counted from 1.
        entry: usize,
    },
    /// A key of a sort that harmony-edge does not read.
    #[error(
        "key {entry} is {sort}, which is not supported: make an X25519 key with `harmony-edge \
         keygen`, or with `age-keygen`"
    )]
    Unsupported {
        /// Counted from 1.
        entry: usize,
        /// With its article.
        sort: &'static str,
    },
    /// Begins like a key, but its checksum is wrong.
    #[error("key {entry} begins like an age key but is damaged: was all of it copied?")]
    Damaged {
        /// Counted from 1.
        entry: usize,
    },
    /// Something else: a passphrase, say.
    #[error(
        "key {entry} is neither an age secret key nor base64 of one (a passphrase will not do): \
         make one with `harmony-edge keygen`, or with `age-keygen | base64 -w 0`"
    )]
    NotAKey {
        /// Counted from 1.
        entry: usize,
    },
    /// More than 64 KiB.
    #[error("is longer than any list of keys")]
    TooLong,
}

/// Why something encrypted cannot be decrypted.
#[derive(Debug)]
pub(super) enum DecryptFailure {
    /// None of the keys fits.
    NoMatchingKey,
    /// No age file, or not all of one.
    Damaged,
}

impl EncryptionKeys {
    /// Reads keys in any of their forms: `AGE-SECRET-KEY-1...`, the output of `age-keygen` with its
    /// comments, base64 of either, once or twice, in one line or several, padded or not; several
    /// keys separated by commas, in mixed forms.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: which key is wrong, and how. One bad key refuses them all.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let text = without_comments(text);
        if text.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        let mut identities = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            read_entry(entry, index + 1, 0, &mut identities)?;
        }
        Ok(Self { identities })
    }

    /// The keys of `RUNBEAM_ENCRYPTION_KEY`; blank is unset.
    pub(super) fn of_environment(
        text: Option<Zeroizing<String>>,
    ) -> Result<Option<Self>, StorageError> {
        text.filter(|text| !text.trim().is_empty())
            .map(|text| Self::parse(&text))
            .transpose()
            .map_err(StorageError::EnvironmentKey)
    }

    /// One new key.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            identities: vec![Identity::generate()],
        }
    }

    /// The secret half of the first key: `AGE-SECRET-KEY-1...`.
    #[must_use]
    pub fn first(&self) -> Zeroizing<String> {
        self.identities
            .first()
            .map(secret)
            .unwrap_or_else(|| Zeroizing::new(String::new()))
    }

    /// These keys, and then those of `others` that are not among them.
    pub(super) fn followed_by(mut self, others: &Self) -> Self {
        for identity in &others.identities {
            let text = secret(identity);
            if !self.identities.iter().any(|known| secret(known) == text) {
                self.identities.push(identity.clone());
            }
        }
        self
    }

    /// As an identity file of `age`, with a comment on the first line.
    pub(super) fn to_file(&self, comment: &str) -> Zeroizing<String> {
        let mut file = Zeroizing::new(format!("# {comment}\n"));
        for identity in &self.identities {
            file.push_str("# public key: ");
            file.push_str(&identity.to_public().to_string());
            file.push('\n');
            file.push_str(&secret(identity));
            file.push('\n');
        }
        file
    }

    /// In age's binary format, for the first key.
    pub(super) fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>, age::EncryptError> {
        let first = self.identities.first();
        let first = first.ok_or(age::EncryptError::MissingRecipients)?;
        age::encrypt(&first.to_public(), plain)
    }

    /// The first key alone.
    pub(super) fn only_first(&self) -> Self {
        let first = self.identities.iter().take(1);
        Self {
            identities: first.cloned().collect(),
        }
    }

    /// What any of the keys opens, binary or armored.
    pub(super) fn decrypt(&self, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptFailure> {
        let keys = self.identities.iter().map(|key| key as &dyn age::Identity);
        let mut plain = Zeroizing::new(Vec::with_capacity(sealed.len()));
        Decryptor::new_buffered(ArmoredReader::new(sealed))
            .and_then(|file| file.decrypt(keys))
            .and_then(|mut reader| Ok(reader.read_to_end(&mut plain)?))
            .map_err(|error| match error {
                DecryptError::NoMatchingKeys => DecryptFailure::NoMatchingKey,
                _ => DecryptFailure::Damaged,
            })?;
        Ok(plain)
    }
}

impl fmt::Debug for EncryptionKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "EncryptionKeys({})", self.identities.len())
    }
}

fn secret(identity: &Identity) -> Zeroizing<String> {
    Zeroizing::new(identity.to_string().expose_secret().to_owned())
}

/// Neither a key nor base64 has a `#`; a comment may have a comma. `Public key:` is what
/// `age-keygen` says on its standard error.
fn without_comments(text: &str) -> Zeroizing<String> {
    let mut kept = Zeroizing::new(String::with_capacity(text.len()));
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.split('#').next().unwrap_or_default();
        if !line.trim_start().starts_with("Public key:") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn read_entry(
    text: &str,
    entry: usize,
    decodings: u8,
    into: &mut Vec<Identity>,
) -> Result<(), KeyError> {
    let Some(first) = text.split_whitespace().next() else {
        return Err(KeyError::EmptyEntry { entry });
    };
    if let Some(sort) = unsupported(first) {
        return Err(KeyError::Unsupported { entry, sort });
    }
    if starts_with(first, "age1") {
        return Err(KeyError::PublicKey { entry });
    }
    if starts_with(first, SECRET) {
        for word in text.split_whitespace() {
            into.push(identity(word, entry)?);
        }
        return Ok(());
    }
    if decodings == MAX_DECODINGS {
        return Err(KeyError::NotAKey { entry });
    }
    let inner = decoded(text).ok_or(KeyError::NotAKey { entry })?;
    let inner = without_comments(&inner);
    if inner.trim().is_empty() {
        return Err(KeyError::NotAKey { entry });
    }
    for part in inner.split(',') {
        read_entry(part, entry, decodings + 1, into)?;
    }
    Ok(())
}

fn identity(word: &str, entry: usize) -> Result<Identity, KeyError> {
    if let Some(sort) = unsupported(word) {
        return Err(KeyError::Unsupported { entry, sort });
    }
    if !starts_with(word, SECRET) {
        return Err(KeyError::NotAKey { entry });
    }
    word.parse().map_err(|_| KeyError::Damaged { entry })
}

fn unsupported(word: &str) -> Option<&'static str> {
    [
        ("AGE-SECRET-KEY-PQ-", "a post-quantum key"),
        ("AGE-PLUGIN-", "a key of an age plugin"),
        (
            "age-encryption.org/",
            "a key file that is itself encrypted with a passphrase",
        ),
        (
            "-----BEGIN",
            "a PEM (an SSH key, or an encrypted key file?)",
        ),
        ("ssh-", "an SSH key"),
    ]
    .into_iter()
    .find_map(|(prefix, sort)| starts_with(word, prefix).then_some(sort))
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The text that this is base64 of.
fn decoded(text: &str) -> Option<Zeroizing<String>> {
    let mut joined = Zeroizing::new(String::with_capacity(text.len()));
    joined.extend(text.split_whitespace());
    let bytes = STANDARD
        .decode(joined.as_bytes())
        .or_else(|_| URL_SAFE.decode(joined.as_bytes()))
        .map(Zeroizing::new)
        .ok()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests;
