//! The token that the published Runbeam SDK left: `~/.runbeam/<instance>/runbeam/auth.json`,
//! with the same keys.

use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::file::EncryptedFile;
use super::{TOKEN_NAME, token};
use crate::MachineToken;

/// Where it would be.
#[derive(Clone, Debug)]
pub(super) struct LegacyToken {
    instance: String,
    /// Where that SDK keeps its `encryption.key`.
    directory: PathBuf,
    pub(super) token: PathBuf,
}

impl LegacyToken {
    pub(super) fn of_published_sdk(home: &Path, instance: &str) -> Self {
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
    ) -> Result<Option<MachineToken>, StorageError> {
        let without_file;
        let file = match file {
            Some(file) => file,
            None => {
                without_file = EncryptedFile::new(self.directory.clone(), TOKEN_NAME, None);
                &without_file
            }
        };
        let Some(opened) = file.load_legacy(&self.token, &self.directory)? else {
            return Ok(None);
        };
        let place = self.token.display().to_string();
        token::from_json(&opened.plain, &place, &self.instance).map(Some)
    }
}
