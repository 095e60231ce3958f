//! The loop of the background task: what is due when, and what interrupts it. What is done then
//! stands in the other files.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::backoff::{Backoff, Pacing, between};
use super::{Agent, CALL, Held};
use crate::gateway::Runbeam;
use crate::runbeam::RunbeamClient;

/// First pause between polls that fail, in the mean, unless polls are closer together; and the
/// longest.
const FIRST_BETWEEN_POLLS: Duration = Duration::from_secs(30);
const MOST_BETWEEN_POLLS: Duration = Duration::from_secs(300);
/// First pause after a renewal that failed, in the mean, and the longest.
const FIRST_BETWEEN_RENEWALS: Duration = Duration::from_secs(60);
const MOST_BETWEEN_RENEWALS: Duration = Duration::from_secs(3600);
/// How long a token that the cloud has just renewed is let be, however short it lives.
const LEAST_BETWEEN_RENEWALS: Duration = Duration::from_secs(60);
/// How often the store is looked into for a token that another process put there: with a token in
/// use, and without.
const LOOK: Duration = Duration::from_secs(30);
const LOOK_WITHOUT_TOKEN: Duration = Duration::from_secs(5);

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
        let mut news = self.news.subscribe();
        // Only who hands a token over waits for what comes of it. A start or a change of the
        // configuration may be that of a whole fleet.
        let mut at_once = false;
        loop {
            configurations.mark_unchanged();
            news.mark_unchanged();
            let settings = self.live.runbeam();
            let serving = self.clone().serve(settings.clone(), at_once);
            tokio::pin!(serving);
            loop {
                tokio::select! {
                    () = &mut stop => return,
                    () = &mut serving => {}
                    _ = news.changed() => {
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
        let client = match self.client(&settings, CALL) {
            Ok(client) => client,
            Err(error) => {
                self.complain(error.to_string());
                return std::future::pending().await;
            }
        };
        self.find_token(&settings).await;
        let mut work = Work::new(self, settings, client, at_once);
        loop {
            work.do_what_is_due().await;
            sleep_until(work.next()).await;
        }
    }
}

/// What the loop knows from one round to the next.
struct Work {
    agent: Arc<Agent>,
    settings: Runbeam,
    client: RunbeamClient,
    begun: Instant,
    random: fastrand::Rng,
    polls: Pacing,
    next_poll: Instant,
    renewals: Backoff,
    next_renewal: Instant,
    next_look: Instant,
}

impl Work {
    fn new(agent: Arc<Agent>, settings: Runbeam, client: RunbeamClient, at_once: bool) -> Self {
        let now = Instant::now();
        let mut random = fastrand::Rng::new();
        let interval = settings.poll_interval.unwrap_or(FIRST_BETWEEN_POLLS);
        let failures = Backoff::new(interval.min(FIRST_BETWEEN_POLLS), MOST_BETWEEN_POLLS);
        let polls = Pacing::new(interval, failures, at_once);
        let first = polls.first(&mut random);
        Self {
            agent,
            client,
            begun: now,
            next_poll: now + first,
            // A token that is due already is renewed before it is used.
            next_renewal: now + first,
            next_look: now + LOOK_WITHOUT_TOKEN,
            polls,
            renewals: Backoff::new(FIRST_BETWEEN_RENEWALS, MOST_BETWEEN_RENEWALS),
            random,
            settings,
        }
    }

    async fn do_what_is_due(&mut self) {
        if self.next_look <= Instant::now() {
            if self.agent.look_into_store(&self.settings).await {
                self.begin_anew();
            }
            self.next_look = Instant::now() + self.look_interval();
        }
        let Some(held) = self.agent.held() else {
            return;
        };
        if held.is_due(self.settings.renew_before) && self.next_renewal <= Instant::now() {
            self.renew(held).await;
        }
        let Some(held) = self.agent.held().filter(|held| !held.token.is_expired()) else {
            return;
        };
        if self.next_poll <= Instant::now() {
            self.poll(held).await;
        }
    }

    async fn renew(&mut self, held: Held) {
        let (agent, client) = (self.agent.clone(), self.client.clone());
        let settings = self.settings.clone();
        // In a task of its own: a token that the cloud has given must not be lost because something
        // else happens meanwhile.
        let renewal = tokio::spawn(async move { agent.renew(&client, &settings, &held).await });
        let random = &mut self.random;
        let pause = match renewal.await {
            Ok(Ok(())) => {
                self.renewals.reset();
                self.next_poll = Instant::now();
                // One that lives shorter than `renew_before_days` is due already.
                let left = self.agent.held().and_then(|held| held.left());
                between(LEAST_BETWEEN_RENEWALS, left.unwrap_or_default() / 3, random)
            }
            Ok(Err(error)) => self.renewals.after_failure(error.retry_after(), random),
            Err(_) => self.renewals.after_failure(None, random),
        };
        self.next_renewal = Instant::now() + pause;
    }

    async fn poll(&mut self, held: Held) {
        let outcome = self.agent.poll(&self.client, &self.settings, &held).await;
        let now = self.begun.elapsed();
        let pause = match outcome {
            Ok(()) => self.polls.after_success(now, &mut self.random),
            Err(error) if error.is_rejected() && self.other_token(&held).await => Duration::ZERO,
            Err(error) => {
                let asked = error.retry_after();
                self.polls.after_failure(asked, now, &mut self.random)
            }
        };
        self.next_poll = Instant::now() + pause;
    }

    async fn other_token(&self, held: &Held) -> bool {
        self.agent.take_the_other_token(&self.settings, held).await
    }

    fn begin_anew(&mut self) {
        self.polls.reset();
        self.renewals.reset();
        self.next_poll = Instant::now();
        self.next_renewal = Instant::now();
    }

    fn look_interval(&self) -> Duration {
        let usable = |held: &Held| !held.rejected && !held.token.is_expired();
        match self.agent.held() {
            Some(held) if usable(&held) => LOOK,
            _ => LOOK_WITHOUT_TOKEN,
        }
    }

    /// When to look again.
    fn next(&self) -> Instant {
        let Some(held) = self.agent.held() else {
            return self.next_look;
        };
        let mut next = self.next_look;
        if !held.token.is_expired() {
            next = next.min(self.next_poll);
        }
        if held.is_due(self.settings.renew_before) {
            next = next.min(self.next_renewal);
        }
        next
    }
}
