//! One listener's connections: how many there may be, and who goes when there are more.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::WRITE_TIMEOUT;
use super::client_limits::ClientLimits;
use super::close_reason::Cut;
use super::connection::Connection;
use super::state::{Limits, Spare};
use crate::config::Bind;
use crate::policy::counted;
use crate::telemetry::NetworkMetrics;

const LIMITS: Limits = Limits {
    head: Duration::from_secs(10),
    // Pingora holds HTTP/1 to the same.
    idle: Duration::from_secs(60),
    write: WRITE_TIMEOUT,
};
/// A later head that takes longer than this is no client in a hurry.
const SLOW: Duration = Duration::from_secs(1);
/// A client that has taken nothing of its answer for so long goes when there is no room.
const UNREAD: Duration = Duration::from_secs(10);

/// A listener's gate.
#[derive(Debug)]
pub(super) struct Gate {
    bind: Bind,
    limit: AtomicUsize,
    clients: Arc<ClientLimits>,
    metrics: Arc<NetworkMetrics>,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    /// Every connection, the oldest first, and some that are over.
    all: Vec<Arc<Connection>>,
    /// Those that may not have sent a whole head yet, the oldest first.
    new: VecDeque<Arc<Connection>>,
    /// Those of each address that is counted, the oldest first, and some that are over.
    by_address: HashMap<IpAddr, Vec<Arc<Connection>>, RandomState>,
}

/// While this lives, a connection counts.
#[derive(Debug)]
pub(super) struct Admission {
    gate: Arc<Gate>,
    connection: Arc<Connection>,
}

impl Gate {
    pub(super) fn new(
        bind: Bind,
        limit: usize,
        clients: ClientLimits,
        metrics: Arc<NetworkMetrics>,
    ) -> Self {
        Self {
            bind,
            limit: limit.into(),
            clients: Arc::new(clients),
            metrics,
            inside: Mutex::default(),
        }
    }

    pub(super) fn network(&self) -> &str {
        &self.metrics.name
    }

