//! `[shared]`: the store that several nodes count in together.

use std::time::Duration;

use super::Secret;

/// `[shared]`: Redis 6 or newer, or Valkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStore {
    /// `url`: at least one. Several are Sentinels, or nodes of a cluster to begin with.
    pub servers: Vec<StoreServer>,
    /// What the servers are.
    pub topology: StoreTopology,
    /// `rediss://`: TLS (RFC 8446), with the authorities of the system.
    pub tls: bool,
    /// The number behind the `/` of the URL. Default 0.
    pub database: i64,
    /// `username`, of an ACL.
    pub username: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// `connect_timeout_ms`. Default 1 s.
    pub connect_timeout: Duration,
    /// `key_prefix`: what every key begins with. Default `harmony`.
    pub key_prefix: String,
}

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreServer {
    /// A name, or an IP literal without brackets.
    pub host: String,
    /// Default 6379; of Sentinels 26379.
    pub port: u16,
}

/// How the servers work together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreTopology {
    /// One server.
    Single,
    /// `sentinel_master`: the servers are Sentinels, which know the master of this name.
    Sentinel(String),
    /// `cluster = true`.
    Cluster,
}
