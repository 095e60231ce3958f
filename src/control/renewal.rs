//! Renewing the machine token with itself.

use std::time::{Duration, Instant};

use super::Agent;
use super::held::{Held, Source};
use crate::gateway::Runbeam;
use crate::runbeam::{MachineToken, RunbeamClient, RunbeamError};

/// How often the operator is reminded.
const REMINDER: Duration = Duration::from_secs(86_400);

impl Agent {
    /// Asks the cloud for the next token. The one in use stays until there is another.
    pub(super) async fn renew(
        &self,
        client: &RunbeamClient,
        settings: &Runbeam,
        held: &Held,
    ) -> Result<(), RunbeamError> {
        let token = &held.token;
        let renewed = client
            .authorize_gateway(&token.machine_token, &token.gateway_code, None, None)
            .await;
        let renewed = match renewed {
            Ok(renewed) if held.is_whole() && renewed.gateway.id != token.gateway_id => {
                Err(RunbeamError::OtherGateway {
                    expected: token.gateway_id.clone(),
                    given: renewed.gateway.id,
                })
            }
            other => other,
        };
        match renewed {
            Ok(renewed) => {
                let token = MachineToken::new(
                    renewed.machine_token,
                    renewed.expires_at,
                    renewed.gateway.id,
                    renewed.gateway.code,
                    renewed.abilities,
                );
                log::info!(
                    "runbeam: the machine token is renewed, until {}",
                    token.expires_at
                );
                self.facts().counters.renewals_ok += 1;
                let next = Held::new(token, Source::Api, held.stored);
                self.settle(settings, held, next).await;
                Ok(())
            }
            Err(error) => {
                self.facts().counters.renewals_failed += 1;
                self.note(held, |held| held.not_renewed = true);
                self.remind(held, &error);
                Err(error)
            }
        }
    }

    /// Warns once a day.
    fn remind(&self, held: &Held, error: &RunbeamError) {
        let mut facts = self.facts();
        let due = facts.reminded.is_none_or(|last| last.elapsed() >= REMINDER);
        if !due {
            log::debug!("runbeam: renewal: {error}");
            return;
        }
        facts.reminded = Some(Instant::now());
        log::warn!(
            "runbeam: the machine token expires at {} and was not renewed ({error}): authorize this gateway anew, with `runbeam harmony:authorize`",
            held.token.expires_at
        );
    }
}
