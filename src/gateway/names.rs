//! Names of upstreams, resolved in the background, never on a request.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

/// How often a name is looked up again. The system's resolver does not tell how long an answer
/// holds.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon a look-up that failed is tried again, while the last addresses go on serving.
const RETRY: Duration = Duration::from_secs(2);
/// How long one look-up may take.
const LIMIT: Duration = Duration::from_secs(5);

/// The addresses of one upstream host.
#[derive(Debug)]
pub struct Addresses {
    host: String,
    port: u16,
    current: ArcSwap<Vec<SocketAddr>>,
    next: AtomicUsize,
    /// Why the last look-up failed: said once.
    trouble: Mutex<Option<String>>,
}

impl Addresses {
    /// The addresses that are known now; none while the name has never been resolved.
    pub fn known(&self) -> Arc<Vec<SocketAddr>> {
        self.current.load_full()
    }

    /// The next address in turn; `None` while the name has never been resolved.
    pub fn next(&self) -> Option<SocketAddr> {
        let addresses = self.current.load();
        match addresses.len() {
            0 => None,
            1 => addresses.first().copied(),
            many => addresses
                .get(self.next.fetch_add(1, Ordering::Relaxed) % many)
                .copied(),
        }
    }
}

/// Every name in use. Cheap to share; it outlives configurations, so a reload keeps what is
/// resolved.
#[derive(Debug, Default)]
pub struct Names {
    known: Mutex<HashMap<(String, u16), Weak<Addresses>>>,
    added: Notify,
    tried: AtomicBool,
}

impl Names {
    /// The addresses of a host; an IP literal is its own.
    pub fn addresses(&self, host: &str, port: u16) -> Arc<Addresses> {
        let literal: Option<IpAddr> = host.parse().ok();
        let addresses = || {
            Arc::new(Addresses {
                host: host.to_owned(),
                port,
                current: ArcSwap::from_pointee(
                    literal
                        .map(|ip| SocketAddr::new(ip, port))
                        .into_iter()
                        .collect(),
                ),
                next: AtomicUsize::new(0),
                trouble: Mutex::default(),
            })
        };
        if literal.is_some() {
            return addresses();
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (host.to_owned(), port);
        if let Some(addresses) = known.get(&key).and_then(Weak::upgrade) {
            return addresses;
        }
        let addresses = addresses();
        known.insert(key, Arc::downgrade(&addresses));
        self.added.notify_one();
        addresses
    }

    /// Resolves every name once, then again and again until shutdown.
    pub async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        loop {
            let pause = if self.resolve_all().await {
                REFRESH
            } else {
                RETRY
            };
            self.tried.store(true, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.added.notified() => {}
                _ = shutdown.changed() => return,
            }
        }
    }

    /// Whether every name has been looked up once, with whatever result.
    pub fn all_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    /// Looks every name in use up; whether all of them have an answer.
    async fn resolve_all(&self) -> bool {
        let in_use: Vec<Arc<Addresses>> = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, addresses| addresses.strong_count() > 0);
            known.values().filter_map(Weak::upgrade).collect()
        };
        let mut all = true;
        for addresses in in_use {
            all &= addresses.resolve().await;
        }
        all
    }
}

impl Addresses {
    /// What a look-up would have found.
    #[cfg(test)]
    pub(super) fn set(&self, address: SocketAddr) {
        self.current.store(Arc::new(vec![address]));
    }

    async fn resolve(&self) -> bool {
        let found = tokio::time::timeout(
            LIMIT,
            tokio::net::lookup_host((self.host.as_str(), self.port)),
        )
        .await;
        let reason = match found {
            Ok(Ok(found)) => {
                let mut found: Vec<SocketAddr> = found.collect();
                found.sort_unstable();
                found.dedup();
                if !found.is_empty() {
                    let again = self.trouble().take().is_some();
                    if again || **self.current.load() != found {
                        log::info!("upstream {}: resolved to {found:?}", self.host);
                        self.current.store(Arc::new(found));
                    }
                    return true;
                }
                "the name has no address".to_owned()
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", LIMIT.as_secs()),
        };
        let mut trouble = self.trouble();
        if trouble.as_ref() != Some(&reason) {
            log::warn!("upstream {}: name not resolved: {reason}", self.host);
            *trouble = Some(reason);
        }
        false
    }

    fn trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ip_literal_needs_no_look_up() {
        let names = Names::default();
        for (host, expected) in [("10.0.0.5", "10.0.0.5:80"), ("::1", "[::1]:80")] {
            assert_eq!(names.addresses(host, 80).next(), expected.parse().ok());
        }
        assert!(names.known.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_name_is_resolved_once_for_all_who_use_it() {
        let names = Names::default();
        let one = names.addresses("localhost", 8080);
        let other = names.addresses("localhost", 8080);
        assert!(Arc::ptr_eq(&one, &other));
        assert_eq!(
            one.next(),
            None,
            "nothing is looked up on the caller's thread"
        );
        assert!(names.resolve_all().await);
        assert!(one.next().is_some_and(|found| found.ip().is_loopback()));
    }

    #[tokio::test]
    async fn addresses_take_turns_and_outlive_a_failed_look_up() {
        let names = Names::default();
        let addresses = names.addresses("no-such-name.invalid", 1);
        let both: Vec<SocketAddr> = vec![
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.2:1".parse().unwrap(),
        ];
        addresses.current.store(Arc::new(both.clone()));
        assert!(!names.resolve_all().await);
        assert_eq!(
            [addresses.next(), addresses.next()],
            [Some(both[0]), Some(both[1])]
        );
    }
}
