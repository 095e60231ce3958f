//! Key sets against a real HTTP server and in real time.

mod fair;
mod foul;
mod guarded;

use std::time::Instant as Moment;

use tokio::time::sleep;

use super::*;
use crate::auth::chain::Chain;
use crate::auth::testing::{self, Issuer, jwks_url, settings, status};
use crate::config::KeySource;

/// A chain over an issuer's keys, with the background task running.
pub(super) struct Edge {
    pub(super) chain: Chain,
    pub(super) sets: KeySets,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) task: tokio::task::JoinHandle<()>,
}

impl Edge {
    pub(super) async fn start(issuer: &Issuer, change: impl FnOnce(&mut JwksUrl)) -> Self {
        let edge = Self::start_in(None, issuer, change);
        edge.sets.first_tried(Duration::from_secs(5)).await;
        edge
    }

    pub(super) fn start_in(
        state_dir: Option<PathBuf>,
        issuer: &Issuer,
        change: impl FnOnce(&mut JwksUrl),
    ) -> Self {
        testing::install_provider();
        let sets = KeySets::new(state_dir).unwrap();
        sets.remember_tokens(1 << 20);
        let (shutdown, stop) = watch::channel(false);
        let runner = sets.clone();
        let mut url = jwks_url(&issuer.url);
        change(&mut url);
        Self {
            chain: build(&sets, url),
            sets,
            shutdown,
            task: tokio::spawn(async move { runner.run(stop).await }),
        }
    }

    pub(super) async fn get(&self, token: &str) -> u16 {
        status(&self.chain, token).await
    }

    pub(super) fn only(&self) -> KeySetStatus {
        let mut status = self.sets.status();
        assert_eq!(status.len(), 1);
        status.remove(0)
    }
}

pub(super) fn build(sets: &KeySets, url: JwksUrl) -> Chain {
    Chain::build(
        &[testing::step(settings(KeySource::JwksUrl(url)))],
        &testing::shared_over(sets),
    )
    .unwrap()
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
