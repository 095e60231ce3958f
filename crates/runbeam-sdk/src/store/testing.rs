//! A keyring as a test wants it.

use std::sync::Mutex;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::backend::StorageBackend;
use super::error::StorageError;
use super::keyring::KeyringError;

#[derive(Debug, Default)]
pub(super) struct FakeKeyring {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    secret: Option<Vec<u8>>,
    fault: Option<KeyringError>,
}

impl FakeKeyring {
    pub(super) fn fails_with(&self, fault: Option<KeyringError>) {
        self.state.lock().unwrap().fault = fault;
    }

    pub(super) fn holds(&self) -> Option<Vec<u8>> {
        self.state.lock().unwrap().secret.clone()
    }

    pub(super) fn put(&self, secret: &[u8]) {
        self.state.lock().unwrap().secret = Some(secret.to_owned());
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, StorageError> {
        let mut state = self.state.lock().unwrap();
        match state.fault.clone() {
            Some(fault) => Err(fault.into()),
            None => Ok(act(&mut state)),
        }
    }
}

#[async_trait]
impl StorageBackend for FakeKeyring {
    fn description(&self) -> String {
        "keyring".to_owned()
    }

    async fn probe(&self) -> Result<(), StorageError> {
        self.with(|_| ())
    }

    async fn get(&self, _: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StorageError> {
        self.with(|state| state.secret.clone().map(Zeroizing::new))
    }

    async fn set(&self, _: &str, secret: &[u8]) -> Result<(), StorageError> {
        self.with(|state| state.secret = Some(secret.to_owned()))
    }

    async fn delete(&self, _: &str) -> Result<(), StorageError> {
        self.with(|state| state.secret = None)
    }
}
