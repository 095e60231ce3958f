//! Whole messages of HTTP/1.1 over a connection.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let connection = TcpStream::connect(address).await?;
    connection.set_nodelay(true)?;
    Ok(connection)
}

/// Sends a request and reads the whole answer; its status.
pub async fn exchange(connection: &mut TcpStream, request: &str) -> anyhow::Result<u16> {
    connection.write_all(request.as_bytes()).await?;
    let answer = read(connection).await?.context("the connection was closed")?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.context("an answer without a status")
}

/// The next message, whose body is as long as its head says. `None`: the connection has ended.
pub async fn read(connection: &mut TcpStream) -> anyhow::Result<Option<String>> {
    let mut message = Vec::with_capacity(1024);
    loop {
        if let Some(end) = message.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = std::str::from_utf8(&message[..end])?.to_ascii_lowercase();
            let length = head.split("\r\ncontent-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next()?.parse().ok()).unwrap_or(0);
            if message.len() >= end + 4 + length {
                return Ok(Some(String::from_utf8(message)?));
            }
        }
        if connection.read_buf(&mut message).await? == 0 {
            ensure!(message.is_empty(), "the connection was closed within a message");
            return Ok(None);
        }
    }
}
