//! A keyring as a test wants it.

use std::sync::Mutex;

use zeroize::Zeroizing;

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

    pub(super) fn probe(&self) -> Result<(), KeyringError> {
        self.with(|_| ())
    }

    pub(super) fn get(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        self.with(|state| state.secret.clone().map(Zeroizing::new))
    }

    pub(super) fn set(&self, secret: &[u8]) -> Result<(), KeyringError> {
        self.with(|state| state.secret = Some(secret.to_owned()))
    }

    pub(super) fn delete(&self) -> Result<(), KeyringError> {
        self.with(|state| state.secret = None)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, KeyringError> {
        let mut state = self.state.lock().unwrap();
        state.fault.clone().map_or_else(|| Ok(act(&mut state)), Err)
    }
}
