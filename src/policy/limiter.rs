//! How many requests each client has made: the one state that policies have.
//!
//! A process has one, and a reload keeps it: counts go on under the name of their policy and rule.
//! It is bounded: at its bound, the client that was quiet for the longest time is forgotten.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::check::counted;
use crate::config::{Owner, RateLimit};

/// Clients that are counted at once, over all limits. One takes about 250 bytes.
const CLIENTS: u64 = 65_536;

/// The counts of a process. A clone shares them. Those of the cloud's policies are apart: under the
/// name of a local one they would count for it, and in one cache they could push its counts out.
#[derive(Clone)]
pub struct Limiters {
    local: Counts,
    cloud: Counts,
}

type Counts = Cache<Key, Arc<Count>>;

/// One client under one limit.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    limit: Arc<str>,
    client: Option<IpAddr>,
}

struct Count {
    window: Duration,
    state: Mutex<State>,
}

struct State {
    since: Instant,
    requests: u32,
}

impl Default for Limiters {
    fn default() -> Self {
        Self::bounded(CLIENTS)
    }
}

impl Limiters {
    pub(super) fn bounded(clients: u64) -> Self {
        let counts = || {
            Cache::builder()
                .max_capacity(clients)
                .eviction_policy(EvictionPolicy::lru())
                .expire_after(Idle)
                .build()
        };
        Self {
            local: counts(),
            cloud: counts(),
        }
    }

    /// Counts a request, or says for how long there is no room for it. One without room is not
    /// counted.
    pub(super) fn take(
        &self,
        owner: Owner,
        limit: &Arc<str>,
        settings: RateLimit,
        client: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Duration> {
        let key = Key {
            limit: limit.clone(),
            client: client.map(counted),
        };
        let counts = match owner {
            Owner::Local => &self.local,
            Owner::Cloud => &self.cloud,
        };
        let count = counts.get_with(key, || {
            Arc::new(Count {
                window: settings.window,
                state: Mutex::new(State {
                    since: now,
                    requests: 0,
                }),
            })
        });
        let mut state = count.state.lock().unwrap_or_else(PoisonError::into_inner);
        let elapsed = now.saturating_duration_since(state.since);
        if elapsed >= settings.window {
            *state = State {
                since: now,
                requests: 0,
            };
        }
        if state.requests < settings.max_requests {
            state.requests += 1;
            Ok(())
        } else {
            Err(settings.window.saturating_sub(elapsed))
        }
    }

    /// How many clients are counted.
    #[cfg(test)]
    pub(super) fn clients(&self) -> u64 {
        self.local.run_pending_tasks();
        self.local.entry_count()
    }
}

impl fmt::Debug for Limiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiters").finish_non_exhaustive()
    }
}

/// A client that was quiet for its window is as good as new.
struct Idle;

impl Expiry<Key, Arc<Count>> for Idle {
    fn expire_after_create(&self, _: &Key, count: &Arc<Count>, _: Instant) -> Option<Duration> {
        Some(count.window)
    }

    fn expire_after_read(
        &self,
        _: &Key,
        count: &Arc<Count>,
        _: Instant,
        _: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        Some(count.window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO_A_MINUTE: RateLimit = RateLimit {
        max_requests: 2,
        window: Duration::from_secs(60),
    };

    const LOCAL: Owner = Owner::Local;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_window_begins_with_its_first_request_and_ends_as_a_whole() {
        let limiters = Limiters::default();
        let limit = Arc::from("p r");
        let start = Instant::now();
        let take = |after| {
            let now = start + Duration::from_secs(after);
            limiters.take(LOCAL, &limit, TWO_A_MINUTE, ip("10.0.0.1"), now)
        };
        assert_eq!(take(0), Ok(()));
        assert_eq!(take(10), Ok(()));
        assert_eq!(take(20), Err(Duration::from_secs(40)));
        assert_eq!(take(59), Err(Duration::from_secs(1)));
        assert_eq!(take(60), Ok(()));
        assert_eq!(take(61), Ok(()));
        assert_eq!(take(119), Err(Duration::from_secs(1)));
    }

    #[test]
    fn clients_and_limits_are_counted_apart() {
        let limiters = Limiters::default();
        let now = Instant::now();
        let take =
            |limit: &str, client| limiters.take(LOCAL, &limit.into(), TWO_A_MINUTE, client, now);
        for _ in 0..2 {
            assert!(take("a", ip("10.0.0.1")).is_ok());
        }
        assert!(take("a", ip("10.0.0.1")).is_err());
        assert!(take("a", ip("::ffff:10.0.0.1")).is_err());
        assert!(take("a", ip("10.0.0.2")).is_ok());
        assert!(take("b", ip("10.0.0.1")).is_ok());
        assert!(take("a", ip("2001:db8::1")).is_ok());
        assert!(take("a", ip("2001:db8::2")).is_ok());
        assert!(take("a", ip("2001:db8::3")).is_err());
        assert!(take("a", ip("2001:db8:0:1::1")).is_ok());
        assert!(take("a", None).is_ok());
    }

    #[test]
    fn the_cloud_counts_for_itself() {
        let limiters = Limiters::bounded(100);
        let (limit, now) = (Arc::from("p r"), Instant::now());
        let take = |owner, client| limiters.take(owner, &limit, TWO_A_MINUTE, client, now);
        for _ in 0..2 {
            assert!(take(Owner::Cloud, ip("10.0.0.1")).is_ok());
        }
        assert!(take(Owner::Cloud, ip("10.0.0.1")).is_err());
        for _ in 0..2 {
            assert!(take(LOCAL, ip("10.0.0.1")).is_ok());
        }
        // Nor does it push local counts out.
        for index in 0..5_000_u32 {
            let _ = take(Owner::Cloud, Some(IpAddr::V4((0x0a00_0000 + index).into())));
        }
        assert!(take(LOCAL, ip("10.0.0.1")).is_err());
    }

    #[test]
    fn other_settings_go_on_with_the_count() {
        let limiters = Limiters::default();
        let limit = Arc::from("p r");
        let now = Instant::now();
        let take = |max_requests| {
            let settings = RateLimit {
                max_requests,
                ..TWO_A_MINUTE
            };
            let limiters = limiters.clone();
            limiters.take(LOCAL, &limit, settings, ip("10.0.0.1"), now)
        };
        assert!(take(2).is_ok() && take(2).is_ok() && take(2).is_err());
        assert!(take(3).is_ok() && take(3).is_err() && take(1).is_err());
    }

    #[test]
    fn the_state_is_bounded_and_keeps_the_busiest() {
        let limiters = Limiters::bounded(100);
        let limit = Arc::from("p r");
        let now = Instant::now();
        let busy = ip("192.0.2.1");
        for index in 0..5_000_u32 {
            let client = Some(IpAddr::V4((0x0a00_0000 + index).into()));
            assert!(
                limiters
                    .take(LOCAL, &limit, TWO_A_MINUTE, client, now)
                    .is_ok()
            );
            if index % 10 == 0 {
                let _ = limiters.take(LOCAL, &limit, TWO_A_MINUTE, busy, now);
            }
        }
        assert!(limiters.clients() <= 100);
        assert!(
            limiters
                .take(LOCAL, &limit, TWO_A_MINUTE, busy, now)
                .is_err()
        );
    }
}
