//! HTTP/2 connections: how fast streams may be reset, and how many may be malformed.

mod accept;
mod frames;

use std::time::Duration;

use pingora::protocols::http::v2::server::{H2Options, default_h2_options};

use super::close_reason::CloseReason;
use super::connection::Connection;
use frames::FrameCounter;

pub(super) use accept::serve;
pub(super) use frames::PREFACE;

/// A connection that resets so many streams in a [`WINDOW`], and at least half of those that it
/// opens, is closed: each costs the server more than the client.
const MAX_RESETS: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);

/// A connection is closed at so many streams that are refused before they become requests, for a
/// bad target, length or authority. Pingora has the same limit, but does not log it.
const MAX_MALFORMED: u32 = 32;

/// Room for the request bodies of all streams of a connection that nobody reads for now: four times
/// that of one stream, so that one whose upstream reads nothing does not hold up the others.
const CONNECTION_WINDOW: u32 = 4 * 65_535;
/// For how many bytes small frames of request bodies may be short of 256 each, all together, while
/// nobody reads them: as much as messages of gRPC with little content (7 bytes) that fill the
/// window of the connection. By default h2 closes a connection at 130 such frames.
const DATA_FRAME_BUDGET: usize = CONNECTION_WINDOW as usize / 7 * 256;

/// Options for h2. By default it closes a connection, without a log line, at 20 streams that are
/// reset before they are accepted, as a browser resets them whose user leaves a page; here those
/// count like every other reset.
pub fn options() -> H2Options {
    let mut options = default_h2_options();
    options.max_pending_accept_reset_streams(MAX_RESETS as usize);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    options.data_frame_budget(DATA_FRAME_BUDGET);
    options
}

/// Tracks header blocks and resets of an HTTP/2 connection.
#[derive(Debug)]
pub(super) struct Http2Monitor {
    frames: FrameCounter,
    /// When the counting began, by the clock.
    since: u64,
    opened: u32,
    resets: u32,
}

impl Http2Monitor {
    /// For a connection whose preface is about to be read.
    pub(super) fn new() -> Self {
        Self {
            frames: FrameCounter::new(),
            since: 0,
            opened: 0,
            resets: 0,
        }
    }

    /// Reads what arrives, and closes the connection at too many resets.
    pub(super) fn read(&mut self, bytes: &[u8], connection: &Connection) {
        let (counts, state) = (self.frames.read(bytes), connection.state());
        if counts.resets == 0 && counts.header_blocks_begun == 0 && counts.header_blocks_ended == 0
        {
            return;
        }
        if counts.header_blocks_ended > 0 {
            state.end_header_block();
        }
        if counts.header_blocks_begun > 0 && self.frames.in_header_block() {
            state.begin_header_block();
        }
        let now = state.now();
        if u128::from(now.saturating_sub(self.since)) > WINDOW.as_millis() {
            (self.since, self.opened, self.resets) = (now, 0, 0);
        }
        self.opened = self.opened.saturating_add(counts.header_blocks_begun);
        self.resets = self.resets.saturating_add(counts.resets);
        if self.resets >= MAX_RESETS && self.resets >= self.opened / 2 {
            state.close(CloseReason::ResetFlood);
        }
    }
}
