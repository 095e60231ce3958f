//! Where the agent keeps its token: the store that the configuration asks for, opened when it is needed, and which token counts at a start.

use std::sync::{Arc, Mutex, PoisonError};

use super::held::{Held, Source, store_wins};
use super::surroundings::Surroundings;
use super::{Agent, Facts};
use crate::gateway::{Runbeam, StoreChoice};
use crate::runbeam::{
    EnvironmentToken, MachineToken, StoreError, StoreKind, StoreSettings, TokenStore,
};

/// The store, once it is open.
pub(super) struct Keeper {
    settings: StoreSettings,
    open: tokio::sync::Mutex<Option<(StoreKind, Arc<TokenStore>)>>,
    description: Mutex<Option<String>>,
}

impl Keeper {
    pub(super) fn new(surroundings: &Surroundings) -> Self {
        Self {
            settings: StoreSettings {
                instance: surroundings.instance.clone(),
                directory: surroundings.state_dir.clone(),
                kind: StoreKind::Auto,
                encryption_key: surroundings.encryption_key.clone(),
            },
            open: tokio::sync::Mutex::default(),
            description: Mutex::default(),
        }
    }

    /// The store that the configuration asks for. Without one (Runbeam is off): the one that was open last, else whichever there is.
    pub(super) async fn store(
        &self,
        settings: Option<&Runbeam>,
    ) -> Result<Arc<TokenStore>, StoreError> {
        let kind = settings.map(|settings| kind(settings.token_store));
        let mut open = self.open.lock().await;
        if let Some((of, store)) = &*open
            && kind.is_none_or(|kind| kind == *of)
        {
            return Ok(store.clone());
        }
        let kind = kind.unwrap_or_default();
        let settings = StoreSettings {
            kind,
            ..self.settings.clone()
        };
        let store = Arc::new(TokenStore::open(settings).await?);
        self.describe(&store);
        *open = Some((kind, store.clone()));
        Ok(store)
    }

