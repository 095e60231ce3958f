//! Threads that hash, so that no worker does. Few of them, at the lowest priority, behind a short
//! queue: whoever sends many passwords waits or is turned away, and tokens are verified as fast as
//! ever.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::stored::{Check, burn_time};
use crate::auth::outcome::Refusal;

/// Checks that may wait for each thread: four seconds of work at cost 12.
const QUEUE: usize = 16;
/// Up to this cost, one hash is timed; beyond it, the time is reckoned from it.
const MEASURED: u32 = 9;

/// The threads, which start when the first step needs them, and end when nobody can send them work.
pub(super) struct Pool {
    threads: usize,
    jobs: OnceLock<SyncSender<Job>>,
    costliest: AtomicU32,
    hashed: Arc<AtomicU64>,
    waiting: Arc<AtomicU64>,
}

enum Job {
    Check(Check, oneshot::Sender<bool>),
    Measure(u32),
}

impl Pool {
    /// For steps of the local files: half of the cores, so that the workers keep the other half
    /// whatever the scheduler does.
    pub(super) fn local() -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        Self::of(cores / 2)
    }

    /// For steps from the cloud: one thread, whatever it sends.
    pub(super) fn cloud() -> Self {
        Self::of(1)
    }

    fn of(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            jobs: OnceLock::new(),
            costliest: AtomicU32::new(0),
            hashed: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// Starts the threads if they do not run yet. If this cost is the highest so far, logs how long
    /// one hash of it takes.
    pub(super) fn prepare_for_cost(&self, cost: u32) {
        let jobs = self
            .jobs
            .get_or_init(|| start(self.threads, &self.hashed, &self.waiting));
        if self.costliest.fetch_max(cost, Ordering::Relaxed) < cost {
            // When the queue is full, there is more important work.
            let _ = jobs.try_send(Job::Measure(cost));
        }
    }

    /// Comparisons made so far.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed.load(Ordering::Relaxed)
    }

    /// Comparisons that wait for a thread.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Makes a comparison, or refuses to when too many wait. Dropping the future withdraws it, if
    /// it has not begun.
    pub(super) async fn run(&self, check: Check) -> Result<bool, Refusal> {
        let (verdict, answer) = oneshot::channel();
        let jobs = self.jobs.get().ok_or(Refusal::QUEUE_FULL)?;
        // Before it can be taken out: the count never goes below zero.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        jobs.try_send(Job::Check(check, verdict)).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            Refusal::QUEUE_FULL
        })?;
        answer.await.map_err(|_| Refusal::QUEUE_FULL)
    }
}

fn start(threads: usize, hashed: &Arc<AtomicU64>, waiting: &Arc<AtomicU64>) -> SyncSender<Job> {
    let (sender, jobs) = sync_channel(threads * QUEUE);
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..threads {
        let (jobs, hashed, waiting) = (jobs.clone(), hashed.clone(), waiting.clone());
        let thread = thread::Builder::new().name("password hashing".to_owned());
        if let Err(error) = thread.spawn(move || work(&jobs, &hashed, &waiting)) {
            log::error!("basic-auth: cannot start a hashing thread, log-ins may get 503: {error}");
        }
    }
    sender
}

fn work(jobs: &Mutex<Receiver<Job>>, hashed: &AtomicU64, waiting: &AtomicU64) {
    lower_priority();
    loop {
        // The lock is among these threads only. Workers never wait for it.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        if matches!(job, Ok(Job::Check(..))) {
            waiting.fetch_sub(1, Ordering::Relaxed);
        }
        match job {
            Err(_) => return,
            Ok(Job::Check(_, verdict)) if verdict.is_closed() => {}
            Ok(Job::Check(check, verdict)) => {
                let passed = check.run();
                hashed.fetch_add(1, Ordering::Relaxed);
                // The request may have stopped waiting.
                let _ = verdict.send(passed);
            }
            Ok(Job::Measure(cost)) => measure(cost),
        }
    }
}

/// The lowest priority for this thread: it runs when nobody else wants to.
fn lower_priority() {
    // Only on Linux does "this process" mean the calling thread.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, 19) {
        log::warn!("the priority of password hashing cannot be lowered: {error}");
    }
}

fn measure(cost: u32) {
    let timed = cost.min(MEASURED);
    let started = working_time();
    burn_time(timed);
    let time = working_time()
        .saturating_sub(started)
        .saturating_mul(1 << (cost - timed));
    log::info!(
        "basic-auth: checking one password at cost {cost} takes about {} ms of one core",
        time.as_millis()
    );
}

/// How long this thread has had a core to itself: it may have waited long for one.
fn working_time() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
        .try_into()
        .unwrap_or_default()
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use zeroize::Zeroizing;

    use super::*;
    use crate::auth::basic::stored::StoredPassword;

    /// A check that passes nothing and takes its time.
    fn check(cost: u32) -> Check {
        Check {
            stored: StoredPassword::decoy(Some(cost)),
            password: Zeroizing::new("password".to_owned()),
            digest: [1; 32],
            max_cost: Some(cost),
        }
    }

    fn one_thread() -> Pool {
        let pool = Pool::of(1);
        let jobs = start(1, &pool.hashed, &pool.waiting).into();
        Pool { jobs, ..pool }
    }

    #[tokio::test]
    async fn a_full_queue_turns_away_at_once() {
        let pool = one_thread();
        let mut waiting = Vec::new();
        loop {
            let mut run = Box::pin(pool.run(check(13)));
            match tokio::time::timeout(Duration::ZERO, &mut run).await {
                Ok(refused) => break assert_eq!(refused, Err(Refusal::QUEUE_FULL)),
                Err(_) => waiting.push(run),
            }
        }
        // One of them may have left the queue already.
        assert!((QUEUE..QUEUE + 2).contains(&waiting.len()));
        drop(waiting);
        let begun = Instant::now();
        while pool.run(check(4)).await != Ok(false) {
            assert!(begun.elapsed() < Duration::from_secs(120));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_hashed() {
        let pool = one_thread();
        let mut long = Box::pin(pool.run(check(11)));
        let _ = tokio::time::timeout(Duration::ZERO, &mut long).await;
        for _ in 0..QUEUE - 1 {
            let mut gone = Box::pin(pool.run(check(14)));
            let _ = tokio::time::timeout(Duration::ZERO, &mut gone).await;
        }
        assert!((1..=QUEUE as u64).contains(&pool.waiting()));
        assert_eq!(long.await, Ok(false));
        assert_eq!(pool.run(check(4)).await, Ok(false));
        assert_eq!(pool.waiting(), 0);
        assert_eq!(pool.hashed(), 2);
    }

    #[tokio::test]
    async fn nothing_runs_before_it_is_expected() {
        assert_eq!(Pool::local().run(check(4)).await, Err(Refusal::QUEUE_FULL));
        let pool = Pool::local();
        pool.prepare_for_cost(4);
        assert_eq!(pool.run(check(4)).await, Ok(false));
    }
}
