//! The token that the published Runbeam library left: `~/.runbeam/<instance>/runbeam/auth.json`,
//! with the same keys.

use std::path::{Path, PathBuf};

use serde_json::Value;
use zeroize::Zeroizing;

use super::error::StoreError;
use super::file::EncryptedFile;
use super::token;
use crate::runbeam::MachineToken;

/// Where it would be.
#[derive(Clone, Debug)]
pub(super) struct Left {
    instance: String,
    /// That of the library, with its `encryption.key`.
    directory: PathBuf,
    pub(super) token: PathBuf,
}

impl Left {
    pub(super) fn by_the_library(home: &Path, instance: &str) -> Self {
        let directory = home.join(".runbeam").join(instance);
        let token = directory.join("runbeam").join("auth.json");
        Self {
            instance: instance.to_owned(),
            directory,
            token,
        }
    }

    /// The token, opened with the keys of `file` or those beside it.
    pub(super) fn load(
        &self,
        file: Option<&EncryptedFile>,
    ) -> Result<Option<MachineToken>, StoreError> {
        let without_file;
        let file = match file {
            Some(file) => file,
            None => {
                without_file = EncryptedFile::new(self.directory.clone(), None);
                &without_file
            }
        };
        let Some(opened) = file.load_left(&self.token, &self.directory)? else {
            return Ok(None);
        };
        let place = self.token.display().to_string();
        token::from_json(&self.with_code(&opened.plain), &place).map(Some)
    }

    /// The library's later releases do not write `gateway_code`; the gateway's code is the
    /// instance's name.
    fn with_code(&self, plain: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut json = plain.to_vec();
        if let Ok(Value::Object(mut members)) = serde_json::from_slice(plain) {
            members
                .entry("gateway_code")
                .or_insert_with(|| self.instance.as_str().into());
            json = Value::Object(members).to_string().into_bytes();
        }
        Zeroizing::new(json)
    }
}
