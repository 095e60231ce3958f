//! Key sets against a real HTTP server and in real time.

mod issuer_faults;
mod issuer_refresh;

use std::time::Instant as Moment;

use tokio::time::sleep;

use super::*;
use crate::testing::{self, AUDIENCE, ISSUER, Issuer, key_set_url};
use crate::{Algorithm, CompactJws, Header, Keys, TokenError, clock};

/// An issuer's keys, with the background task running.
pub(super) struct Edge {
    pub(super) keys: Keys,
    pub(super) sets: KeySets,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) task: tokio::task::JoinHandle<()>,
}

impl Edge {
    pub(super) async fn start(issuer: &Issuer, change: impl FnOnce(&mut KeySetUrl)) -> Self {
        let edge = Self::start_in(None, issuer, change);
        edge.sets.first_tried(Duration::from_secs(5)).await;
        edge
    }

    pub(super) fn start_in(
        state_dir: Option<PathBuf>,
        issuer: &Issuer,
        change: impl FnOnce(&mut KeySetUrl),
    ) -> Self {
        testing::install_provider();
        let sets = KeySets::new("jose-tests", state_dir).unwrap();
        let (shutdown, stop) = watch::channel(false);
        let runner = sets.clone();
        let mut url = key_set_url(&issuer.url);
        change(&mut url);
        Self {
            keys: Keys::Fetched(sets.register(&url)),
            sets,
            shutdown,
            task: tokio::spawn(async move { runner.run(stop).await }),
        }
    }

    pub(super) async fn get(&self, token: &str) -> u16 {
        status(&self.keys, token).await
    }

    pub(super) fn only(&self) -> KeySetStatus {
        let mut status = self.sets.status();
        assert_eq!(status.len(), 1);
        status.remove(0)
    }
}

/// The status that a request with this token gets; 200 if it passes.
pub(super) async fn status(keys: &Keys, token: &str) -> u16 {
    match verify(keys, token).await {
        Ok(()) => 200,
        Err(TokenError::NoKeys) => 503,
        Err(_) => 401,
    }
}

async fn verify(keys: &Keys, token: &str) -> Result<(), TokenError> {
    let jws = CompactJws::split(token.as_bytes())?;
    let header = Header::read(&jws, &[Algorithm::Rs256], &["jwt"])?;
    let claims = keys.verify(&jws, &header).await?;
    claims
        .validity(Duration::from_secs(60))?
        .check(clock::now())?;
    claims.check_issuer(&[ISSUER])?;
    claims.check_audience(&[AUDIENCE])
}

/// Waits, at most 5 s, until something holds.
pub(super) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let start = Moment::now();
    while !holds().await {
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "it never came about"
        );
        sleep(Duration::from_millis(20)).await;
    }
}
