//! Pulling changes: oldest first, each one fetched, acknowledged and put in service before the
//! cloud is told so, and none twice.

use std::collections::HashSet;

use jiff::Timestamp;

use crate::gateway::{LayerChange, ReloadError, Runbeam};
use runbeam_sdk::{Change, RunbeamClient, RunbeamError};

use super::error::is_refusal;
use super::{ActiveToken, Agent};

/// What the cloud is told about a refusal, at most: entries, and bytes of one.
const MAX_DETAILS: usize = 100;
const MAX_DETAIL: usize = 2000;

/// Why a change was refused, for the cloud and the log.
struct Rejection {
    error: String,
    details: Vec<String>,
}

impl Rejection {
    fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            details: Vec::new(),
        }
    }
}

impl Agent {
    /// Carries out what waits. A change that does not pass is reported, and the next one is tried.
    pub(super) async fn pull(
        &self,
        client: &RunbeamClient,
        settings: &Runbeam,
        active: &ActiveToken,
    ) -> Result<(), RunbeamError> {
        let token = &active.token;
        let mut changes = client
            .list_changes_for_gateway(&token.machine_token, &token.gateway_id)
            .await?
            .data;
        changes.retain(|change| !matches!(&*change.status, "applied" | "failed"));
        sort_oldest_first(&mut changes);
        self.state().pending = changes.len();
        if !settings.apply_changes {
            return Ok(());
        }
        for change in changes {
            match self.process_change(client, active, &change).await {
                Ok(()) => {
                    let mut state = self.state();
                    state.pending = state.pending.saturating_sub(1);
                }
                // About this change only: the next one may fare better.
                Err(error) if is_about_one_change(&error) => {
                    log::warn!("runbeam: change {}: {error}", printable(&change.id));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn process_change(
        &self,
        client: &RunbeamClient,
        active: &ActiveToken,
        listed: &Change,
    ) -> Result<(), RunbeamError> {
        let (token, id) = (&active.token.machine_token, &*listed.id);
        if self.has_applied(id).await {
            // It serves; only the report was lost.
            client.mark_change_applied(token, id).await?;
            return Ok(());
        }
        let outcome = match client.get_change(token, id).await {
            Ok(change) => {
                client.acknowledge_changes(token, [id]).await?;
                self.apply_change(id, listed, change.data).await
            }
            Err(error) if error.is_malformed_response() => Err(Rejection::new(error.to_string())),
            Err(error) => return Err(error),
        };
        match outcome {
            Ok(()) => {
                log::info!("runbeam: change {} is in service", printable(id));
                self.state().counters.changes_applied += 1;
                client.mark_change_applied(token, id).await?;
            }
            Err(refused) => {
                log::warn!(
                    "runbeam: change {} is refused: {}",
                    printable(id),
                    refused.error
                );
                for detail in &refused.details {
                    log::warn!("runbeam: change {}: {detail}", printable(id));
                }
                self.state().counters.changes_failed += 1;
                let details = Some(refused.details).filter(|details| !details.is_empty());
                client
                    .mark_change_failed(token, id, refused.error, details)
                    .await?;
            }
        }
        Ok(())
    }

    /// Asked where it may wait for a change that is under way.
    async fn has_applied(&self, id: &str) -> bool {
        let (live, id) = (self.live.clone(), id.to_owned());
        let asked = tokio::task::spawn_blocking(move || live.has_applied(&id));
        asked.await.unwrap_or(false)
    }

    /// Builds, persists and swaps, on a thread that may block.
    async fn apply_change(
        &self,
        id: &str,
        listed: &Change,
        change: Change,
    ) -> Result<(), Rejection> {
        let Some(toml) = change.toml_config else {
            return Err(Rejection::new("the change holds no toml_config"));
        };
        let kind = if change.resource_type.is_empty() {
            listed.resource_type.clone()
        } else {
            change.resource_type
        };
        let pipeline = change.pipeline_id.or_else(|| listed.pipeline_id.clone());
        let change = match &*kind {
            "gateway" => LayerChange::Gateway { toml },
            "pipeline" => LayerChange::Pipeline { id: pipeline, toml },
            other => {
                return Err(Rejection::new(format!(
                    "harmony-edge serves changes of type \"gateway\" and \"pipeline\", not {:?}",
                    printable(other)
                )));
            }
        };
        let (live, id) = (self.live.clone(), id.to_owned());
        let alone = self.apply_lock.clone().lock_owned().await;
        let applied = tokio::task::spawn_blocking(move || {
            let _alone = alone;
            // One that was applied meanwhile is not applied again.
            live.apply_change(&id, change).map(drop)
        })
        .await;
        match applied {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(Rejection::new("applying the change did not end well")),
        }
    }
}

fn refused(error: &ReloadError) -> Rejection {
    let details = error.details();
    let error = match details.len() {
        1 => truncated(&details[0]),
        count => format!("{count} errors; nothing was applied"),
    };
    Rejection {
        error,
        details: details
            .iter()
            .take(MAX_DETAILS)
            .map(|text| truncated(text))
            .collect(),
    }
}

/// Oldest first; those of the same time in the order of the cloud, each once.
fn sort_oldest_first(changes: &mut Vec<Change>) {
    let mut seen = HashSet::new();
    changes.retain(|change| seen.insert(change.id.clone()));
    changes.sort_by_cached_key(|change| change.created_at.trim().parse::<Timestamp>().ok());
}

/// Whether the cloud's error says nothing about the next change.
fn is_about_one_change(error: &RunbeamError) -> bool {
    is_refusal(error) || error.is_malformed_response()
}

/// An id that the cloud chose, fit for a log.
fn printable(id: &str) -> String {
    id.chars()
        .take(64)
        .map(|c| if c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

fn truncated(text: &str) -> String {
    if text.len() <= MAX_DETAIL {
        return text.to_owned();
    }
    let mut end = MAX_DETAIL;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cloud_chose_is_bounded() {
        assert_eq!(printable("a\nb\u{1b}[31m"), "a?b?[31m");
        assert_eq!(printable(&"x".repeat(100)).len(), 64);
        let long = "é".repeat(MAX_DETAIL);
        assert!(truncated(&long).len() <= MAX_DETAIL + 3 && truncated(&long).ends_with("..."));
        assert_eq!(truncated("short"), "short");
    }
}
