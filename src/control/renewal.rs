//! Renewing the machine token with itself.

use std::time::{Duration, Instant};

use super::Agent;
use super::active_token::{ActiveToken, Source, issued};
use super::error::AgentError;
use crate::gateway::Runbeam;
use crate::telemetry::audit;
use runbeam_sdk::RunbeamClient;

/// How often the operator is reminded.
const WARNING_INTERVAL: Duration = Duration::from_secs(86_400);

impl Agent {
    /// Asks the cloud for the next token. The one in use stays until there is another.
    pub(super) async fn renew(
        &self,
        client: &RunbeamClient,
        settings: &Runbeam,
        active: &ActiveToken,
    ) -> Result<(), AgentError> {
        let token = &active.token;
        let renewed = client
            .authorize_gateway(&token.machine_token, &token.gateway_code, None, None)
            .await;
        let renewed = match renewed {
            Ok(renewed) if active.has_gateway() && renewed.gateway.id != token.gateway_id => {
                Err(AgentError::OtherGateway {
                    expected: token.gateway_id.clone(),
                    given: renewed.gateway.id,
                })
            }
            other => other.map_err(AgentError::from),
        };
        match renewed {
            Ok(renewed) => {
                let token = issued(renewed);
                log::info!(
                    "runbeam: the machine token is renewed, until {}",
                    token.expires_at
                );
                audit::note(
                    "token",
                    "renewal",
                    &format_args!("until {}", token.expires_at),
                );
                self.state().counters.renewals_ok += 1;
                let next = ActiveToken::new(token, Source::Api, active.stored);
                self.replace_active(settings, active, next).await;
                Ok(())
            }
            Err(error) => {
                audit::note("token", "renewal", &format_args!("failed: {error}"));
                self.state().counters.renewals_failed += 1;
                self.update_active(active, |active| active.not_renewed = true);
                self.warn_not_renewed(active, &error);
                Err(error)
            }
        }
    }

    /// Warns once a day.
    fn warn_not_renewed(&self, active: &ActiveToken, error: &AgentError) {
        let mut state = self.state();
        let due = state
            .last_renewal_warning
            .is_none_or(|last| last.elapsed() >= WARNING_INTERVAL);
        if !due {
            log::debug!("runbeam: renewal: {error}");
            return;
        }
        state.last_renewal_warning = Some(Instant::now());
        log::warn!(
            "runbeam: the machine token expires at {} and was not renewed ({error}): authorize \
             this gateway anew, with `runbeam harmony:authorize`",
            active.token.expires_at
        );
    }
}
