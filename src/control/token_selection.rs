//! Which machine token is in use: that of the environment, of the store, or one that was handed
//! over; and when another one takes its place.

use zeroize::Zeroizing;

use super::active_token::{ActiveToken, Source, choose, store_wins};
use super::{Agent, AgentState};
use crate::gateway::Runbeam;
use runbeam_sdk::{EnvironmentToken, MachineToken};

impl Agent {
    /// Finds the token to begin with, unless there is one already.
    pub(super) async fn find_token(&self, settings: &Runbeam) {
        let _lock = self.token_lock.lock().await;
        if self.active_token().is_some() {
            return;
        }
        let stored = self.stored(settings).await;
        let store = self.keeper.store(Some(settings)).await;
        let uses_environment_key = store.is_ok_and(|store| store.uses_environment_key());
        let environment = self.environment_token();
        if let Some(token) = environment.as_ref().filter(|token| token.is_expired()) {
            log::warn!(
                "runbeam: the token in RUNBEAM_MACHINE_TOKEN has expired at {}",
                token.expires_at
            );
        }
        let Some(mut active) = choose(environment, stored.clone(), uses_environment_key) else {
            return;
        };
        if active.source == Source::Environment
            && active.has_gateway()
            && active.stored
            && stored.as_ref() != Some(&active.token)
        {
            active.save_pending = !self.keep(settings, &active).await;
        }
        let mut state = self.state();
        if state.active_token.is_none() {
            log::info!(
                "runbeam: a machine token from the {}{}",
                active.source.name(),
                if active.token.is_expired() {
                    ", which has expired"
                } else {
                    ""
                }
            );
            state.active_token = Some(active);
        }
    }

    /// Takes up a token that another process has put into the store; whether there was one.
    pub(super) async fn check_store(&self, settings: &Runbeam) -> bool {
        let _lock = self.token_lock.lock().await;
        if let Some(active) = self.active_token().filter(|active| active.save_pending) {
            self.keep(settings, &active).await;
        }
        if let Ok(store) = self.keeper.store(Some(settings)).await
            && !store.changed().await
        {
            return false;
        }
        let Some(token) = self.stored(settings).await else {
            return false;
        };
        let mut state = self.state();
        let useless = |active: &ActiveToken| active.rejected || active.token.is_expired();
        let wanted = match &state.active_token {
            Some(active) if active.token.machine_token == token.machine_token => false,
            Some(active) => useless(active) || !token.is_expired(),
            None => true,
        };
        if wanted {
            log::info!("runbeam: another process has put a machine token into the store");
            state.replace(ActiveToken::new(token, Source::Store, true));
        }
        wanted
    }

    /// After the cloud has refused a token: the other one, if there is one that it has not refused;
    /// whether there is.
    pub(super) async fn try_other_token(&self, settings: &Runbeam, refused: &ActiveToken) -> bool {
        let stored = self.stored(settings).await;
        let environment = self.environment_token().map(|mut token| {
            // A bare token is tried for the same gateway.
            if token.gateway_id.is_empty() {
                token.gateway_id.clone_from(&refused.token.gateway_id);
                token.gateway_code.clone_from(&refused.token.gateway_code);
            }
            ActiveToken::new(token, Source::Environment, false)
        });
        let stored = stored.map(|token| ActiveToken::new(token, Source::Store, true));
        let mut state = self.state();
        if !state.has_refused(&refused.token) {
            let token = refused.token.machine_token.clone();
            state.rejected_tokens.push(token.into());
        }
        let other = [environment, stored].into_iter().flatten().find(|other| {
            other.token.gateway_id == refused.token.gateway_id
                && !other.token.is_expired()
                && !state.has_refused(&other.token)
        });
        let Some(other) = other else {
            return false;
        };
        log::warn!(
            "runbeam: the cloud does not take the machine token from the {}: trying the one from \
             the {}",
            refused.source.name(),
            other.source.name()
        );
        // Another one may have come while the store was read.
        let in_use =
            |active: &ActiveToken| active.token.machine_token == refused.token.machine_token;
        if state.active_token.as_ref().is_some_and(in_use) {
            state.active_token = Some(other);
        }
        true
    }

    /// The same for a bare token whose gateway is known now: the store may hold a later one of the
    /// same gateway.
    pub(super) async fn replace_identified(
        &self,
        settings: &Runbeam,
        bare: &ActiveToken,
        whole: ActiveToken,
    ) {
        let stored = self.stored(settings).await;
        let next = match stored {
            Some(stored)
                if store_wins(&whole.token, &stored) && !self.state().has_refused(&stored) =>
            {
                ActiveToken::new(stored, Source::Store, true)
            }
            _ => whole,
        };
        self.replace_active(settings, bare, next).await;
    }

    /// Puts a token in the place of the one in use, and in the store where it belongs there. Where
    /// the store fails, it serves from memory, and is stored later.
    pub(super) async fn replace_active(
        &self,
        settings: &Runbeam,
        before: &ActiveToken,
        next: ActiveToken,
    ) {
        let _lock = self.token_lock.lock().await;
        let in_use = self.active_token();
        // Meanwhile the operator may have handed another one over: that one counts.
        if in_use.is_none_or(|active| active.token.machine_token != before.token.machine_token) {
            return;
        }
        let saved = !next.stored || self.keep(settings, &next).await;
        self.state().replace(ActiveToken {
            save_pending: !saved,
            ..next
        });
    }

    /// What the store holds. What is wrong with it is told.
    async fn stored(&self, settings: &Runbeam) -> Option<MachineToken> {
        match self.keeper.load(settings).await {
            Ok(token) => {
                self.state().store_error = None;
                token
            }
            Err(error) => {
                self.record_store_error(error.to_string());
                None
            }
        }
    }

    /// Keeps an error for `/info` and logs it, unless it is the same as before.
    fn record_store_error(&self, error: String) {
        let mut state = self.state();
        if state.store_error.as_ref() != Some(&error) {
            log::error!("runbeam: {error}");
        }
        state.store_error = Some(error);
    }

    async fn keep(&self, settings: &Runbeam, active: &ActiveToken) -> bool {
        match self.keeper.save(settings, &active.token, None).await {
            Ok(()) => {
                self.update_active(active, |active| active.save_pending = false);
                self.state().store_error = None;
                true
            }
            Err(error) => {
                self.record_store_error(format!(
                    "the machine token is in memory only, and lost at a restart: {error}"
                ));
                self.update_active(active, |active| active.save_pending = true);
                false
            }
        }
    }

    /// `RUNBEAM_MACHINE_TOKEN`, unless the operator has told to forget it.
    pub(super) fn environment_token(&self) -> Option<MachineToken> {
        if self.state().environment_token_forgotten {
            return None;
        }
        Some(match self.env.machine_token.clone()? {
            EnvironmentToken::Whole(token) => token,
            EnvironmentToken::Bare(token) => {
                let mut token = MachineToken::new(token.as_str(), "", "", "", Vec::new());
                token.issued_at = None;
                token
            }
        })
    }
}

impl AgentState {
    /// Another token: what was known of the one before is of no use for it.
    pub(super) fn replace(&mut self, active: impl Into<Option<ActiveToken>>) {
        self.active_token = active.into();
        self.last_error = None;
        self.last_renewal_warning = None;
        self.pending = 0;
        self.rejected_tokens.clear();
    }

    fn has_refused(&self, token: &MachineToken) -> bool {
        let is_it = |refused: &Zeroizing<String>| **refused == token.machine_token;
        self.rejected_tokens.iter().any(is_it)
    }
}
