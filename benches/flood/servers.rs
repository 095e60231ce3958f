//! The edge, and what is behind it: an upstream, a key set, and an issuer that is asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use super::message::{connect, exchange, read};

/// What tokens begin with that the issuer knows.
pub const KNOWN: &str = "known-";
/// How long the issuer takes for an answer.
const ISSUER_TAKES: Duration = Duration::from_millis(20);

/// A server that answers every request with what `answer` makes of it.
pub async fn serve<F>(
    answer: impl Fn(String) -> F + Send + Sync + 'static,
) -> anyhow::Result<SocketAddr>
where
    F: Future<Output = String> + Send,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                while let Some(request) = read(&mut client).await? {
                    let text = answer(request).await;
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", text.len());
                    client.write_all(format!("{head}\r\n{text}").as_bytes()).await?;
                }
                anyhow::Ok(())
            });
        }
    });
    Ok(address)
}

/// What the issuer says of the token in a question (RFC 7662).
pub async fn introspect(question: String) -> String {
    sleep(ISSUER_TAKES).await;
    match question.contains(&format!("token={KNOWN}")) {
        true => r#"{"active":true,"aud":"bench","sub":"alice"}"#.to_owned(),
        false => r#"{"active":false}"#.to_owned(),
    }
}

/// The program under test. Stopped when dropped.
pub struct Edge {
    process: Child,
    pub address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Edge {
    /// `steps`: tables of `middleware`, each with a pipeline of its name and at that path.
    pub fn start(steps: &[(&str, String)], upstream: SocketAddr) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut text = format!(
            r#"
[proxy]
id = "bench"
state_dir = {state:?}
trusted_proxies = ["127.0.0.1"]
[network.public.http]
bind_address = "127.0.0.1"
bind_port = {port}
[backends.app]
service = "http"
base_url = "http://{upstream}"
"#,
            state = directory.path(),
        );
        for (name, step) in steps {
            text += &format!(
                "[middleware.{name}]\n{step}\n\
                 [pipelines.{name}]\nnetworks = [\"public\"]\nendpoints = [\"{name}\"]\n\
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
        let address = (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self { process, address, _directory: directory })
    }

    /// Until it answers this request with 200.
    pub async fn wait_for(&self, request: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let answered = async { exchange(&mut connect(self.address).await?, request).await };
            if let Ok(Ok(200)) = timeout(Duration::from_secs(1), answered).await {
                return Ok(());
            }
            let waited = begun.elapsed();
            ensure!(waited < Duration::from_secs(20), "it does not let a good credential in");
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
