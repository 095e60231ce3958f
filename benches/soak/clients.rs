//! The clients: a few tasks, each with a connection of each kind, that send one request after the
//! other at a fixed rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;

use crate::http::Connection;
use crate::record::Record;
use crate::signing::SigningKey;
use crate::world::{API_KEY, Target};

const CLIENTS: usize = 12;
const LARGE: usize = 1_000_000;
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a request is, and how often in a hundred.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Seen,
    New,
    Key,
    Wrong,
    Post,
    NewConnection,
    Http2,
    Download,
    Upload,
}

const MIX: [(Kind, u32); 9] = [
    (Kind::Seen, 40),
    (Kind::New, 10),
    (Kind::Key, 15),
    (Kind::Wrong, 10),
    (Kind::Post, 8),
    (Kind::NewConnection, 4),
    (Kind::Http2, 10),
    (Kind::Download, 2),
    (Kind::Upload, 1),
];

/// Sends `rate` requests a second for as long as the runtime lives.
pub fn start(rate: usize, target: Target, record: Arc<Record>) {
    let numbers = Arc::new(AtomicUsize::new(0));
    for _ in 0..CLIENTS {
        let mut client = Client {
            target: target.clone(),
            numbers: numbers.clone(),
            kept: None,
            http2: None,
            seen: None,
        };
        let record = record.clone();
        let mut tick = tokio::time::interval(
            Duration::from_secs(CLIENTS as u64) / u32::try_from(rate).unwrap_or(1).max(1),
        );
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::spawn(async move {
            // So that they do not send all at once.
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..100))).await;
            loop {
                tick.tick().await;
                let kind = Kind::any();
                match tokio::time::timeout(PATIENCE, client.send(kind)).await {
                    Ok(Ok(took)) => record.well(kind.is_compared(), took),
                    Ok(Err(error)) => {
                        record.failed(kind.is_repeatable(), format!("{kind:?}: {error:#}"))
                    }
                    Err(_) => {
                        record.failed(false, format!("{kind:?}: no answer within {PATIENCE:?}"))
                    }
                }
            }
        });
    }
}

impl Kind {
    fn any() -> Self {
        let all: u32 = MIX.iter().map(|(_, share)| share).sum();
        let mut number = fastrand::u32(..all);
        for (kind, share) in MIX {
            match number.checked_sub(share) {
                Some(rest) => number = rest,
                None => return kind,
            }
        }
        Self::Seen
    }

    fn is_compared(self) -> bool {
        matches!(self, Self::Seen | Self::New | Self::Key)
    }

    fn is_repeatable(self) -> bool {
        !matches!(self, Self::Post | Self::Upload)
    }
}

struct Client {
    target: Target,
    numbers: Arc<AtomicUsize>,
    kept: Option<Connection>,
    http2: Option<SendRequest<Bytes>>,
    /// A token, and the key that signed it.
    seen: Option<(String, Arc<SigningKey>)>,
}

impl Client {
    /// How long the answer took. An error: it was not what it should be.
    async fn send(&mut self, kind: Kind) -> anyhow::Result<Duration> {
        let (field, expected) = self.credential(kind)?;
        let (method, path, length) = match kind {
            Kind::Download => ("GET", "/api/large", 0),
            Kind::Upload => ("POST", "/api/upload", LARGE),
            Kind::Post => ("POST", "/api/post", 2_000),
            _ => ("GET", "/api/small", 0),
        };
        let began = Instant::now();
        if kind == Kind::Http2 {
            let status = self.send_http2(&field.1).await.inspect_err(|_| self.http2 = None)?;
            ensure!(status == expected, "status {status}");
            return Ok(began.elapsed());
        }
        let closes = kind == Kind::NewConnection;
        let close = if closes { "Connection: close\r\n" } else { "" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{}: {}\r\nContent-Length: {length}\r\n\
             {close}\r\n",
            field.0, field.1
        );
        let mut connection = match self.kept.take().filter(|_| !closes) {
            Some(connection) => connection,
            None => Connection::open(self.target.port).await?,
        };
        connection.write(&head, &vec![b'x'; length]).await?;
        let answer = connection.read().await?.context("closed without an answer")?;
        let took = began.elapsed();
        if !answer.closes {
            self.kept = Some(connection);
        }
        let status: u16 = answer
            .first_line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .context("no status")?;
        ensure!(status == expected, "status {status}");
        ensure!(kind != Kind::Download || answer.length == LARGE, "{} bytes", answer.length);
        Ok(took)
    }

    /// The field that it brings, and the status that it should get.
    fn credential(&mut self, kind: Kind) -> anyhow::Result<((&'static str, String), u16)> {
        let bearer = |token: String| ("authorization", format!("Bearer {token}"));
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let key = self.target.keys.signing();
        Ok(match kind {
            Kind::Key => (("x-api-key", API_KEY.to_owned()), 200),
            Kind::New => (bearer(key.sign(number, 600)?), 200),
            Kind::Wrong => {
                let field = match number % 4 {
                    0 => bearer(key.sign(number, -600)?),
                    1 => bearer(key.sign(number, 600)?.replacen('.', "x.", 1)),
                    2 => ("x-api-key", format!("{API_KEY}x")),
                    _ => bearer(crate::world::unknown().sign(number, 600)?),
                };
                (field, 401)
            }
            _ => {
                // A token is used for a while, as clients do, but never beyond its key.
                let token = match self.seen.take() {
                    Some((token, of)) if Arc::ptr_eq(&of, &key) && !number.is_multiple_of(50) => {
                        token
                    }
                    _ => key.sign(number, 600)?,
                };
                self.seen = Some((token.clone(), key));
                (bearer(token), 200)
            }
        })
    }

    async fn send_http2(&mut self, authorization: &str) -> anyhow::Result<u16> {
        let sender = match self.http2.take() {
            Some(sender) => sender,
            None => {
                let stream = TcpStream::connect(("127.0.0.1", self.target.port)).await?;
                let (sender, connection) = h2::client::handshake(stream).await?;
                tokio::spawn(async move { drop(connection.await) });
                sender
            }
        };
        let mut sender = sender.ready().await?;
        let request = http::Request::builder()
            .uri(format!("http://localhost:{}/api/small", self.target.port))
            .header("authorization", authorization)
            .body(())?;
        let (response, _) = sender.send_request(request, true)?;
        let (head, mut body) = response.await?.into_parts();
        while let Some(piece) = body.data().await {
            body.flow_control().release_capacity(piece?.len())?;
        }
        self.http2 = Some(sender);
        Ok(head.status.as_u16())
    }
}
