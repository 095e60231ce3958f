//! One side of an HTTP/1.1 connection as bytes: what both the client and the upstream read with. It
//! judges nothing and hides nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A connection with the bytes that were read but not yet used.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        Self { stream, buffer: Vec::new() }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// How long a read waits before it fails with `WouldBlock`.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_read_timeout(Some(patience)).expect("a read timeout");
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Says that nothing more will be written; reading goes on.
    pub fn finish_writing(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Through the next empty line, or `None` when the peer closed before the first byte.
    pub fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                return Ok(Some(self.take(end + 4)));
            }
            if !self.fill()? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Exactly `length` bytes of body, piece by piece.
    pub fn exactly(&mut self, mut length: u64, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        while length > 0 {
            if self.buffer.is_empty() && !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let piece =
                self.take(self.buffer.len().min(usize::try_from(length).unwrap_or(usize::MAX)));
            length -= piece.len() as u64;
            sink(&piece);
        }
        Ok(())
    }

    /// A chunked body, piece by piece, through its trailers, which are returned as they came.
    pub fn chunked(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Vec<u8>> {
        loop {
            let line = self.line()?;
            let size = std::str::from_utf8(&line)
                .ok()
                .and_then(|text| u64::from_str_radix(text.split(';').next()?.trim(), 16).ok());
            match size {
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "a chunk size that is none",
                    ));
                }
                Some(0) => return self.trailers(),
                Some(size) => {
                    self.exactly(size, sink)?;
                    if !self.line()?.is_empty() {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "a chunk that goes on after its size",
                        ));
                    }
                }
            }
        }
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            if !self.buffer.is_empty() {
                let piece = self.take(self.buffer.len());
                sink(&piece);
            }
            if !self.fill()? {
                return Ok(());
            }
        }
    }

    /// What is there, waiting for at least one byte; empty at the end of the connection.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(self.take(self.buffer.len()))
    }

    /// Up to `length` bytes, fewer only when the connection ends before.
    pub fn up_to(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length && self.fill()? {}
        Ok(self.take(length.min(self.buffer.len())))
    }

    fn trailers(&mut self) -> io::Result<Vec<u8>> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.extend_from_slice(&line);
            trailers.extend_from_slice(b"\r\n");
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return Ok(line);
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads more; false at the end of the connection.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 64 * 1024];
        let read = loop {
            match self.stream.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.buffer.extend_from_slice(&piece[..read]);
        Ok(read > 0)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.buffer.drain(..length).collect()
    }
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
