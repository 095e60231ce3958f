//! Several nodes on a store in memory that does what the real one does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::policy::testing::policies;
use crate::policy::{Limiters, RateLimits, Requester, Ruleset};

/// In milliseconds.
const WINDOW: u64 = 60_000;

#[derive(Debug, Default)]
struct Store {
    down: AtomicBool,
    silent: AtomicBool,
    refuses: AtomicBool,
    leases: AtomicUsize,
    /// What was reported, and the begin of the window.
    budget: Mutex<Option<(u32, u64)>>,
}

#[async_trait]
impl Budgets for Store {
    fn is_up(&self) -> bool {
        !self.down.load(Ordering::Relaxed)
    }

    async fn lease(&self, request: &LeaseRequest) -> Option<Lease> {
        self.leases.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if self.silent.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(1)).await;
            return None;
        }
        let mut budget = self.budget.lock().unwrap();
        let (used, begun) = budget.get_or_insert((0, request.begun.max(1)));
        if self.refuses.load(Ordering::Relaxed) {
            return None;
        }
        // What was spent in a window that is over is not of this one.
        if request.begun > 0 && request.begun + WINDOW > *begun {
            *used += request.spent;
        }
        Some(Lease {
            granted: request.lease().min(request.most.saturating_sub(*used)),
            used: *used,
            begun: *begun,
            rest: Duration::from_secs(30),
        })
    }
}

impl Store {
    /// Another window begins, earlier than at the nodes.
    fn begin_anew(&self) {
        let mut budget = self.budget.lock().unwrap();
        *budget = budget.map(|(_, begun)| (0, begun + WINDOW));
    }
}

fn limits(most: u32) -> RateLimits {
    let rules = format!(
        "{{ type = \"rate_limit\", max_requests = {most}, window_seconds = 60, \
         scope = \"shared\" }}"
    );
    let mut limits = RateLimits::default();
    let rules = Ruleset::build(&"s".into(), &policies(&rules));
    limits.add(rules.rate_limits(), false, std::iter::empty());
    limits
}

fn nodes(store: &Arc<Store>) -> [Limiters; 3] {
    [(); 3].map(|()| {
        let limiters = Limiters::default();
        limiters.share(store.clone());
        limiters
    })
}

async fn passes(limits: &RateLimits, node: &Limiters) -> bool {
    let requester = Requester::default();
    let (_, found) = match limits.try_take(node, &requester, Instant::now()) {
        Some(verdict) => verdict,
        None => limits.take_shared(node, &requester).await,
    };
    found.is_ok()
}

async fn count(limits: &RateLimits, nodes: &[Limiters], requests: usize) -> usize {
    let mut passed = 0;
    for request in 0..requests {
        passed += usize::from(passes(limits, &nodes[request % nodes.len()]).await);
    }
    passed
}

#[tokio::test]
async fn all_nodes_have_one_budget_and_one_lease_each_besides() {
    for most in [1, 5, 10, 95, 1000] {
        let store = Arc::<Store>::default();
        let (limits, nodes) = (limits(most), nodes(&store));
        let passed = count(&limits, &nodes, 4000).await;
        let (most, lease) = (most as usize, (most as usize / 10).max(1));
        assert!(
            (most..=most + 3 * lease).contains(&passed),
            "{most}: {passed}"
        );
        // Most requests ask nobody.
        let leases = store.leases.load(Ordering::Relaxed);
        assert!(leases <= most / lease + 10, "{most}: {leases}");
    }
}

#[tokio::test]
async fn a_store_that_was_emptied_is_told_again_what_was_used() {
    for (most, before) in [(10, 6), (1000, 100), (1000, 600), (1000, 900)] {
        let store = Arc::<Store>::default();
        let (limits, nodes) = (limits(most), nodes(&store));
        let mut passed = count(&limits, &nodes, before).await;
        *store.budget.lock().unwrap() = None;
        let most = most as usize;
        passed += count(&limits, &nodes, most * 4).await;
        // One lease a node besides, and one that was lent before the node told.
        let leases = 2 * 3 * (most / 10).max(1);
        assert!(
            (most..=most + leases).contains(&passed),
            "{most} {before}: {passed}"
        );
    }
}

#[tokio::test]
async fn without_the_store_each_node_counts_for_itself_and_reports_later() {
    let store = Arc::<Store>::default();
    let (limits, nodes) = (limits(100), nodes(&store));
    store.down.store(true, Ordering::Relaxed);
    assert_eq!(count(&limits, &nodes, 240).await, 240);
    assert_eq!(count(&limits, &nodes, 90).await, 60);
    store.down.store(false, Ordering::Relaxed);
    assert_eq!(count(&limits, &nodes, 30).await, 0);
    // A node that was idle meanwhile hears of what the others let pass.
    let idle = Limiters::default();
    idle.share(store.clone());
    *store.budget.lock().unwrap() = Some((100, 1));
    assert!(!passes(&limits, &idle).await);
}

#[tokio::test]
async fn nobody_waits_longer_than_the_budget_for_a_silent_store() {
    let store = Arc::<Store>::default();
    store.silent.store(true, Ordering::Relaxed);
    let (limits, nodes) = (limits(100), nodes(&store));
    let begun = Instant::now();
    assert!(passes(&limits, &nodes[0]).await);
    let waited = begun.elapsed();
    assert!(waited >= Duration::from_millis(19), "{waited:?}");
    assert!(waited < Duration::from_millis(500), "{waited:?}");
}

#[tokio::test]
async fn in_a_new_window_of_the_fleet_a_node_counts_anew() {
    let store = Arc::<Store>::default();
    let (limits, nodes) = (limits(100), nodes(&store));
    assert_eq!(count(&limits, &nodes[..1], 90).await, 90);
    store.begin_anew();
    assert_eq!(count(&limits, &nodes[..1], 150).await, 100);
}

#[tokio::test]
async fn a_store_that_refuses_is_not_asked_again_and_again() {
    let store = Arc::<Store>::default();
    store.refuses.store(true, Ordering::Relaxed);
    let (limits, nodes) = (limits(100), nodes(&store));
    let begun = Instant::now();
    assert_eq!(count(&limits, &nodes[..1], 150).await, 100);
    let (leases, waited) = (store.leases.load(Ordering::Relaxed), begun.elapsed());
    assert!(
        leases as u64 <= 1 + waited.as_secs(),
        "{leases} in {waited:?}"
    );
    assert!(waited < Duration::from_secs(1), "{waited:?}");
}
