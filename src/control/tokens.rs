//! Which machine token is in use: that of the environment, of the store, or one that was handed
//! over; and when another one takes its place.

use zeroize::Zeroizing;

use super::held::{Held, Source, choose, store_wins};
use super::{Agent, Facts};
use crate::gateway::Runbeam;
use crate::runbeam::{EnvironmentToken, MachineToken};

impl Agent {
    /// Finds the token to begin with, unless there is one already.
    pub(super) async fn find_token(&self, settings: &Runbeam) {
        let _turn = self.turn.lock().await;
        if self.held().is_some() {
            return;
        }
        let stored = self.stored(settings).await;
        let store = self.keeper.store(Some(settings)).await;
        let uses_variable = store.is_ok_and(|store| store.uses_variable());
        let environment = self.environment_token();
        if let Some(token) = environment.as_ref().filter(|token| token.is_expired()) {
            log::warn!(
                "runbeam: the token in RUNBEAM_MACHINE_TOKEN has expired at {}",
                token.expires_at
            );
        }
        let Some(mut held) = choose(environment, stored.clone(), uses_variable) else {
            return;
        };
        if held.source == Source::Environment
            && held.is_whole()
            && held.stored
            && stored.as_ref() != Some(&held.token)
        {
            held.unsaved = !self.keep(settings, &held).await;
        }
        let mut facts = self.facts();
        if facts.held.is_none() {
            log::info!(
                "runbeam: a machine token from the {}{}",
                held.source.name(),
                if held.token.is_expired() {
                    ", which has expired"
                } else {
                    ""
                }
            );
            facts.held = Some(held);
        }
    }

    /// Takes up a token that another process has put into the store; whether there was one.
    pub(super) async fn look_into_store(&self, settings: &Runbeam) -> bool {
        let _turn = self.turn.lock().await;
        if let Some(held) = self.held().filter(|held| held.unsaved) {
            self.keep(settings, &held).await;
        }
        if let Ok(store) = self.keeper.store(Some(settings)).await
            && !store.changed().await
        {
            return false;
        }
        let Some(token) = self.stored(settings).await else {
            return false;
        };
        let mut facts = self.facts();
        let useless = |held: &Held| held.rejected || held.token.is_expired();
        let wanted = match &facts.held {
            Some(held) if held.token.machine_token == token.machine_token => false,
            Some(held) => useless(held) || !token.is_expired(),
            None => true,
        };
        if wanted {
            log::info!("runbeam: another process has put a machine token into the store");
            facts.replace(Held::new(token, Source::Store, true));
        }
        wanted
    }

    /// After the cloud has refused a token: the other one, if there is one that it has not refused;
    /// whether there is.
    pub(super) async fn take_the_other_token(&self, settings: &Runbeam, refused: &Held) -> bool {
        let stored = self.stored(settings).await;
        let environment = self.environment_token().map(|mut token| {
            // A bare token is tried for the same gateway.
            if token.gateway_id.is_empty() {
                token.gateway_id.clone_from(&refused.token.gateway_id);
                token.gateway_code.clone_from(&refused.token.gateway_code);
            }
            Held::new(token, Source::Environment, false)
        });
        let stored = stored.map(|token| Held::new(token, Source::Store, true));
        let mut facts = self.facts();
        if !facts.has_refused(&refused.token) {
            let token = refused.token.machine_token.clone();
            facts.refused.push(token.into());
        }
        let other = [environment, stored].into_iter().flatten().find(|other| {
            other.token.gateway_id == refused.token.gateway_id
                && !other.token.is_expired()
                && !facts.has_refused(&other.token)
        });
        let Some(other) = other else {
            return false;
        };
        log::warn!(
            "runbeam: the cloud does not take the machine token from the {}: trying the one from the {}",
            refused.source.name(),
            other.source.name()
        );
        // Another one may have come while the store was read.
        let in_use = |held: &Held| held.token.machine_token == refused.token.machine_token;
        if facts.held.as_ref().is_some_and(in_use) {
            facts.held = Some(other);
        }
        true
    }

    /// The same for a bare token whose gateway is known now: the store may hold a later one of the
    /// same gateway.
    pub(super) async fn settle_identified(&self, settings: &Runbeam, bare: &Held, whole: Held) {
        let stored = self.stored(settings).await;
        let next = match stored {
            Some(stored)
                if store_wins(&whole.token, &stored) && !self.facts().has_refused(&stored) =>
            {
                Held::new(stored, Source::Store, true)
            }
            _ => whole,
        };
        self.settle(settings, bare, next).await;
    }

    /// Puts a token in the place of the one in use, and in the store where it belongs there. Where
    /// the store fails, it serves from memory, and is stored later.
    pub(super) async fn settle(&self, settings: &Runbeam, before: &Held, next: Held) {
        let _turn = self.turn.lock().await;
        let in_use = self.held();
        // Meanwhile the operator may have handed another one over: that one counts.
        if in_use.is_none_or(|held| held.token.machine_token != before.token.machine_token) {
            return;
        }
        let saved = !next.stored || self.keep(settings, &next).await;
        self.facts().replace(Held {
            unsaved: !saved,
            ..next
        });
    }

    /// What the store holds. What is wrong with it is told.
    async fn stored(&self, settings: &Runbeam) -> Option<MachineToken> {
        match self.keeper.load(settings).await {
            Ok(token) => {
                self.facts().store_error = None;
                token
            }
            Err(error) => {
                self.complain_of_store(error.to_string());
                None
            }
        }
    }

    /// Keeps an error for `/info` and logs it, unless it is the same as before.
    fn complain_of_store(&self, error: String) {
        let mut facts = self.facts();
        if facts.store_error.as_ref() != Some(&error) {
            log::error!("runbeam: {error}");
        }
        facts.store_error = Some(error);
    }

    async fn keep(&self, settings: &Runbeam, held: &Held) -> bool {
        match self.keeper.save(settings, &held.token, None).await {
            Ok(()) => {
                self.note(held, |held| held.unsaved = false);
                self.facts().store_error = None;
                true
            }
            Err(error) => {
                self.complain_of_store(format!(
                    "the machine token is in memory only, and lost at a restart: {error}"
                ));
                self.note(held, |held| held.unsaved = true);
                false
            }
        }
    }

    /// `RUNBEAM_MACHINE_TOKEN`, unless the operator has told to forget it.
    pub(super) fn environment_token(&self) -> Option<MachineToken> {
        if self.facts().environment_forgotten {
            return None;
        }
        Some(match self.surroundings.machine_token.clone()? {
            EnvironmentToken::Whole(token) => token,
            EnvironmentToken::Bare(token) => {
                let mut token = MachineToken::new(token.as_str(), "", "", "", Vec::new());
                token.issued_at = None;
                token
            }
        })
    }
}

impl Facts {
    /// Another token: what was known of the one before is of no use for it.
    pub(super) fn replace(&mut self, held: impl Into<Option<Held>>) {
        self.held = held.into();
        self.last_error = None;
        self.reminded = None;
        self.pending = 0;
        self.refused.clear();
    }

    fn has_refused(&self, token: &MachineToken) -> bool {
        let is_it = |refused: &Zeroizing<String>| **refused == token.machine_token;
        self.refused.iter().any(is_it)
    }
}
