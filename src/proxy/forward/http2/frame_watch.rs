//! What `h2` does not tell of a connection: the last stream of a `GOAWAY` (RFC 9113 section 6.8),
//! whether the first frame is `SETTINGS` at all (section 3.4), and when something came last. So the
//! heads of frames are read as they pass by.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Length of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// The last stream stands in the first four bytes of a `GOAWAY`.
const LAST_STREAM: usize = 4;
/// No `GOAWAY` has come: any stream may still be processed.
const NOT_GOING_AWAY: u32 = u32::MAX;

/// What was seen of a connection's frames.
#[derive(Debug)]
pub(super) struct Seen {
    opened: Instant,
    /// Milliseconds since `opened`.
    last_read: AtomicU64,
    last_stream: AtomicU32,
    /// The head of the first frame, or what the upstream sent instead.
    first_bytes: OnceLock<[u8; HEAD]>,
}

impl Seen {
    /// Whether the upstream takes no more streams.
    pub(super) fn is_going_away(&self) -> bool {
        self.last_stream.load(Ordering::Acquire) != NOT_GOING_AWAY
    }

    /// Whether the upstream promised that it has done nothing with this stream.
    pub(super) fn is_unprocessed(&self, stream: u32) -> bool {
        stream > self.last_stream.load(Ordering::Acquire)
    }

    /// What the upstream began with, if that is no `SETTINGS` frame.
    pub(super) fn not_http2(&self) -> Option<[u8; HEAD]> {
        let first = self.first_bytes.get()?;
        (first[3] != SETTINGS).then_some(*first)
    }

    /// Milliseconds since the connection was opened.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether anything has come since this time, by [`Self::now`].
    pub(super) fn has_come_since(&self, time: u64) -> bool {
        self.last_read.load(Ordering::Relaxed) > time
    }

    /// For how long nothing has come.
    pub(super) fn silence(&self) -> Duration {
        let last = self.last_read.load(Ordering::Relaxed);
        Duration::from_millis(self.now().saturating_sub(last))
    }
}

/// A connection whose frames are watched as they are read.
#[derive(Debug)]
pub(super) struct FrameWatch<S> {
    stream: S,
    seen: Arc<Seen>,
    /// Told when the upstream's `SETTINGS` count; dropped when the connection is.
    settings: watch::Sender<bool>,
    /// Whether they have come, but `h2` has not taken note of them yet.
    settings_read: bool,
    /// The head of the frame at hand, and of a `GOAWAY` its last stream.
    head: [u8; HEAD + LAST_STREAM],
    /// How much of `head` has come.
    have: usize,
    /// What is still to come of the frame behind `head`.
    rest: usize,
}

impl<S> FrameWatch<S> {
    /// The receiver gets `true` once the upstream's `SETTINGS` count, and ends with the connection.
    pub(super) fn new(stream: S) -> (Self, Arc<Seen>, watch::Receiver<bool>) {
        let seen = Arc::new(Seen {
            opened: Instant::now(),
            last_read: AtomicU64::new(0),
            last_stream: AtomicU32::new(NOT_GOING_AWAY),
            first_bytes: OnceLock::new(),
        });
        let (settings, received) = watch::channel(false);
        let watch = Self {
            stream,
            seen: seen.clone(),
            settings,
            settings_read: false,
            head: [0; HEAD + LAST_STREAM],
            have: 0,
            rest: 0,
        };
        (watch, seen, received)
    }

    fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (self.wanted() - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.wanted() {
                self.begin_frame();
            }
        }
    }

    /// How much of the frame's beginning is looked at.
    fn wanted(&self) -> usize {
        match self.have >= HEAD && self.head[3] == GOAWAY {
            true => HEAD + LAST_STREAM.min(self.length()),
            false => HEAD,
        }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.head;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    /// `h2` takes note of the upstream's `SETTINGS` before it writes that it has.
    fn begin_write(&mut self) {
        if std::mem::take(&mut self.settings_read) {
            self.settings.send_replace(true);
        }
    }

    fn begin_frame(&mut self) {
        let [head @ .., a, b, c, d] = self.head;
        self.settings_read |= self.seen.first_bytes.set(head).is_ok() && head[3] == SETTINGS;
        if self.have == HEAD + LAST_STREAM {
            let last = u32::from_be_bytes([a & 0x7f, b, c, d]);
            self.seen.last_stream.fetch_min(last, Ordering::AcqRel);
        }
        self.rest = self.length() + HEAD - self.have;
        self.have = 0;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameWatch<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buf))?;
        self.read(&buf.filled()[before..]);
        let now = self.seen.now();
        self.seen.last_read.store(now, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameWatch<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin_write();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin_write();
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.extend(payload);
        frame
    }

    fn go_away(last: u32) -> Vec<u8> {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend(*b"\0\0\0\0debug data");
        frame(GOAWAY, &payload)
    }

    #[test]
    fn the_last_stream_of_a_go_away_is_found_however_the_bytes_arrive() {
        let mut all = frame(SETTINGS, &[0; 18]);
        all.extend(frame(0, b"\0\0\x08\x07 what looks like a frame"));
        all.extend(go_away(0x8000_0000 | 0x7fff_ffff));
        let first = all.len();
        all.extend(frame(8, &[0, 0, 1, 0]));
        all.extend(go_away(5));
        for step in 1..40 {
            let (mut watch, seen, settings) = FrameWatch::new(());
            all[..first].chunks(step).for_each(|part| watch.read(part));
            assert!(!*settings.borrow(), "they do not count yet");
            watch.begin_write();
            assert!(*settings.borrow() && seen.not_http2().is_none());
            assert!(seen.is_going_away() && !seen.is_unprocessed(0x7fff_ffff));
            all[first..].chunks(step).for_each(|part| watch.read(part));
            let unprocessed = [1, 3, 5, 7, 9].map(|stream| seen.is_unprocessed(stream));
            assert_eq!(unprocessed, [false, false, false, true, true], "{step}");
        }
    }

    #[test]
    fn what_does_not_begin_with_settings_is_not_http2() {
        for (sent, expected) in [
            (&b"HTTP/1.1 400 Bad Request\r\n"[..], true),
            (b"\x15\x03\x01\0\x02\x02\x28\0\0", true),
            (&go_away(0), true),
            (&frame(SETTINGS, &[]), false),
        ] {
            let (mut watch, seen, settings) = FrameWatch::new(());
            watch.read(sent);
            watch.begin_write();
            assert_eq!(seen.not_http2().is_some(), expected, "{sent:?}");
            assert_ne!(*settings.borrow(), expected);
        }
    }

    #[test]
    fn a_short_go_away_is_left_to_h2() {
        let (mut watch, seen, _) = FrameWatch::new(());
        watch.read(&frame(SETTINGS, &[]));
        watch.read(&frame(GOAWAY, b"\0\0"));
        watch.read(&go_away(1));
        assert!(seen.is_unprocessed(3));
    }
}
