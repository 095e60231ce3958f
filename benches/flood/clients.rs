//! Those whose credentials are good, and those whose are not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::message::{connect, exchange};

/// Requests a second with good credentials.
pub const RATE: u32 = 400;
const CONNECTIONS: u32 = 8;

/// Requests with bad credentials, no two of which are the same.
#[derive(Clone, Copy)]
pub struct Flood {
    pub path: &'static str,
    pub rate: u32,
    /// One value of `Authorization`.
    pub authorization: fn() -> String,
    /// Whether each comes from an address of its own, or all from one.
    pub scattered: bool,
}

/// Sends good credentials for a while, and bad ones beside them; how long each good one took, and
/// how each bad one was answered.
pub async fn measure(
    edge: SocketAddr,
    good: &[String],
    flood: Option<Flood>,
    turn: Duration,
) -> anyhow::Result<(Vec<Duration>, Vec<u16>)> {
    let begin = Instant::now() + Duration::from_millis(50);
    let flood = flood.map(|flood| tokio::spawn(send_bad(edge, flood, begin, turn)));
    let mut clients = JoinSet::new();
    let pause = Duration::from_secs(1) * CONNECTIONS / RATE;
    for index in 0..CONNECTIONS {
        let first = begin + pause * index / CONNECTIONS;
        clients.spawn(send_good(edge, good.to_vec(), first, pause, begin + turn));
    }
    let mut latencies = Vec::new();
    while let Some(found) = clients.join_next().await {
        latencies.extend(found??);
    }
    let statuses = match flood {
        Some(flood) => flood.await??,
        None => Vec::new(),
    };
    Ok((latencies, statuses))
}

/// One connection, and all requests in turn. One that is late because the one before it was late
/// counts from when it was due.
async fn send_good(
    edge: SocketAddr,
    requests: Vec<String>,
    first: Instant,
    pause: Duration,
    end: Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = connect(edge).await?;
    let mut latencies = Vec::new();
    let mut due = first;
    for request in requests.iter().cycle() {
        if due >= end {
            break;
        }
        sleep_until(due).await;
        let status = exchange(&mut connection, request).await?;
        latencies.push(due.elapsed());
        ensure!(status == 200, "a good credential was answered {status}");
        due += pause;
    }
    Ok(latencies)
}

async fn send_bad(
    edge: SocketAddr,
    flood: Flood,
    begin: Instant,
    turn: Duration,
) -> anyhow::Result<Vec<u16>> {
    let idle: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let mut sent = JoinSet::new();
    sleep_until(begin).await;
    let mut ticks = interval(Duration::from_secs(1) / flood.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while begin.elapsed() < turn {
        ticks.tick().await;
        let idle = idle.clone();
        sent.spawn(async move {
            let kept = idle.lock().await.pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(edge).await?,
            };
            let (path, authorization) = (flood.path, (flood.authorization)());
            let address = match flood.scattered {
                true => Ipv4Addr::from(fastrand::u32(0x0a00_0000..0x0b00_0000)),
                false => Ipv4Addr::LOCALHOST,
            };
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: {authorization}\r\n\
                 X-Forwarded-For: {address}\r\n\r\n"
            );
            let status = exchange(&mut connection, &request).await?;
            idle.lock().await.push(connection);
            anyhow::Ok(status)
        });
    }
    let mut statuses = Vec::new();
    while let Some(status) = sent.try_join_next() {
        statuses.push(status??);
    }
    statuses.extend(std::iter::repeat_n(0, sent.len()));
    Ok(statuses)
}
