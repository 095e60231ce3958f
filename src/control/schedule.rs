//! The loop of the background task: what is due when, and what interrupts it. What is done then
//! stands in the other files.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::poll_pacing::PollPacing;
use super::{ActiveToken, Agent, CALL_TIMEOUT};
use crate::gateway::Runbeam;
use runbeam_sdk::{Backoff, RunbeamClient, between};

/// First pause between polls that fail, in the mean, unless polls are closer together; and the
/// longest.
const POLL_RETRY_FIRST: Duration = Duration::from_secs(30);
const POLL_RETRY_MAX: Duration = Duration::from_secs(300);
/// First pause after a renewal that failed, in the mean, and the longest.
const RENEWAL_RETRY_FIRST: Duration = Duration::from_secs(60);
const RENEWAL_RETRY_MAX: Duration = Duration::from_secs(3600);
/// How long a token that the cloud has just renewed is let be, however short it lives.
const MIN_RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// How often the store is looked into for a token that another process put there: with a token in
/// use, and without.
const STORE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
const STORE_CHECK_INTERVAL_WITHOUT_TOKEN: Duration = Duration::from_secs(5);

impl Agent {
    /// The background task: returns on shutdown only. `[runbeam]` is followed as it is switched on
    /// and off, and a token that is handed over is used at once.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let stop = async {
            if shutdown.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(stop);
        let mut configurations = self.live.changes();
        let mut token_changes = self.token_changes.subscribe();
        // Only who hands a token over waits for what comes of it. A start or a change of the
        // configuration may be that of a whole fleet.
        let mut at_once = false;
        loop {
            configurations.mark_unchanged();
            token_changes.mark_unchanged();
            let settings = self.live.runbeam();
            let serving = self.clone().serve(settings.clone(), at_once);
            tokio::pin!(serving);
            loop {
                tokio::select! {
                    () = &mut stop => return,
                    () = &mut serving => {}
                    _ = token_changes.changed() => {
                        at_once = true;
                        break;
                    }
                    // Most changes of the configuration, those from the cloud too, are no matter of
                    // the connection.
                    _ = configurations.changed() => if self.live.runbeam() != settings {
                        at_once = false;
                        break;
                    },
                }
            }
        }
    }

    /// Does what is due, until it is dropped: a change of settings and a new token begin it anew.
    async fn serve(self: Arc<Self>, settings: Option<Runbeam>, at_once: bool) {
        let Some(settings) = settings else {
            return std::future::pending().await;
        };
        let client = match self.client(&settings, CALL_TIMEOUT) {
            Ok(client) => client,
            Err(error) => {
                self.record_error(error.to_string());
                return std::future::pending().await;
            }
        };
        self.find_token(&settings).await;
        let mut work = Schedule::new(self, settings, client, at_once);
        loop {
            work.run_due().await;
            sleep_until(work.next()).await;
        }
    }
}

/// What the loop knows from one round to the next.
struct Schedule {
    agent: Arc<Agent>,
    settings: Runbeam,
    client: RunbeamClient,
    begun: Instant,
    random: fastrand::Rng,
    polls: PollPacing,
    next_poll: Instant,
    renewals: Backoff,
    next_renewal: Instant,
    next_store_check: Instant,
}

impl Schedule {
    fn new(agent: Arc<Agent>, settings: Runbeam, client: RunbeamClient, at_once: bool) -> Self {
        let now = Instant::now();
        let mut random = fastrand::Rng::new();
        let interval = settings.poll_interval.unwrap_or(POLL_RETRY_FIRST);
        let failures = Backoff::new(interval.min(POLL_RETRY_FIRST), POLL_RETRY_MAX);
        let polls = PollPacing::new(interval, failures, at_once);
        let first = polls.first(&mut random);
        Self {
            agent,
            client,
            begun: now,
            next_poll: now + first,
            // A token that is due already is renewed before it is used.
            next_renewal: now + first,
            next_store_check: now + STORE_CHECK_INTERVAL_WITHOUT_TOKEN,
            polls,
            renewals: Backoff::new(RENEWAL_RETRY_FIRST, RENEWAL_RETRY_MAX),
            random,
            settings,
        }
    }

    async fn run_due(&mut self) {
        if self.next_store_check <= Instant::now() {
            if self.agent.check_store(&self.settings).await {
                self.reset();
            }
            self.next_store_check = Instant::now() + self.store_check_interval();
        }
        let Some(active) = self.agent.active_token() else {
            return;
        };
        if active.renewal_due(self.settings.renew_before) && self.next_renewal <= Instant::now() {
            self.renew(active).await;
        }
        let Some(active) = self
            .agent
            .active_token()
            .filter(|active| !active.token.is_expired())
        else {
            return;
        };
        if self.next_poll <= Instant::now() {
            self.poll(active).await;
        }
    }

    async fn renew(&mut self, active: ActiveToken) {
        let (agent, client) = (self.agent.clone(), self.client.clone());
        let settings = self.settings.clone();
        // In a task of its own: a token that the cloud has given must not be lost because something
        // else happens meanwhile.
        let renewal = tokio::spawn(async move { agent.renew(&client, &settings, &active).await });
        let random = &mut self.random;
        let pause = match renewal.await {
            Ok(Ok(())) => {
                self.renewals.reset();
                self.next_poll = Instant::now();
                // One that lives shorter than `renew_before_days` is due already.
                let left = self.agent.active_token().and_then(|active| active.left());
                between(MIN_RENEWAL_INTERVAL, left.unwrap_or_default() / 3, random)
            }
            Ok(Err(error)) => self.renewals.after_failure(error.retry_after(), random),
            Err(_) => self.renewals.after_failure(None, random),
        };
        self.next_renewal = Instant::now() + pause;
    }

    async fn poll(&mut self, active: ActiveToken) {
        let outcome = self.agent.poll(&self.client, &self.settings, &active).await;
        let now = self.begun.elapsed();
        let pause = match outcome {
            Ok(()) => self.polls.after_success(now, &mut self.random),
            Err(error) if error.is_rejected() && self.try_other(&active).await => Duration::ZERO,
            Err(error) => {
                let asked = error.retry_after();
                self.polls.after_failure(asked, now, &mut self.random)
            }
        };
        self.next_poll = Instant::now() + pause;
    }

    async fn try_other(&self, active: &ActiveToken) -> bool {
        self.agent.try_other_token(&self.settings, active).await
    }

    fn reset(&mut self) {
        self.polls.reset();
        self.renewals.reset();
        self.next_poll = Instant::now();
        self.next_renewal = Instant::now();
    }

    fn store_check_interval(&self) -> Duration {
        let usable = |active: &ActiveToken| !active.rejected && !active.token.is_expired();
        match self.agent.active_token() {
            Some(active) if usable(&active) => STORE_CHECK_INTERVAL,
            _ => STORE_CHECK_INTERVAL_WITHOUT_TOKEN,
        }
    }

    /// When to look again.
    fn next(&self) -> Instant {
        let Some(active) = self.agent.active_token() else {
            return self.next_store_check;
        };
        let mut next = self.next_store_check;
        if !active.token.is_expired() {
            next = next.min(self.next_poll);
        }
        if active.renewal_due(self.settings.renew_before) {
            next = next.min(self.next_renewal);
        }
        next
    }
}
