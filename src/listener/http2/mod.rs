//! What HTTP/2 connections are held to: how fast streams may be reset, however it is done.

mod accept;
mod frames;

use std::time::Duration;

use pingora::protocols::http::v2::server::{H2Options, default_h2_options};

use super::close_reason::Cut;
use super::connection::Connection;
use frames::Frames;

pub(super) use accept::serve;
pub(super) use frames::PREFACE;

/// A connection that resets so many streams in a [`WINDOW`], and at least half of those that it
/// opens, is closed: each costs us more than it costs the client.
const MAX_RESETS: u32 = 200;
const WINDOW: Duration = Duration::from_secs(10);

/// A connection is closed at so many streams that are refused before they become requests, for a
/// bad target, length or authority. As many as Pingora allows, which would tell nobody.
const MAX_MALFORMED: u32 = 32;

/// What HTTP/2 itself holds connections to. It would close one, and say so to nobody, at 20 streams
/// that are reset before they are looked at, which a browser may do whose user goes elsewhere;
/// those count as every other reset does.
pub fn options() -> H2Options {
    let mut options = default_h2_options();
    options.max_pending_accept_reset_streams(MAX_RESETS as usize);
    options
}

/// What an HTTP/2 connection does with its streams.
#[derive(Debug)]
pub(super) struct Http2 {
    frames: Frames,
    /// When the counting began, by the guard's clock.
    since: u64,
    opened: u32,
    resets: u32,
}

impl Http2 {
    /// A connection whose preface is about to be read.
    pub(super) fn new() -> Self {
        Self {
            frames: Frames::new(),
            since: 0,
            opened: 0,
            resets: 0,
        }
    }

    /// Takes note of bytes as they are read, and cuts the connection if it only ever resets.
    pub(super) fn read(&mut self, bytes: &[u8], connection: &Connection) {
        let (seen, progress) = (self.frames.read(bytes), connection.progress());
        if seen.resets == 0 && seen.begun == 0 && seen.ended == 0 {
            return;
        }
        if seen.ended > 0 {
            progress.block_ends();
        }
        if seen.begun > 0 && self.frames.are_in_block() {
            progress.block_begins();
        }
        let now = progress.now();
        if u128::from(now.saturating_sub(self.since)) > WINDOW.as_millis() {
            (self.since, self.opened, self.resets) = (now, 0, 0);
        }
        self.opened = self.opened.saturating_add(seen.begun);
        self.resets = self.resets.saturating_add(seen.resets);
        if self.resets >= MAX_RESETS && self.resets >= self.opened / 2 {
            progress.cut(Cut::Resets);
        }
    }
}
