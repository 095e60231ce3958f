//! A listening socket with one thread a connection: what the issuer, the upstream and the traps are
//! made of.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::poll::eventually;

/// A running server; it ends, with every connection, when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stopping: AtomicBool,
    accepted: AtomicUsize,
    open: Mutex<HashMap<usize, TcpStream>>,
}

impl Server {
    /// Listens on loopback and gives every connection, with its number, to `serve` in a thread of
    /// its own.
    pub fn start(port: u16, serve: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], port)), serve)
    }

    pub fn start_on(
        address: SocketAddr,
        serve: impl Fn(usize, TcpStream) + Send + Sync + 'static,
    ) -> Self {
        // A process that another test is just starting may hold a copy of the claim's trial socket
        // until it runs its program.
        let listener = eventually("a listener of the test's own", Duration::from_secs(20), || {
            TcpListener::bind(address).ok()
        });
        let shared = Arc::new(Shared::default());
        let serve = Arc::new(serve);
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming() {
                    if shared.stopping.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
                    let Ok(handle) = stream.try_clone() else {
                        continue;
                    };
                    shared.open.lock().unwrap().insert(number, handle);
                    let (shared, serve) = (Arc::clone(&shared), Arc::clone(&serve));
                    thread::spawn(move || {
                        serve(number, stream);
                        // The clone kept for stopping would hold the connection open.
                        shared.open.lock().unwrap().remove(&number);
                    });
                }
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// How many connections there were.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Closes every connection that is open; new ones are still accepted.
    pub fn close_connections(&self) {
        for stream in self.shared.open.lock().unwrap().values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // `accept` has no deadline: a connection of our own ends it.
        let woken = TcpStream::connect(self.address).is_ok();
        self.close_connections();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
    }
}
