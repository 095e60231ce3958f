//! What this process has last seen of the stores, by which it notices what others put there.

use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};

use crate::files::secret::Mark;

/// How often the keyring may be asked.
const KEYRING_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Seen {
    file: Option<Mark>,
    /// A digest: no secret stays here.
    keyring: Option<[u8; 32]>,
    asked: Option<Instant>,
}

impl Seen {
    pub(super) fn file(&mut self, mark: Option<Mark>) {
        self.file = mark;
    }

    pub(super) fn is_other_file(&self, mark: Option<Mark>) -> bool {
        self.file != mark
    }

    pub(super) fn keyring(&mut self, secret: Option<&[u8]>) {
        self.keyring = secret.map(fingerprint);
        self.asked = Some(Instant::now());
    }

    /// Once per interval.
    pub(super) fn may_ask_keyring(&mut self) -> bool {
        let may = self
            .asked
            .is_none_or(|asked| asked.elapsed() >= KEYRING_INTERVAL);
        if may {
            self.asked = Some(Instant::now());
        }
        may
    }

    pub(super) fn is_other_secret(&self, secret: Option<&[u8]>) -> bool {
        self.keyring != secret.map(fingerprint)
    }
}

fn fingerprint(secret: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, secret).as_ref());
    out
}
