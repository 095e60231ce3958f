//! What a verdict depends on besides the token, in 32 bytes.

use std::hash::Hasher;

use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// Takes in the settings of a step, byte by byte.
pub(super) struct SettingsDigest(Context);

impl SettingsDigest {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// The SHA-256 of what was taken in.
    pub(super) fn digest(self) -> [u8; SHA256_OUTPUT_LEN] {
        let mut digest = [0; SHA256_OUTPUT_LEN];
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

impl Hasher for SettingsDigest {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Not asked for.
    fn finish(&self) -> u64 {
        0
    }
}
