//! Finding the token, wherever it is.

use super::choice::{Chosen, say_once};
use super::error::StoreError;
use super::{MachineToken, StoreKind, TokenStore, blocking, locked, token};
use crate::files::secret;

impl TokenStore {
    /// The token, from whichever store has one.
    ///
    /// # Errors
    ///
    /// No store has a token that can be read, and one of them could have: its key is missing, it is
    /// damaged, the chosen store cannot be reached.
    pub async fn load(&self) -> Result<Option<MachineToken>, StoreError> {
        let chosen = self.chosen();
        if chosen == Chosen::Memory {
            let kept = locked(&self.memory).clone();
            if kept.is_some() || self.kind == StoreKind::Memory {
                return Ok(kept);
            }
        }
        match self.read(chosen).await? {
            Some(token) => Ok(Some(token)),
            None => self.take_over_what_is_left().await,
        }
    }

    /// From the file and the keyring.
    async fn read(&self, chosen: Chosen) -> Result<Option<MachineToken>, StoreError> {
        let mut found = None;
        let mut problem = None;
        match self.load_file().await {
            Ok(token) => found = token.map(|token| (token, Chosen::File)),
            Err(error) => problem = Some(error),
        }
        // The file, if it is the choice, is never older than the keyring.
        if chosen == Chosen::Keyring || found.is_none() {
            match self.load_keyring().await {
                Ok(Some(keyring)) => {
                    let counts = found.as_ref().is_none_or(|(file, _)| {
                        token::keyring_counts(file, &keyring, chosen == Chosen::Keyring)
                    });
                    if counts {
                        found = Some((keyring, Chosen::Keyring));
                    }
                }
                Ok(None) => {}
                Err(error) if chosen == Chosen::Keyring => problem = problem.or(Some(error)),
                Err(error) => log::debug!("{error}"),
            }
        }
        match (found, problem) {
            (Some((token, place)), problem) => {
                if let Some(problem) = problem {
                    log::warn!("{problem}; the token of another store is used");
                }
                *locked(&self.place) = Some(place);
                Ok(Some(token))
            }
            (None, Some(problem)) => Err(problem),
            (None, None) => Ok(None),
        }
    }

    async fn load_file(&self) -> Result<Option<MachineToken>, StoreError> {
        let Some(file) = self.file.clone() else {
            return Ok(None);
        };
        let place = file.path().display().to_string();
        let before = secret::Mark::of(&file.path());
        let opened = blocking(move || file.load()).await;
        // One that cannot be opened is not news again until it changes.
        locked(&self.seen).file(match &opened {
            Ok(opened) => opened.as_ref().map(|opened| opened.mark),
            Err(_) => before,
        });
        opened?
            .map(|opened| token::from_json(&opened.plain, &place, &self.instance))
            .transpose()
    }

    async fn load_keyring(&self) -> Result<Option<MachineToken>, StoreError> {
        let secret = self.keyring.get().await?;
        locked(&self.seen).keyring(secret.as_deref().map(Vec::as_slice));
        secret
            .map(|secret| token::from_json(&secret, "keyring", &self.instance))
            .transpose()
    }

    /// Nobody else of this process saves or clears meanwhile: what they did would be undone.
    async fn take_over_what_is_left(&self) -> Result<Option<MachineToken>, StoreError> {
        let (Some(left), file) = (self.left.clone(), self.file.clone()) else {
            return Ok(None);
        };
        if !left.token.exists() {
            return Ok(None);
        }
        let _turn = self.turn.lock().await;
        if let Some(token) = self.read(self.chosen()).await? {
            return Ok(Some(token));
        }
        let path = left.token.display().to_string();
        let found = blocking(move || left.load(file.as_deref())).await;
        let token = match found {
            Ok(Some(token)) => token,
            Ok(None) => return Ok(None),
            Err(error) => {
                say_once(
                    log::Level::Warn,
                    &format!("a token that the Runbeam library left cannot be read: {error}"),
                );
                return Ok(None);
            }
        };
        match self.put(&token, None).await {
            Ok(()) => log::info!(
                "the token at {path}, which the Runbeam library left, is now kept in {}",
                self.description()
            ),
            Err(error) => {
                *locked(&self.place) = Some(Chosen::Memory);
                log::warn!(
                    "the token at {path}, which the Runbeam library left, is used but cannot be stored: {error}"
                );
            }
        }
        Ok(Some(token))
    }
}
