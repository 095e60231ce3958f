//! A service that answers what it is asked for, and can be started anew as a good one is: it
//! finishes what it began, then it is gone for a moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::http::Connection;

/// What it answers to the target of a request.
pub type Answer = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// How long it is gone.
const GONE: Duration = Duration::from_millis(500);
/// How long what was begun may take at most.
const GRACE: Duration = Duration::from_secs(5);

pub struct Upstream {
    pub port: u16,
    answer: Answer,
    life: Option<Life>,
    requests: Arc<AtomicUsize>,
}

struct Life {
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Upstream {
    pub async fn start(answer: Answer) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let mut upstream = Self {
            port: listener.local_addr()?.port(),
            answer,
            life: None,
            requests: Arc::default(),
        };
        upstream.live(listener);
        Ok(upstream)
    }

    pub fn requests(&self) -> Arc<AtomicUsize> {
        self.requests.clone()
    }

    pub async fn restart(&mut self) -> anyhow::Result<()> {
        if let Some(Life { end, task }) = self.life.take() {
            end.send_replace(true);
            let _ = tokio::time::timeout(GRACE, task).await;
        }
        tokio::time::sleep(GONE).await;
        let listener = TcpListener::bind(("127.0.0.1", self.port))
            .await
            .context("the port of an upstream is taken")?;
        self.live(listener);
        Ok(())
    }

    fn live(&mut self, listener: TcpListener) {
        let (end, ended) = watch::channel(false);
        let (answer, requests) = (self.answer.clone(), self.requests.clone());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            let mut end_of_life = ended.clone();
            loop {
                tokio::select! {
                    () = over(&mut end_of_life) => break,
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => drop(connections.spawn(serve(stream, answer.clone(),
                            requests.clone(), ended.clone()))),
                        Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                    },
                }
                while connections.try_join_next().is_some() {}
            }
            drop(listener);
            while connections.join_next().await.is_some() {}
        });
        self.life = Some(Life { end, task });
    }
}

/// One connection, until it is closed or the service ends: then after the request at hand.
async fn serve(
    stream: TcpStream,
    answer: Answer,
    requests: Arc<AtomicUsize>,
    mut ended: watch::Receiver<bool>,
) {
    let mut connection = Connection::new(stream);
    loop {
        let request = tokio::select! {
            biased;
            request = connection.read() => request,
            () = over(&mut ended) => return,
        };
        let Ok(Some(request)) = request else { return };
        requests.fetch_add(1, Ordering::Relaxed);
        let target = request.first_line.split(' ').nth(1).unwrap_or_default();
        let body = answer(target);
        let close = if *ended.borrow() { "Connection: close\r\n" } else { "" };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n", body.len());
        if connection.write(&head, &body).await.is_err() || *ended.borrow() {
            return;
        }
    }
}

/// Waits until the service ends.
async fn over(ended: &mut watch::Receiver<bool>) {
    // Without its sender it has ended too.
    drop(ended.wait_for(|ended| *ended).await);
}
