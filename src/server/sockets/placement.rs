//! When the listeners get their sockets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{ServiceReadyNotifier, ServiceWithDependents};
use tokio::sync::watch;

use super::Sockets;
use crate::gateway::Live;

/// How long a process that takes over waits for its first key sets and upstream names before it
/// accepts connections.
const WARM_UP: Duration = Duration::from_secs(10);

/// The service that puts the sockets where Pingora's listeners look for theirs. The listeners
/// depend on it.
pub(in crate::server) struct SocketPlacement {
    pub(in crate::server) sockets: Arc<Sockets>,
    /// What must be warm before the first connection of a process that takes over: the process
    /// before serves on meanwhile.
    pub(in crate::server) warm: Option<Arc<Live>>,
    /// Whether the signals that have a meaning are listened for, in each place that listens.
    pub(in crate::server) signals: [watch::Receiver<bool>; 2],
}

#[async_trait]
impl ServiceWithDependents for SocketPlacement {
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        _: ShutdownWatch,
        _: usize,
        ready: ServiceReadyNotifier,
    ) {
        // Whoever is answered may send a signal, which would end a process that does not listen for
        // it yet.
        for signals in &mut self.signals {
            let _ = signals.wait_for(|listening| *listening).await;
        }
        if let Some(live) = &self.warm {
            let deadline = Instant::now() + WARM_UP;
            while !live.is_warm() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        if let Some(table) = table {
            self.sockets.place(&table);
        }
        ready.notify_ready();
    }

    fn name(&self) -> &str {
        "listeners"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_accepted_before_every_signal_is_listened_for() {
        let signals = [(); 2].map(|()| watch::Sender::new(false));
        let mut placement = SocketPlacement {
            sockets: Arc::default(),
            warm: None,
            signals: [signals[0].subscribe(), signals[1].subscribe()],
        };
        let (ready, is_ready) = watch::channel(false);
        let (_shutdown, shutdown) = watch::channel(false);
        let placing = tokio::spawn(async move {
            let ready = ServiceReadyNotifier::new(ready);
            placement.start_service(None, shutdown, 1, ready).await;
        });
        for one in &signals {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(!*is_ready.borrow());
            one.send_replace(true);
        }
        placing.await.unwrap();
        assert!(*is_ready.borrow());
    }
}