    pub(super) fn metrics(&self) -> &NetworkMetrics {
        &self.metrics
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// What the clients of its connections are held to.
    pub(super) fn clients(&self) -> &Arc<ClientLimits> {
        &self.clients
    }

    pub(super) fn is_bound_to(&self, local: SocketAddr) -> bool {
        self.bind == Bind::Tcp(local)
    }

    pub(super) fn is_unix(&self) -> bool {
        matches!(self.bind, Bind::Unix(_))
    }

    /// Whether it is bound to every address, at this port.
    pub(super) fn is_at_port(&self, port: u16) -> bool {
        matches!(self.bind, Bind::Tcp(bind) if bind.ip().is_unspecified() && bind.port() == port)
    }

    /// Lets a connection in. If there are too many, the oldest one that has not sent a whole head
    /// goes; if all have, the one that can best be spared; if all are busy, the new one. The same
    /// holds among those of its address. `address`: whom it counts for; `None`: nobody, since it
    /// is a trusted proxy's, which speaks for many.
    pub(super) fn admit(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        address: Option<IpAddr>,
    ) -> Option<Admission> {
        let address = address.map(counted);
        let mut open = self.metrics.open.fetch_add(1, Ordering::Relaxed) + 1;
        let mut inside = self.inside();
        if let Some((address, limit)) = address.zip(self.clients.per_address()) {
            match self.make_room_at_address(&mut inside, address, limit) {
                Some(cuts) => open = open.saturating_sub(cuts),
                None => return self.refuse("refused_address"),
            }
        }
        if open > self.limit.load(Ordering::Relaxed) {
            match inside.make_room() {
                Some(cut) => self.has_cut(cut),
                None => return self.refuse("refused"),
            }
        }
        if let Some(address) = address {
            let others = inside.by_address.entry(address).or_default();
            others.push(connection.clone());
        }
        inside.all.push(connection.clone());
        inside.new.push_back(connection.clone());
        drop(inside);
        Some(Admission {
            gate: self.clone(),
            connection: connection.clone(),
        })
    }

    fn refuse(&self, label: &'static str) -> Option<Admission> {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.count_closed(label);
        None
    }

    /// How many connections of this address had to go for one more; `None`: they are all busy.
    fn make_room_at_address(
        &self,
        inside: &mut Inside,
        address: IpAddr,
        limit: usize,
    ) -> Option<usize> {
        let mut cuts = 0;
        let Some(others) = inside.by_address.get_mut(&address) else {
            return Some(cuts);
        };
        if others.len() >= limit {
            others.retain(|other| !other.progress().is_over());
        }
        while others.len() - cuts >= limit {
            // They harm nobody but each other, so not even a head that has just begun is spared.
            let cut = cut_new(others).or_else(|| cut_spare(others, Duration::ZERO))?;
            self.has_cut(cut);
            cuts += 1;
        }
        Some(cuts)
    }

    /// Cuts what makes no headway, and forgets what is over.
    pub(super) fn sweep(&self) {
        let mut inside = self.inside();
        let mut cuts = Vec::new();
        inside.all.retain(|connection| {
            let progress = connection.progress();
            if let Some(cut) = progress.overdue(&LIMITS)
                && progress.cut(cut)
            {
                cuts.push(cut);
            }
            !progress.is_over()
        });
        inside.new.retain(|connection| {
            let progress = connection.progress();
            !progress.is_over() && !progress.has_sent_a_head()
        });
        // After a flood, its memory is not kept for the next one.
        let Inside {
            all,
            new,
            by_address,
        } = &mut *inside;
        by_address.retain(|_, connections| {
            connections.retain(|connection| !connection.progress().is_over());
            !connections.is_empty()
        });
        if by_address.capacity() > 4 * by_address.len() + 1024 {
            by_address.shrink_to(2 * by_address.len());
        }
        if all.capacity() > 4 * all.len() + 1024 {
            all.shrink_to(2 * all.len());
        }
        if new.capacity() > 4 * new.len() + 1024 {
            new.shrink_to(2 * new.len());
        }
        drop(inside);
        for cut in cuts {
            self.has_cut(cut);
        }
    }

    /// A connection does not count any more.
    fn has_cut(&self, cut: Cut) {
        self.metrics.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.count_closed(cut.label());
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn make_room(&mut self) -> Option<Cut> {
        while let Some(oldest) = self.new.pop_front() {
            let progress = oldest.progress();
            if !progress.has_sent_a_head() && progress.cut(Cut::Crowded) {
                return Some(Cut::Crowded);
            }
        }
        cut_spare(&self.all, SLOW)
    }
}

/// Cuts the oldest one that has not sent a whole head.
fn cut_new(connections: &[Arc<Connection>]) -> Option<Cut> {
    let mut new = connections
        .iter()
        .map(|connection| connection.progress())
        .filter(|progress| !progress.is_over() && !progress.has_sent_a_head());
    new.find(|progress| progress.cut(Cut::Crowded))
        .map(|_| Cut::Crowded)
}

/// Cuts the one that can best be spared; a later head may take as long as `slow`.
fn cut_spare(connections: &[Arc<Connection>], slow: Duration) -> Option<Cut> {
    loop {
        let waiting = connections.iter().filter(|one| !one.progress().is_over());
        let spare = waiting.filter_map(|one| Some((one.progress().spare(slow, UNREAD)?, one)));
        let ((spare, _), longest) = spare.min_by_key(|(spare, _)| *spare)?;
        let cut = match spare {
            Spare::SlowHead => Cut::Crowded,
            Spare::StalledBody => Cut::CrowdedBody,
            Spare::Idle => Cut::CrowdedIdle,
            Spare::Unread => Cut::WriteTimeout,
        };
        if longest.progress().cut(cut) {
            return Some(cut);
        }
    }
}

impl Admission {
    pub(super) fn network(&self) -> &str {
        self.gate.network()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let progress = self.connection.progress();
        match progress.was_cut() {
            // By its own stream, which does not know the gate.
            Some(Cut::Gone) => {
                self.gate.metrics.open.fetch_sub(1, Ordering::Relaxed);
            }
            Some(cut @ (Cut::Resets | Cut::HandshakeTimeout | Cut::Http2Error)) => {
                self.gate.has_cut(cut);
            }
            _ if progress.ends() => {
                self.gate.metrics.open.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::state::Clock;

    struct Bench {
        gate: Arc<Gate>,
        clock: Arc<Clock>,
    }

    impl Bench {
        fn new(limit: usize) -> Self {
            let bind = Bind::Tcp("127.0.0.1:80".parse().unwrap());
            let metrics = Arc::new(NetworkMetrics::new("public".into()));
            Self {
                gate: Arc::new(Gate::new(bind, limit, ClientLimits::new(240, 0), metrics)),
                clock: Arc::default(),
            }
        }

        fn open(&self) -> Option<(Arc<Connection>, Admission)> {
            self.open_from("192.0.2.1")
        }

        fn open_from(&self, address: &str) -> Option<(Arc<Connection>, Admission)> {
            let clients = self.gate.clients().clone();
            let connection = Arc::new(Connection::new(self.clock.clone(), clients));
            let address = address.parse().ok();
            let admission = self.gate.admit(&connection, address)?;
            Some((connection, admission))
        }

        fn count(&self) -> usize {
            self.gate.metrics.open.load(Ordering::Relaxed)
        }
    }

    fn cut(connection: &(Arc<Connection>, Admission)) -> Option<Cut> {
        connection.0.progress().was_cut()
    }

    #[test]
    fn the_oldest_without_a_whole_head_goes() {
        let bench = Bench::new(3);
        let [kept, slow, new] = [(); 3].map(|()| bench.open().unwrap());
        kept.0.progress().head_is_complete();
        slow.0.progress().bytes_arrived(true);
        let next = bench.open().unwrap();
        assert_eq!(
            [cut(&kept), cut(&slow), cut(&new), cut(&next)],
            [None, Some(Cut::Crowded), None, None]
        );
        assert_eq!(bench.count(), 3);
        drop(slow);
        assert_eq!(bench.count(), 3, "it was taken off when it was cut");
        drop((kept, new, next));
        assert_eq!(bench.count(), 0);
        bench.gate.sweep();
        assert!(bench.gate.inside().all.is_empty() && bench.gate.inside().new.is_empty());
    }

    #[test]
    fn among_those_that_have_sent_one_the_longest_idle_goes_and_a_busy_one_never() {
        let bench = Bench::new(2);
        let [busy, idle] = [(); 2].map(|()| bench.open().unwrap());
        for connection in [&busy, &idle] {
            connection.0.progress().head_is_complete();
        }
        assert!(bench.open().is_none(), "both are busy");
        assert_eq!(bench.gate.metrics.closed(), [("refused", 1)]);
        idle.0.progress().awaits_request();
        let next = bench.open().unwrap();
        assert_eq!(
            [cut(&busy), cut(&idle), cut(&next)],
            [None, Some(Cut::CrowdedIdle), None]
        );
        assert_eq!(bench.count(), 2);
    }

    #[test]
    fn a_slow_later_head_goes_before_what_is_idle_and_a_quick_one_stays() {
        let bench = Bench::new(2);
        let [idle, slow] = [(); 2].map(|()| bench.open().unwrap());
        for connection in [&idle, &slow] {
            connection.0.progress().head_is_complete();
            connection.0.progress().awaits_request();
        }
        slow.0.progress().bytes_arrived(true);
        let first = bench.open().unwrap();
        assert_eq!(
            (cut(&idle), cut(&slow)),
            (Some(Cut::CrowdedIdle), None),
            "it has just begun"
        );
        first.0.progress().head_is_complete();
        first.0.progress().awaits_request();
        bench.clock.advance(SLOW);
        let _second = bench.open().unwrap();
        assert_eq!((cut(&first), cut(&slow)), (None, Some(Cut::Crowded)));
    }

    #[test]
    fn an_unread_answer_goes_last_and_only_after_a_while() {
        let bench = Bench::new(2);
        let [unread, idle] = [(); 2].map(|()| bench.open().unwrap());
        for connection in [&unread, &idle] {
            connection.0.progress().head_is_complete();
        }
        unread.0.progress().write_waits();
        assert!(bench.open().is_none(), "it may still read");
        bench.clock.advance(UNREAD);
        idle.0.progress().awaits_request();
        let next = bench.open().unwrap();
        assert_eq!((cut(&unread), cut(&idle)), (None, Some(Cut::CrowdedIdle)));
        next.0.progress().head_is_complete();
        let _next = bench.open().unwrap();
        assert_eq!(cut(&unread), Some(Cut::WriteTimeout));
    }

    #[test]
    fn a_stalled_body_goes_before_what_is_idle() {
        let bench = Bench::new(2);
        let [stalled, idle] = [(); 2].map(|()| bench.open().unwrap());
        for connection in [&stalled, &idle] {
            connection.0.progress().head_is_complete();
        }
        stalled.0.progress().body_stalls(true);
        idle.0.progress().awaits_request();
        let _next = bench.open().unwrap();
        assert_eq!((cut(&stalled), cut(&idle)), (Some(Cut::CrowdedBody), None));
        assert_eq!(bench.count(), 2);
        drop(stalled);
        assert_eq!(bench.count(), 2, "it was taken off when it was cut");
    }

    #[test]
    fn an_address_has_its_own_cap_and_harms_nobody_else() {
        let bench = Bench::new(100);
        bench.gate.clients().set(240, 2);
        let other = bench.open_from("192.0.2.2").unwrap();
        other.0.progress().head_is_complete();
        let [busy, half_open] = [(); 2].map(|()| bench.open_from("2001:db8::1").unwrap());
        busy.0.progress().head_is_complete();
        half_open.0.progress().handshakes();
        let next = bench.open_from("2001:db8::2").unwrap();
        assert_eq!(
            [cut(&other), cut(&busy), cut(&half_open)],
            [None, None, Some(Cut::Crowded)],
            "one network of 64 bits is one client"
        );
        next.0.progress().head_is_complete();
        next.0.progress().awaits_request();
        next.0.progress().bytes_arrived(true);
        let third = bench.open_from("2001:db8::3").unwrap();
        assert_eq!(cut(&next), Some(Cut::Crowded), "its head has just begun");
        third.0.progress().head_is_complete();
        assert!(bench.open_from("2001:db8::4").is_none(), "both are busy");
        let closed = bench.gate.metrics.closed();
        assert!(closed.contains(&("refused_address", 1)), "{closed:?}");
        assert_eq!(bench.count(), 3);
        let proxy: Vec<_> = (0..5).map(|_| bench.open_from("a trusted proxy")).collect();
        assert!(
            proxy.iter().all(Option::is_some),
            "it is counted for nobody"
        );
        drop(busy);
        let last = bench.open_from("2001:db8::4");
        assert!(last.is_some(), "one has ended");
        drop((other, half_open, next, third, proxy, last));
        bench.gate.sweep();
        assert_eq!(bench.count(), 0);
        assert!(bench.gate.inside().by_address.is_empty());
    }

    #[test]
    fn what_the_stream_cuts_itself_is_taken_off_once() {
        let cuts = [
            Cut::Gone,
            Cut::Resets,
            Cut::HandshakeTimeout,
            Cut::Http2Error,
        ];
        let bench = Bench::new(cuts.len());
        let open = cuts.map(|cut| {
            let connection = bench.open().unwrap();
            connection.0.progress().cut(cut);
            connection
        });
        bench.gate.sweep();
        drop(open);
        assert_eq!(bench.count(), 0);
        let mut closed = bench.gate.metrics.closed();
        closed.sort_unstable();
        assert_eq!(
            closed,
            [("handshake_timeout", 1), ("http2_error", 1), ("resets", 1)]
        );
    }
}
