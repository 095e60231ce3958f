//! Where the agent keeps its token: the store that the configuration asks for, opened when it is
//! needed.

use std::sync::{Arc, Mutex, PoisonError};

use super::surroundings::Surroundings;
use crate::gateway::{Runbeam, StoreChoice};
use crate::runbeam::{MachineToken, StoreError, StoreKind, StoreSettings, TokenStore};

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

    /// The store that the configuration asks for. Without one (Runbeam is off): the one that was
    /// open last, else whichever there is.
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
