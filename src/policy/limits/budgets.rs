//! What limits need of a store that several nodes count in.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

/// A store of budgets: it lends a node the right to let some requests pass.
#[async_trait]
pub trait Budgets: fmt::Debug + Send + Sync {
    /// Whether it is worth asking.
    fn is_up(&self) -> bool;

    /// Reports what was spent, and use_store for more. `None`: there is no answer.
    async fn lease(&self, request: &LeaseRequest) -> Option<Lease>;
}

/// What a node use_store for.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// The same on every node: whose limit it is, the limit, and who is counted.
    pub key: Vec<u8>,
    /// What all nodes together may let pass in one window.
    pub most: u32,
    /// How long a window lasts.
    pub window: Duration,
    /// What this node let pass and has not reported yet.
    pub spent: u32,
    /// When the window began in which that was, in milliseconds since 1970; 0: there is none.
    pub begun: u64,
}

impl LeaseRequest {
    /// What is lent at most: a tenth of the whole, and at least 1.
    pub fn lease(&self) -> u32 {
        (self.most / 10).max(1)
    }
}

/// What a store answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What the node may let pass before it use_store again.
    pub granted: u32,
    /// What all nodes have reported.
    pub used: u32,
    /// When the window began, in milliseconds since 1970.
    pub begun: u64,
    /// How long it goes on.
    pub rest: Duration,
}

#[cfg(test)]
mod tests;
