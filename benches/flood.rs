//! What a flood of wrong passwords does to everybody else: `cargo bench --bench flood`.
//!
//! Starts the real binary with an issuer and an upstream, sends 400 requests a second with a good
//! token, and measures how long each takes from the moment it was due: alone, and while 200 wrong
//! passwords a second come in for a user whose hash has cost 12, with `max_failures = 0` and with
//! its default. The three take turns, and the medians of the rounds are compared. Fails when the
//! flood more than doubles the 99th percentile. Takes about a minute and a half.

#![allow(clippy::print_stdout, reason = "what a benchmark is for")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

const ROUNDS: usize = 5;
const TURN: Duration = Duration::from_secs(5);
const TOKENS_A_SECOND: u64 = 400;
const CONNECTIONS: u64 = 8;
const PASSWORDS_A_SECOND: u64 = 200;
const COST: u32 = 12;
const MOST: f64 = 2.0;

/// What goes on beside the tokens: its name, and the path that takes the passwords.
const PHASES: [(&str, Option<&str>); 3] = [
    ("no flood", None),
    ("max_failures = 0", Some("/unlimited")),
    ("max_failures = 10", Some("/limited")),
];

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<ExitCode> {
    let (key_set, token) = issue()?;
    let issuer = serve(key_set).await?;
    let upstream = serve("hello".to_owned()).await?;
    let edge = Edge::start(issuer, upstream)?;
    let request =
        format!("GET /api HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {token}\r\n\r\n");
    edge.wait_for(&request).await?;
    measure(edge.address, &request, None, Duration::from_secs(1)).await?;

    let mut rounds = [const { Vec::new() }; PHASES.len()];
    let mut answers = [const { BTreeMap::new() }; PHASES.len()];
    for _ in 0..ROUNDS {
        for (index, (_, path)) in PHASES.iter().enumerate() {
            let (mut found, statuses) = measure(edge.address, &request, *path, TURN).await?;
            found.sort_unstable();
            rounds[index].push((percentile(&found, 50), percentile(&found, 99)));
            for status in statuses {
                *answers[index].entry(status).or_insert(0_u64) += 1;
            }
            // Passwords that still wait are given up with their connections.
            sleep(Duration::from_millis(500)).await;
        }
    }

    println!(
        "{TOKENS_A_SECOND} requests a second with a token, {PASSWORDS_A_SECOND} wrong passwords a \
         second at cost {COST}, {} cores",
        std::thread::available_parallelism()?
    );
    println!("medians of {ROUNDS} rounds");
    println!(
        "{:18} {:>9} {:>9} {:>9} {:>9}  answers to the flood",
        "", "p50", "p99", "p50 ratio", "p99 ratio"
    );
    let mut worst = 0.0_f64;
    let mut quiet = None;
    for (((name, _), rounds), answers) in PHASES.iter().zip(&rounds).zip(&answers) {
        let p50 = median(rounds.iter().map(|(p50, _)| *p50));
        let p99 = median(rounds.iter().map(|(_, p99)| *p99));
        let (quiet50, quiet99) = *quiet.get_or_insert((p50, p99));
        let ratio = p99.as_secs_f64() / quiet99.as_secs_f64();
        worst = worst.max(ratio);
        println!(
            "{name:18} {:>6} us {:>6} us {:>9.2} {ratio:>9.2}  {}",
            p50.as_micros(),
            p99.as_micros(),
            p50.as_secs_f64() / quiet50.as_secs_f64(),
            shown(answers)
        );
    }
    println!(
        "p99 ratio at most {MOST}: {}",
        if worst <= MOST { "yes" } else { "NO" }
    );
    Ok(if worst <= MOST {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut sorted: Vec<Duration> = values.collect();
    sorted.sort_unstable();
    percentile(&sorted, 50)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

fn shown(answers: &BTreeMap<u16, u64>) -> String {
    let each: Vec<String> = answers
        .iter()
        .map(|(status, count)| match status {
            0 => format!("{count} given up"),
            status => format!("{count} x {status}"),
        })
        .collect();
    each.join(", ")
}

/// Sends tokens for a while, and passwords beside them; how long each token took, and how each
/// password was answered.
async fn measure(
    edge: SocketAddr,
    request: &str,
    flood: Option<&str>,
    turn: Duration,
) -> anyhow::Result<(Vec<Duration>, Vec<u16>)> {
    let begin = tokio::time::Instant::now() + Duration::from_millis(50);
    let flood = flood.map(|path| tokio::spawn(send_passwords(edge, path.to_owned(), begin, turn)));
    let mut clients = JoinSet::new();
    let pause =
        Duration::from_secs(1) * u32::try_from(CONNECTIONS)? / u32::try_from(TOKENS_A_SECOND)?;
    for index in 0..CONNECTIONS {
        let request = request.to_owned();
        let first = begin + pause * u32::try_from(index)? / u32::try_from(CONNECTIONS)?;
        clients.spawn(send_tokens(edge, request, first, pause, begin + turn));
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

/// One connection. A request that is late because the one before it was late counts from when it
/// was due.
async fn send_tokens(
    edge: SocketAddr,
    request: String,
    first: tokio::time::Instant,
    pause: Duration,
    end: tokio::time::Instant,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = connect(edge).await?;
    let mut latencies = Vec::new();
    let mut due = first;
    while due < end {
        sleep_until(due).await;
        let status = exchange(&mut connection, &request).await?;
        latencies.push(due.elapsed());
        ensure!(status == 200, "a good token was answered {status}");
        due += pause;
    }
    Ok(latencies)
}

/// No two passwords are the same, and none is right.
async fn send_passwords(
    edge: SocketAddr,
    path: String,
    begin: tokio::time::Instant,
    turn: Duration,
) -> anyhow::Result<Vec<u16>> {
    let idle: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let mut sent = JoinSet::new();
    sleep_until(begin).await;
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(PASSWORDS_A_SECOND)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while begin.elapsed() < turn {
        ticks.tick().await;
        let (idle, path) = (idle.clone(), path.clone());
        sent.spawn(async move {
            let kept = idle.lock().await.pop();
            let mut connection = match kept {
                Some(connection) => connection,
                None => connect(edge).await?,
            };
            let credential = STANDARD.encode(format!("admin:wrong {}", fastrand::u64(..)));
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: edge\r\nAuthorization: Basic {credential}\r\n\r\n"
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

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Sends a request and reads the whole answer.
async fn exchange(connection: &mut TcpStream, request: &str) -> anyhow::Result<u16> {
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        ensure!(
            connection.read_buf(&mut answer).await? > 0,
            "the connection was closed"
        );
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
        let length: usize = head
            .split("\r\ncontent-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next()?.parse().ok())
            .context("an answer without a length")?;
        while answer.len() < end + 4 + length {
            ensure!(
                connection.read_buf(&mut answer).await? > 0,
                "the connection was closed"
            );
        }
        return head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .context("an answer without a status");
    }
}

/// A server that answers every request with the same text.
async fn serve(text: String) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let answer: Arc<str> = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    )
    .into();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while client
                    .read_buf(&mut request)
                    .await
                    .is_ok_and(|read| read > 0)
                {
                    if request.ends_with(b"\r\n\r\n") {
                        request.clear();
                        client.write_all(answer.as_bytes()).await?;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    Ok(address)
}

/// A key set, and a token that it verifies.
fn issue() -> anyhow::Result<(String, String)> {
    let pair = KeyPair::generate(KeySize::Rsa2048)?;
    let der: Pkcs8V1Der<'_> = pair.as_der()?;
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    let key = EncodingKey::from_rsa_pem(pem.as_bytes())?;
    let mut public = Jwk::from_encoding_key(&key, Algorithm::RS256)?;
    public.common.key_id = Some("k".to_owned());
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some("k".to_owned());
    let expires = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 3600;
    let claims = json!({ "iss": "bench", "aud": "bench", "sub": "alice", "exp": expires });
    let token = jsonwebtoken::encode(&header, &claims, &key)?;
    Ok((
        serde_json::to_string(&JwkSet { keys: vec![public] })?,
        token,
    ))
}

/// The program under test. Stopped when dropped.
struct Edge {
    process: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Edge {
    fn start(issuer: SocketAddr, upstream: SocketAddr) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let hash = bcrypt::hash("right", COST)?;
        let mut text = format!(
            r#"
[proxy]
id = "bench"
state_dir = {state:?}
[network.public.http]
bind_address = "127.0.0.1"
bind_port = {port}
[backends.app]
service = "http"
base_url = "http://{upstream}"
[middleware.api]
type = "jwt-auth"
config = {{ jwks_url = "http://{issuer}/jwks.json", issuer = "bench", audience = "bench" }}
[middleware.unlimited]
type = "basic-auth"
config = {{ username = "admin", password_hash = "{hash}", max_failures = 0 }}
[middleware.limited]
type = "basic-auth"
config = {{ username = "admin", password_hash = "{hash}" }}
"#,
            state = directory.path(),
        );
        for name in ["api", "unlimited", "limited"] {
            text += &format!(
                "[pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\n\
                 middleware = [\"{name}\"]\nbackends = [\"app\"]\n\
                 [endpoints.{name}]\nservice = \"http\"\npath_prefix = \"/{name}\"\n"
            );
        }
        let file = directory.path().join("harmony.toml");
        std::fs::write(&file, text)?;
        let process = Command::new(env!("CARGO_BIN_EXE_harmony-edge"))
            .arg("-c")
            .arg(&file)
            .env("RUST_LOG", "harmony=warn")
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self {
            process,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            _directory: directory,
        })
    }

    /// Until it lets the token in.
    async fn wait_for(&self, request: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let answered = async { exchange(&mut connect(self.address).await?, request).await };
            if let Ok(Ok(200)) = timeout(Duration::from_secs(1), answered).await {
                return Ok(());
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(20),
                "it does not let a good token in"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