    /// Where tokens are kept, in words.
    pub(super) fn description(&self) -> Option<String> {
        let kept = self.description.lock();
        kept.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn save(
        &self,
        settings: &Runbeam,
        token: &MachineToken,
        key: Option<&str>,
    ) -> Result<(), StoreError> {
        let store = self.store(Some(settings)).await?;
        let saved = store.save(token, key).await;
        self.describe(&store);
        saved
    }

    fn describe(&self, store: &TokenStore) {
        let kept = self.description.lock();
        *kept.unwrap_or_else(PoisonError::into_inner) = Some(store.description());
    }
}

fn kind(choice: StoreChoice) -> StoreKind {
    match choice {
        StoreChoice::Auto => StoreKind::Auto,
        StoreChoice::Keyring => StoreKind::Keyring,
        StoreChoice::File => StoreKind::File,
        StoreChoice::Memory => StoreKind::Memory,
    }
}

impl Agent {
    /// Finds the token to begin with, unless there is one already.
    pub(super) async fn find_token(&self, settings: &Runbeam) {
        if self.held().is_some() {
            return;
        }
        let store = self.keeper.store(Some(settings)).await;
        let stored = match &store {
            Ok(store) => store.load().await,
            Err(_) => Ok(None),
        };
        let uses_variable = store.as_ref().is_ok_and(|store| store.uses_variable());
        for problem in [store.as_ref().err(), stored.as_ref().err()] {
            if let Some(problem) = problem {
                self.complain(problem.to_string());
            }
        }
        let stored = stored.ok().flatten();
        let environment = self.environment_token();
        if let Some(token) = environment.as_ref().filter(|token| token.is_expired()) {
            log::warn!(
                "runbeam: the token in RUNBEAM_MACHINE_TOKEN has expired at {}",
                token.expires_at
            );
        }
        let Some(held) = choose(environment, stored.clone(), uses_variable) else {
            return;
        };
        if held.source == Source::Environment
            && held.is_whole()
            && held.stored
            && stored.as_ref() != Some(&held.token)
        {
            self.keep(settings, &held).await;
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
        if let Some(held) = self.held().filter(|held| held.unsaved) {
            self.keep(settings, &held).await;
        }
        let store = match self.keeper.store(Some(settings)).await {
            Ok(store) => store,
            Err(error) => {
                self.complain(error.to_string());
                return false;
            }
        };
        if !store.changed().await {
            return false;
        }
        let token = match store.load().await {
            Ok(Some(token)) => token,
            Ok(None) => return false,
            Err(error) => {
                self.complain(error.to_string());
                return false;
            }
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

    /// After the cloud has refused a token: the other one, if there is one that it has not refused; whether there is.
    pub(super) async fn take_the_other_token(&self, settings: &Runbeam, refused: &Held) -> bool {
        let stored = match self.keeper.store(Some(settings)).await {
            Ok(store) => store.load().await.ok().flatten(),
            Err(_) => None,
        };
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
        facts
            .refused
            .push(refused.token.machine_token.clone().into());
        let other = [environment, stored].into_iter().flatten().find(|other| {
            other.token.gateway_id == refused.token.gateway_id
                && !other.token.is_expired()
                && !facts
                    .refused
                    .iter()
                    .any(|token| **token == other.token.machine_token)
        });
        let Some(other) = other else {
            return false;
        };
        log::warn!(
            "runbeam: the cloud does not take the machine token from the {}: trying the one from the {}",
            refused.source.name(),
            other.source.name()
        );
        facts.held = Some(other);
        true
    }

    /// The same for a bare token whose gateway is known now: the store may hold a later one of the same gateway.
    pub(super) async fn settle_identified(&self, settings: &Runbeam, bare: &Held, whole: Held) {
        let stored = match self.keeper.store(Some(settings)).await {
            Ok(store) => store.load().await.ok().flatten(),
            Err(_) => None,
        };
        let refused = |token: &MachineToken| {
            let facts = self.facts();
            facts
                .refused
                .iter()
                .any(|refused| **refused == token.machine_token)
        };
        let next = match stored {
            Some(stored) if store_wins(&whole.token, &stored) && !refused(&stored) => {
                Held::new(stored, Source::Store, true)
            }
            // Nothing to write.
            Some(stored) if stored.machine_token == whole.token.machine_token => Held {
                stored: false,
                ..whole
            },
            _ => whole,
        };
        self.settle(settings, bare, next).await;
    }

    /// Puts a token in the place of the one in use, and in the store where it belongs there. Where the store fails, it serves from memory, and is stored later.
    pub(super) async fn settle(&self, settings: &Runbeam, before: &Held, next: Held) {
        let saved = !next.stored || self.keep(settings, &next).await;
        let mut facts = self.facts();
        let same = facts
            .held
            .as_ref()
            .is_some_and(|held| held.token.machine_token == before.token.machine_token);
        if same {
            facts.replace(Held {
                unsaved: !saved,
                ..next
            });
        }
    }

    async fn keep(&self, settings: &Runbeam, held: &Held) -> bool {
        match self.keeper.save(settings, &held.token, None).await {
            Ok(()) => {
                self.note(held, |held| held.unsaved = false);
                true
            }
            Err(error) => {
                self.complain(format!(
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
        self.refused.clear();
    }
}

/// Which token to begin with. Whose a bare token is the cloud has to say first; then [`Agent::poll`] looks at the store again.
fn choose(
    environment: Option<MachineToken>,
    stored: Option<MachineToken>,
    uses_variable: bool,
) -> Option<Held> {
    let of_store = |token| Held::new(token, Source::Store, true);
    let Some(environment) = environment else {
        return stored.map(of_store);
    };
    match stored {
        // An expired token is of no use, whoever it is for.
        Some(stored)
            if store_wins(&environment, &stored)
                || (environment.is_expired() && !stored.is_expired()) =>
        {
            Some(of_store(stored))
        }
        _ => Some(Held::new(environment, Source::Environment, uses_variable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_token_a_start_begins_with() {
        let token = |name: &str, gateway: &str, year: u32| {
            let end = format!("{year}-01-01T00:00:00Z");
            MachineToken::new(name, end, gateway, "code", vec![])
        };
        let bare = MachineToken::new("bare", "", "", "", vec![]);
        for (environment, stored, uses_variable, expected) in [
            (None, None, true, None),
            (None, Some(token("s", "g", 2099)), false, Some(("s", true))),
            (None, Some(token("s", "g", 2000)), false, Some(("s", true))),
            (Some(token("e", "g", 2098)), None, false, Some(("e", false))),
            (Some(token("e", "g", 2098)), None, true, Some(("e", true))),
            (
                Some(token("e", "g", 2098)),
                Some(token("s", "g", 2099)),
                true,
                Some(("s", true)),
            ),
            (
                Some(token("e", "g", 2098)),
                Some(token("s", "h", 2099)),
                true,
                Some(("e", true)),
            ),
            (
                Some(token("e", "g", 2000)),
                Some(token("s", "h", 2099)),
                true,
                Some(("s", true)),
            ),
            (
                Some(token("e", "g", 2000)),
                Some(token("s", "g", 1999)),
                true,
                Some(("e", true)),
            ),
            (
                Some(bare.clone()),
                Some(token("s", "g", 2099)),
                true,
                Some(("bare", true)),
            ),
        ] {
            let held = choose(environment, stored, uses_variable);
            let found = held
                .as_ref()
                .map(|held| (&*held.token.machine_token, held.stored));
            assert_eq!(found, expected);
        }
    }
}
