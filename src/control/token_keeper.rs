//! Where the agent keeps its token: the store that the configuration asks for, opened when it is
//! needed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::env::AgentEnv;
use crate::gateway::{Runbeam, StoreChoice};
use runbeam_sdk::{MachineToken, StorageError, StoreKind, StoreSettings, TokenStore};

/// The store, once it is open.
pub(super) struct TokenKeeper {
    settings: StoreSettings,
    open: tokio::sync::Mutex<Option<(StoreKind, Arc<TokenStore>)>>,
    described: Mutex<Described>,
}

/// Where tokens are, in words.
#[derive(Default)]
struct Described {
    next: Option<String>,
    last: Option<String>,
}

/// The token store of a gateway, for who looks at it while no agent runs.
///
/// # Errors
///
/// The store cannot be used.
pub async fn open_store(
    env: &AgentEnv,
    settings: Option<&Runbeam>,
) -> Result<Arc<TokenStore>, StorageError> {
    TokenKeeper::new(env).store(settings).await
}

impl TokenKeeper {
    pub(super) fn new(env: &AgentEnv) -> Self {
        Self {
            settings: StoreSettings {
                instance: env.instance.clone(),
                directory: env.state_dir.clone(),
                kind: StoreKind::Auto,
                encryption_key: env.encryption_key.clone(),
            },
            open: tokio::sync::Mutex::default(),
            described: Mutex::default(),
        }
    }

    /// The store that the configuration asks for. Without one (Runbeam is off): the one that was
    /// open last, else whichever there is.
    pub(super) async fn store(
        &self,
        settings: Option<&Runbeam>,
    ) -> Result<Arc<TokenStore>, StorageError> {
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

    /// Where the next token goes.
    pub(super) fn description(&self) -> Option<String> {
        self.described().next.clone()
    }

    /// Where the token is that was last read or written.
    pub(super) fn location(&self) -> Option<String> {
        let described = self.described();
        described.last.as_ref().or(described.next.as_ref()).cloned()
    }

    fn described(&self) -> MutexGuard<'_, Described> {
        self.described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of the store.
    pub(super) async fn load(
        &self,
        settings: &Runbeam,
    ) -> Result<Option<MachineToken>, StorageError> {
        let store = self.store(Some(settings)).await?;
        let loaded = store.load().await;
        self.describe(&store);
        loaded
    }

    pub(super) async fn save(
        &self,
        settings: &Runbeam,
        token: &MachineToken,
        key: Option<&str>,
    ) -> Result<(), StorageError> {
        let store = self.store(Some(settings)).await?;
        let saved = store.save(token, key).await;
        self.describe(&store);
        saved
    }

    fn describe(&self, store: &TokenStore) {
        *self.described() = Described {
            next: Some(store.description()),
            last: store.location(),
        };
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
