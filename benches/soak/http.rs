//! As much of HTTP/1.1 as both ends of the soak need: a head, and a body with its length.

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection, with what was read ahead.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// A message: its first line, and what matters of the rest.
pub struct Message {
    pub first_line: String,
    pub length: usize,
    pub closes: bool,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        // A connection that does not want it works too.
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new() }
    }

    pub async fn open(port: u16) -> anyhow::Result<Self> {
        Ok(Self::new(TcpStream::connect(("127.0.0.1", port)).await.context("connect")?))
    }

    pub async fn write(&mut self, head: &str, body: &[u8]) -> anyhow::Result<()> {
        let mut bytes = head.as_bytes().to_vec();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).await.context("write")
    }

    /// The next message, whose body is counted and thrown away; `None` when the peer closed before
    /// it began.
    pub async fn read(&mut self) -> anyhow::Result<Option<Message>> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if self.fill().await? == 0 {
                ensure!(self.buffer.is_empty(), "closed within a head");
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let field = |name: &str| {
            head.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
            })
        };
        let length: usize = match (field("content-length"), head.starts_with("HTTP/")) {
            (Some(length), _) => length.parse().context("a length that is none")?,
            (None, false) => 0,
            (None, true) => bail!("an answer without a length"),
        };
        let mut left = length;
        while left > 0 {
            if self.buffer.is_empty() {
                ensure!(
                    self.fill().await? > 0,
                    "closed within a body, {left} of {length} bytes before its end"
                );
            }
            let taken = left.min(self.buffer.len());
            self.buffer.drain(..taken);
            left -= taken;
        }
        let closes = field("connection").is_some_and(|value| value.contains("close"));
        let first_line = head.lines().next().unwrap_or_default().to_owned();
        Ok(Some(Message { first_line, length, closes }))
    }

    /// The body of the answer to a `GET`, on a connection that ends with it.
    pub async fn get_text(mut self, target: &str) -> anyhow::Result<String> {
        self.write(
            &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
            b"",
        )
        .await?;
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn fill(&mut self) -> anyhow::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let read = self.stream.read(&mut piece).await.context("read")?;
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read)
    }
}
