//! Which of several upstreams gets a request, and what is known of the health of each.
//!
//! A [`Pool`] knows its members by number, their weights and their [`Health`]; where a member lies,
//! and how it is reached, is nothing to it. Choosing costs atomic operations only: no lock, no
//! allocation. Health is told from outside: by requests ([`Pick`]) and by active checks
//! ([`Health::checked`]). Nothing here waits or touches a socket.

mod health;
mod known;
mod pick;
mod pool;
mod ring;
mod state;
#[cfg(test)]
mod tests;
mod turns;

pub use health::Health;
pub use known::{Known, Subject};
pub use pick::Pick;
pub use pool::{Key, Pool};
pub use state::{State, Status};
