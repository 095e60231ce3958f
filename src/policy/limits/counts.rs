//! The counts of many keys, in a bounded table.
//!
//! When the table is full, the least used of a few goes that are drawn at random. So a flood of keys
//! that are used once pushes out such keys, and never the busiest: all that are drawn would have to
//! be busier. What is over goes first, and goes by and by also before the table is full.

use std::hash::RandomState;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::requester::LimitKey;

/// Among so many is the one that is forgotten for another.
const CANDIDATES: usize = 8;
/// So many are looked at for each one that begins, whether they are over.
const SWEPT: usize = 2;

/// What is counted under one key. The window begins with the first request that is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    since: Instant,
    window: Duration,
    /// Requests that were counted.
    counted: u32,
    /// All requests, those without room among them.
    asked: u32,
}

impl Count {
    /// With nothing counted yet.
    pub(super) fn new(window: Duration, now: Instant) -> Self {
        Self {
            since: now,
            window,
            counted: 0,
            asked: 0,
        }
    }

    /// Notes a request, whether or not it will be counted.
    pub(super) fn note(&mut self, window: Duration, now: Instant) {
        self.window = window;
        self.asked = self.use_until(now).saturating_add(1);
    }

    /// Counts a request. The first one begins the window.
    pub(super) fn count(&mut self, now: Instant) {
        if self.counted == 0 || self.is_over(now) {
            self.since = now;
            self.counted = 0;
        }
        self.counted = self.counted.saturating_add(1);
    }

    /// How many requests were counted, in a window of this length.
    pub(super) fn used(&self, window: Duration, now: Instant) -> u32 {
        let runs = now.saturating_duration_since(self.since) < window;
        if runs { self.counted } else { 0 }
    }

    /// How long a window of this length goes on.
    pub(super) fn rest(&self, window: Duration, now: Instant) -> Duration {
        let rest = window.checked_sub(now.saturating_duration_since(self.since));
        rest.filter(|rest| !rest.is_zero()).unwrap_or(window)
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.window
    }

    fn use_until(&self, now: Instant) -> u32 {
        if self.is_over(now) { 0 } else { self.asked }
    }
}

/// A table of counts.
#[derive(Debug)]
pub(super) struct Counts {
    table: IndexMap<Box<[u8]>, Count, RandomState>,
    most: usize,
    /// Where the look for what is over has got.
    at: usize,
    /// How many were forgotten that were not over.
    forgotten: u64,
}

impl Counts {
    pub(super) fn new(most: usize) -> Self {
        Self {
            table: IndexMap::default(),
            most,
            at: 0,
            forgotten: 0,
        }
    }

    /// Where a key is, until another one is added.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        self.table.get_index_of(key)
    }

    pub(super) fn get(&self, index: usize) -> Option<&Count> {
        self.table.get_index(index).map(|(_, count)| count)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Count> {
        self.table.get_index_mut(index).map(|(_, count)| count)
    }

    /// Adds a key that is not there; there is always room.
    pub(super) fn add(&mut self, key: &LimitKey, count: Count, now: Instant) {
        for _ in 0..SWEPT {
            let index = self.step();
            if self.get(index).is_some_and(|count| count.is_over(now)) {
                self.table.swap_remove_index(index);
            }
        }
        if self.table.len() >= self.most {
            let draw = |_| fastrand::usize(..self.table.len());
            let candidates: [usize; CANDIDATES] = std::array::from_fn(draw);
            let usage = |index: &usize| self.get(*index).map_or(0, |count| count.use_until(now));
            if let Some(index) = candidates.into_iter().min_by_key(usage)
                && let Some((_, gone)) = self.table.swap_remove_index(index)
            {
                self.forgotten += u64::from(!gone.is_over(now));
            }
        }
        self.table.insert(key.as_slice().into(), count);
    }

    fn step(&mut self) -> usize {
        self.at = if self.at < self.table.len() {
            self.at
        } else {
            0
        };
        self.at += 1;
        self.at - 1
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// How many keys were forgotten whose window was not over.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}
