//! Which of several upstreams gets a request, and what is known of the health of each.
//!
//! A [`Pool`] knows its members by number, their weights and their [`Health`]; where a member lies,
//! and how it is reached, is nothing to it. Choosing costs atomic operations only: no lock, no
//! allocation. Health is told from outside: by requests ([`Pick`]) and by active checks
//! ([`Health::record_check`]). Nothing here waits or touches a socket.

mod hash_ring;
mod health;
mod health_registry;
mod health_status;
mod pick;
mod pool;
mod round_robin;
#[cfg(test)]
mod tests;

pub use health::Health;
pub use health_registry::{HealthKey, HealthRegistry};
pub use health_status::{HealthState, HealthStatus};
pub use pick::Pick;
pub use pool::{HashKey, Pool};
