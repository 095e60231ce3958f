//! The local configuration goes to the cloud, references as they stand in the files. A literal
//! secret keeps it here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::is_refusal;
use super::{ActiveToken, Agent};
use runbeam_sdk::{RunbeamClient, RunbeamError};

/// What was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Bytes of TOML.
    pub config_size: usize,
    /// Pipelines in it.
    pub pipeline_count: usize,
}

/// Why nothing was uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// `[runbeam]` is off.
    #[error("runbeam is off")]
    Disabled,
    /// There is no machine token.
    #[error("this gateway has no machine token")]
    Unauthorized,
    /// The configuration is not fit to leave this machine; each entry names a key path.
    #[error("the configuration cannot be uploaded: {}", .0.join("; "))]
    Refused(Vec<String>),
    /// The cloud did not take it.
    #[error(transparent)]
    Cloud(#[from] RunbeamError),
}

impl Agent {
    /// Uploads the local configuration.
    pub async fn upload(&self) -> Result<Uploaded, UploadError> {
        let settings = self.live.runbeam().ok_or(UploadError::Disabled)?;
        let active = self.active_token().ok_or(UploadError::Unauthorized)?;
        let client = self.command_client(&settings)?;
        self.upload_with(&client, &active).await
    }

    async fn upload_with(
        &self,
        client: &RunbeamClient,
        active: &ActiveToken,
    ) -> Result<Uploaded, UploadError> {
        let live = Arc::clone(&self.live);
        let upload = tokio::task::spawn_blocking(move || live.upload())
            .await
            .map_err(|_| UploadError::Refused(vec!["reading it did not end well".to_owned()]))?
            .map_err(|errors| {
                UploadError::Refused(errors.iter().map(ToString::to_string).collect())
            })?;
        let uploaded = Uploaded {
            config_size: upload.toml.len(),
            pipeline_count: upload.pipelines.len(),
        };
        let id = Some(active.token.gateway_id.clone()).filter(|id| !id.is_empty());
        client
            .store_config(&active.token.machine_token, "gateway", id, upload.toml)
            .await?;
        let live = Arc::clone(&self.live);
        let noted = tokio::task::spawn_blocking(move || live.note_upload(upload.pipelines));
        // What the panic of it was about stands in the log.
        let _ = noted.await;
        log::info!(
            "runbeam: the local configuration is uploaded: {} bytes, {} pipelines",
            uploaded.config_size,
            uploaded.pipeline_count
        );
        Ok(uploaded)
    }

    /// The upload that `RUNBEAM_PUSH_CONFIG_ON_STARTUP` asks for: tried until the cloud has decided
    /// about it.
    pub(super) async fn push_on_startup_once(
        &self,
        client: &RunbeamClient,
        active: &ActiveToken,
    ) -> Result<(), RunbeamError> {
        let decided = match self.upload_with(client, active).await {
            Ok(_) => Ok(()),
            Err(UploadError::Cloud(error)) if !is_refusal(&error) => Err(error),
            Err(error) => {
                log::error!("runbeam: RUNBEAM_PUSH_CONFIG_ON_STARTUP: {error}");
                Ok(())
            }
        };
        if decided.is_ok() {
            self.push_pending.store(false, Ordering::Relaxed);
        }
        decided
    }
}
