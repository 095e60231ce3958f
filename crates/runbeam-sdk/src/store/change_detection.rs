//! What this process has last read or written, by which it notices what other processes stored.

use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};

use private_files::secret::Mark;

/// How often the keyring is read for this.
const KEYRING_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct LastSeen {
    file: Option<Mark>,
    /// SHA-256 of the secret.
    keyring: Option<[u8; 32]>,
    last_query: Option<Instant>,
}

impl LastSeen {
    pub(super) fn file(&mut self, mark: Option<Mark>) {
        self.file = mark;
    }

    pub(super) fn file_changed(&self, mark: Option<Mark>) -> bool {
        self.file != mark
    }

    pub(super) fn keyring(&mut self, secret: Option<&[u8]>) {
        self.keyring = secret.map(fingerprint);
        self.last_query = Some(Instant::now());
    }

    /// Once per interval.
    pub(super) fn keyring_due(&mut self) -> bool {
        let due = self
            .last_query
            .is_none_or(|last| last.elapsed() >= KEYRING_INTERVAL);
        if due {
            self.last_query = Some(Instant::now());
        }
        due
    }

    pub(super) fn secret_changed(&self, secret: Option<&[u8]>) -> bool {
        self.keyring != secret.map(fingerprint)
    }
}

fn fingerprint(secret: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret).as_ref());
    out
}
