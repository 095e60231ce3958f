//! One poll: whose token it is (if nobody has said so), the upload at start, the changes that wait,
//! the status report.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use serde_json::json;

use super::error::AgentError;
use super::{ActiveToken, Agent};
use crate::gateway::Runbeam;
use runbeam_sdk::{Gateway, RunbeamClient};

impl Agent {
    /// Asks the cloud once, and does what it says. An error of the cloud ends the poll; a change
    /// that does not pass does not.
    pub(super) async fn poll(
        &self,
        client: &RunbeamClient,
        settings: &Runbeam,
        active: &ActiveToken,
    ) -> Result<(), AgentError> {
        let idle = settings.poll_interval.is_none() && active.has_gateway();
        if idle && !self.push_pending.load(Ordering::Relaxed) {
            return Ok(());
        }
        let outcome = self.try_poll(client, settings, active).await;
        let mut state = self.state();
        match &outcome {
            Ok(()) => {
                state.last_poll = Some(SystemTime::now());
                state.counters.polls_ok += 1;
                state.rejected_tokens.clear();
                if state.last_error.take().is_some() {
                    log::info!("runbeam: the cloud answers again");
                }
                state.change(active, |active| active.rejected = false);
            }
            Err(error) => {
                state.counters.polls_failed += 1;
                let mut text = error.to_string();
                // At one moment with the text, so that nobody sees the one without the other.
                if error.is_rejected() {
                    state.change(active, |active| active.rejected = true);
                    text = format!(
                        "the cloud does not take the machine token ({text}): authorize this \
                         gateway anew, with `runbeam harmony:authorize`"
                    );
                }
                state.record_error(text);
            }
        }
        outcome
    }

    async fn try_poll(
        &self,
        client: &RunbeamClient,
        settings: &Runbeam,
        active: &ActiveToken,
    ) -> Result<(), AgentError> {
        let whole;
        let active = if active.has_gateway() {
            active
        } else {
            let Some(found) = self.identify_gateway(client, settings, active).await? else {
                return Ok(());
            };
            whole = found;
            &whole
        };
        if self.push_pending.load(Ordering::Relaxed) {
            self.push_on_startup_once(client, active).await?;
        }
        if settings.poll_interval.is_none() {
            return Ok(());
        }
        self.pull(client, settings, active).await?;
        if settings.report_status && self.status_supported.load(Ordering::Relaxed) {
            self.report(client, active).await;
        }
        Ok(())
    }

    /// Finds the gateway of a bare token: the one named like this instance, else the only one there
    /// is. What then serves is the token in use.
    async fn identify_gateway(
        &self,
        client: &RunbeamClient,
        settings: &Runbeam,
        active: &ActiveToken,
    ) -> Result<Option<ActiveToken>, AgentError> {
        let token = &active.token.machine_token;
        let instance = &self.env.instance;
        let gateway = match client.get_gateway(token, instance).await {
            Ok(found) => found.data,
            // A cloud may also say that others' gateways are none of its business.
            Err(error) if matches!(error.status(), Some(403 | 404)) => {
                only_gateway(client.list_gateways(token).await?.data, instance)?
            }
            Err(error) => return Err(error.into()),
        };
        log::info!(
            "runbeam: the machine token is for gateway {:?} ({:?})",
            gateway.id,
            gateway.code
        );
        let mut whole = active.clone();
        whole.token.gateway_id = gateway.id;
        whole.token.gateway_code = gateway.code;
        self.replace_identified(settings, active, whole).await;
        Ok(self.active_token().filter(ActiveToken::has_gateway))
    }

    /// Tells the cloud how things stand. That it does not know the call switches this off, quietly;
    /// other errors are no matter of the poll's.
    async fn report(&self, client: &RunbeamClient, active: &ActiveToken) {
        let configuration = self.live.status();
        let counters = self.status().counters;
        let uptime = self.started_at.elapsed().unwrap_or_default();
        let status = json!({
            "gateway_id": active.token.gateway_id,
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_secs": uptime.as_secs(),
            "config_generation": configuration.generation,
            "config_error": configuration.last_error.is_some(),
            "counters": {
                "polls": counters.polls_ok,
                "polls_failed": counters.polls_failed,
                "changes_applied": counters.changes_applied,
                "changes_failed": counters.changes_failed,
            },
        });
        match client
            .report_status(&active.token.machine_token, &status)
            .await
        {
            Ok(()) => {}
            Err(error) if matches!(error.status(), Some(404 | 405)) => {
                log::debug!("runbeam: the cloud takes no status reports");
                self.status_supported.store(false, Ordering::Relaxed);
            }
            Err(error) => log::debug!("runbeam: {error}"),
        }
    }
}

fn only_gateway(mut gateways: Vec<Gateway>, instance: &str) -> Result<Gateway, AgentError> {
    match (gateways.pop(), gateways.len()) {
        (Some(gateway), 0) => Ok(gateway),
        (last, others) => Err(AgentError::UnknownGateway {
            count: others + usize::from(last.is_some()),
            instance: instance.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_a_bare_token_is_for_is_never_guessed() {
        let gateway = || Gateway::new("code", "Name");
        assert!(only_gateway(vec![gateway()], "edge").is_ok());
        for count in [0, 2, 3] {
            let gateways = (0..count).map(|_| gateway()).collect();
            let error = only_gateway(gateways, "edge").unwrap_err().to_string();
            let want = format!("RUNBEAM_MACHINE_TOKEN: the cloud knows {count} gateways and none");
            assert!(error.starts_with(&want), "{error}");
        }
    }
}
